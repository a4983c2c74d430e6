import errno
import logging
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from selfsup.errors import DataError, RecordError
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
    return Representation(backbone, SMALL, precision="fp32", batch_size=7).features(images, **options)


def test_features_are_those_of_each_image_alone_in_eval_mode() -> None:
    images, network = Blobs(10), small_network()
    found = extract(network, images)
    network.eval()
    with torch.no_grad():
        one_by_one = [network(torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255) for p in images.pixels]
    torch.testing.assert_close(found.features, torch.cat(one_by_one), rtol=1e-5, atol=1e-6)
    assert found.labels.tolist() == images.labels.tolist()


@pytest.mark.parametrize(
    "image",
    [np.zeros((16, 16, 3), np.float32), np.zeros((16, 16), np.uint8), np.zeros((3, 16, 16), np.uint8)],
    ids=["floats", "gray", "channels first"],
)
def test_what_is_no_image_is_named_and_not_shown_to_the_network(image: np.ndarray) -> None:
    images = Blobs(10)
    images.pixels = [image] * 10
    with pytest.raises(DataError, match="uint8") as caught:
        extract(small_network(), images)
    assert caught.value.problems[0].path == "blob 0"


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
    always = Representation(RawPixels(16), SMALL, flips=True)
    assert torch.equal(always.features(images).features.view_as(both), both)
    assert always.fingerprint != Representation(RawPixels(16), SMALL).fingerprint


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


class Logged(Blobs):
    """Knows which images were asked for."""

    asked: list[int]

    def image(self, index: int) -> np.ndarray:
        self.asked = [*getattr(self, "asked", []), index]
        return super().image(index)


def cached(cache: Path, network: nn.Module, source: Blobs, **options: Any) -> Features:
    return Representation(network, SMALL, cache=cache, precision="fp32", batch_size=7, **options).features(source)


def test_features_in_files_are_those_in_memory_and_are_found_again(tmp_path: Path) -> None:
    source, network = Logged(30, bad=(0, 8, 29)), small_network()
    expected = extract(network, source)
    found = cached(tmp_path, network, source)
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.labels, expected.labels) and torch.equal(found.index, expected.index)
    source.asked = []
    again = cached(tmp_path, small_network(), source)
    assert torch.equal(again.features, found.features)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert sorted(source.asked) == list(range(30))  # once, for the digest of the source
    assert (folder / "names.txt").read_text().splitlines()[:2] == ["blob 1", "blob 2"]
    assert np.load(folder / "labels.npy").tolist() == found.labels.tolist()


@pytest.mark.parametrize("change", ["weights", "contract", "layer", "flips", "precision", "images"])
def test_whatever_determines_features_makes_other_files(tmp_path: Path, change: str) -> None:
    class Maps(nn.Sequential):
        def feature_maps(self, images: Tensor) -> list[Tensor]:
            return [self[0](images)] * 4

    def network() -> nn.Sequential:
        return Maps(*small_network())

    cached(tmp_path, network(), Blobs(10))
    other, source = network(), Blobs(10, seed=int(change == "images"))
    with torch.no_grad():
        other[0].weight[0] += float(change == "weights")
    contract = SMALL.replace(mean=(0.1, 0, 0)) if change == "contract" else SMALL
    representation = Representation(
        other,
        contract,
        cache=tmp_path,
        layer="res3" if change == "layer" else "pooled",
        precision="bf16" if change == "precision" else "fp32",
        batch_size=7,
    )
    representation.features(source, flips=change == "flips")
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_after_a_kill_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.left = nn.Sequential(nn.Conv2d(3, 4, 16), nn.Flatten()), 3

        def forward(self, images: Tensor) -> Tensor:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return self.network(images)

    source, fragile = Logged(40, bad=(3,)), Fragile()
    with pytest.raises(Killed):
        cached(tmp_path, fragile, source)
    (journal,) = tmp_path.glob("*/done.0")
    with journal.open("ab") as file:
        file.write(b"cut")
    fragile.left, source.asked = 100, []
    found = cached(tmp_path, fragile, source)
    assert 100 - fragile.left == 3  # batches of 7: images 21 to 39
    assert torch.equal(found.features, extract(fragile, source).features)


def test_several_layers_come_from_one_pass(tmp_path: Path) -> None:
    class Maps(nn.Module):
        passes = 0

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)

        def feature_maps(self, images: Tensor) -> list[Tensor]:
            self.passes += 1
            return [self.conv(images) * scale for scale in (1, 2, 3, 4)]

        def forward(self, images: Tensor) -> Tensor:
            return self.feature_maps(images)[-1].mean((2, 3))

    torch.manual_seed(0)
    network, source = Maps(), Blobs(6)
    whole = Representation(network, SMALL, precision="fp32", cache=tmp_path)
    pooled, mean, windows, tall = whole.at_layers(["pooled", "res2", "res3:4/2", "res4:2x1"])
    maps = network.feature_maps(SMALL.normalize(torch.from_numpy(source.pixels).permute(0, 3, 1, 2)))
    network.passes = 0
    found = [each.features(source).features for each in (pooled, mean, windows, tall)]
    assert network.passes == 2  # once more, for all, to see that the pooled features are the mean of the last map
    expected = [
        maps[3].mean((2, 3)),
        maps[0].mean((2, 3)),
        nn.functional.avg_pool2d(maps[1], 4, 2).flatten(1),
        nn.functional.adaptive_avg_pool2d(maps[2], (2, 1)).flatten(1),
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert len({each.fingerprint for each in (pooled, mean, windows, tall)}) == 4


def share_of_the_files(cache: str) -> tuple[Tensor, list[int]]:
    source = Logged(21, bad=(2, 20))
    found = cached(Path(cache), small_network(), source)
    return found.features.clone(), source.asked


@pytest.mark.dist
def test_two_processes_write_one_file(tmp_path: Path) -> None:
    expected = extract(small_network(), Blobs(21, bad=(2, 20)))
    (first, _), (second, asked) = run_in_processes(share_of_the_files, str(tmp_path))
    torch.testing.assert_close(first, expected.features, rtol=1e-5, atol=1e-6)
    assert torch.equal(first, second)
    assert asked[-10:] == list(range(11, 21)) and len(asked) <= 20  # the second half, beside what is probed; no digest


def test_an_error_of_the_disk_is_the_users_and_nothing_is_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(RecordError, match="make room"):
        patched.setattr(os, "pwrite", full)
        cached(tmp_path, small_network(), Blobs(10))
    assert torch.equal(
        cached(tmp_path, small_network(), Blobs(10)).features, extract(small_network(), Blobs(10)).features
    )
