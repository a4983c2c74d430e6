import logging
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selfsup.errors import DataError
from selfsup.evaluation import Features, RawPixels, Representation
from selfsup.ops.dist import rank
from selfsup.ops.images import on_background
from tests.dist.two_processes import run_in_processes
from tests.evaluation.pictures import SMALL, Blobs


def small_network() -> nn.Sequential:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network[1].running_mean.uniform_(-0.5, 0.5)
    return network


def extract(backbone: nn.Module, images: Blobs, **options: object) -> Features:
    return Representation(backbone, SMALL, batch_size=7).features(images, **options)


def test_features_are_those_of_each_image_alone_in_eval_mode() -> None:
    images, network = Blobs(10), small_network()
    found = extract(network, images)
    network.eval()
    with torch.no_grad():
        one_by_one = [network(torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255) for p in images.pixels]
    torch.testing.assert_close(found.features, torch.cat(one_by_one), rtol=1e-5, atol=1e-6)
    assert found.labels.tolist() == images.labels.tolist()


def test_training_flags_statistics_and_random_states_are_untouched() -> None:
    network = small_network().train()
    network[0].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = torch.rand(1).item(), random.random(), np.random.rand()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    extract(network, Blobs(10))
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == expected
    assert [part.training for part in network] == [False, True, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_flags_come_back_even_if_the_backbone_fails() -> None:
    network = nn.Sequential(nn.Linear(1, 1))
    with pytest.raises(RuntimeError):
        extract(network, Blobs(10))
    assert network.training


def test_images_that_cannot_be_decoded_are_left_out_with_their_labels_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = extract(RawPixels(4), Blobs(20))
    with caplog.at_level(logging.WARNING):
        part = extract(RawPixels(4), Blobs(20, bad=(0, 7, 8, 9, 10, 11, 12, 13, 19)))
    keep = [i for i in range(20) if i not in (0, *range(7, 14), 19)]
    assert torch.equal(part.features, whole.features[keep])
    assert torch.equal(part.labels, whole.labels[keep])
    assert "9 of 20 images could not be decoded and were left out: blob 0, blob 7, blob 8, ..." in caplog.text


def test_no_decodable_image_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="none of the 4 images can be decoded"):
        extract(RawPixels(4), Blobs(4, bad=(0, 1, 2, 3)))


def test_labels_groups_and_classes_come_along() -> None:
    found = extract(RawPixels(4), Blobs(9, groups=2, bad=(3,)))
    assert found.index.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert found.groups.tolist() == [0, 0, 1, 2, 2, 3, 3, 4]
    assert found.classes == ["class 0", "class 1", "class 2"]
    plain = extract(RawPixels(4), Blobs(8, labelled=False))
    assert (plain.labels, plain.groups, plain.classes) == (None, None, None)


def test_flips_average_the_features_of_an_image_and_its_mirror_image() -> None:
    images = Blobs(5)
    plain, both = (extract(RawPixels(16), images, flips=flips).features.view(5, 3, 16, 16) for flips in (False, True))
    torch.testing.assert_close(both, (plain + plain.flip(3)) / 2)


@pytest.mark.parametrize(("value", "said"), [(torch.nan, "not finite"), (0.0, "the same features")])
def test_features_that_mean_nothing_are_an_error_and_never_a_score(value: float, said: str) -> None:
    class Constant(RawPixels):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 4), value)

    with pytest.raises(DataError, match=said):
        extract(Constant(), Blobs(6))


def test_raw_pixels_of_the_full_size_are_the_pixels() -> None:
    images = Blobs(3)
    found = extract(RawPixels(16), images)
    assert torch.equal((found.features * 255).round(), torch.from_numpy(images.pixels).permute(0, 3, 1, 2).flatten(1))


def test_autocast_around_the_evaluation_does_not_reach_the_backbone() -> None:
    images, network = Blobs(6), small_network()
    plain = extract(network, images).features
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(extract(network, images).features, plain)


def test_transparent_pixels_are_mid_gray_and_opaque_ones_stay() -> None:
    image = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)
    assert on_background(image).tolist() == [[[200, 100, 50], [127, 127, 127], [164, 113, 88]]]


def features_of_one_of_two() -> tuple[Tensor, Tensor, Tensor]:
    network = small_network().train()
    if rank() == 1:
        network[1].running_mean.add_(1.0)
    found = extract(network, Blobs(21, bad=(2, 20)))
    return found.features, found.labels, network[1].running_mean


@pytest.mark.dist
def test_two_processes_find_what_one_finds_with_the_statistics_of_the_first() -> None:
    expected = extract(small_network(), Blobs(21, bad=(2, 20)))
    first, second = run_in_processes(features_of_one_of_two)
    for features, labels, _ in (first, second):
        torch.testing.assert_close(features, expected.features, rtol=1e-5, atol=1e-6)
        assert torch.equal(labels, expected.labels)
    torch.testing.assert_close(second[2], first[2] + 1.0)


def features_of_three_images() -> Tensor:
    return extract(RawPixels(2), Blobs(3, bad=(2,))).features


@pytest.mark.dist
def test_a_process_without_a_single_good_image_does_not_hang_the_others() -> None:
    expected = extract(RawPixels(2), Blobs(3, bad=(2,))).features
    assert all(torch.equal(found, expected) for found in run_in_processes(features_of_three_images))
