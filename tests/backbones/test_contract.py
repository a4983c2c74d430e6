"""What every registered backbone promises, whatever it is made of."""

import copy

import pytest
import torch
from torch import nn

from selfsup.backbones import Backbone
from selfsup.registry import BACKBONES
from tests.backbones.small import SMALL, small

NAMES = list(SMALL)
WITH_MAPS = [name for name in NAMES if SMALL[name].has_maps]


@pytest.fixture(autouse=True)
def _needs_timm(request: pytest.FixtureRequest) -> None:
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if name and SMALL[name].config["type"] == "Timm":
        request.getfixturevalue("timm")


def built(name: str, seed: int = 0) -> nn.Module:
    """The network in evaluation mode, with running statistics that have seen a batch."""
    torch.manual_seed(seed)
    model = small(name)
    with torch.no_grad():
        model(images(batch=8, seed=seed))
    return model.eval()


def images(height: int = 64, width: int = 64, batch: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_every_backbone_of_ours_is_in_the_table() -> None:
    ours = {name for name in BACKBONES.names() if BACKBONES.get(name).__module__.startswith("selfsup.")}
    assert ours == {each.config["type"] for each in SMALL.values()}


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_one_vector_of_the_promised_length_for_images_of_every_size(name: str) -> None:
    model = built(name)
    assert isinstance(model, Backbone)
    for height, width in SMALL[name].sizes:
        with torch.no_grad():
            features = model(images(height, width))
        assert features.shape == (3, model.out_dim)
        assert features.isfinite().all()
        assert features.std(0).max() > 1e-3  # different images, different features


@pytest.mark.parametrize("name", WITH_MAPS)
def test_its_maps_have_the_promised_strides_and_end_in_the_features(name: str) -> None:
    model, expected = built(name), SMALL[name]
    for height, width in expected.sizes:
        batch = images(height, width)
        with torch.no_grad():
            maps, features = model.feature_maps(batch), model(batch)
        strides = [expected.stride >> shift for shift in (3, 2, 1, 0)]
        assert [tuple(each.shape[2:]) for each in maps] == [(-(-height // s), -(-width // s)) for s in strides]
        if expected.pools_last_map:
            torch.testing.assert_close(maps[-1].mean((2, 3)), features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_changes_nothing(name: str) -> None:
    model = built(name)
    with torch.no_grad():
        expected = model(images())
        actual = model.to(memory_format=torch.channels_last)(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_comes_close_in_features_and_gradients(name: str) -> None:
    results = []
    for enabled in (False, True):
        model = built(name)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            features = model(images())
        direction = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
        (features.float() * direction).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        results.append((features.detach().float(), gradient))
    (exact, exact_gradient), (half, half_gradient) = results
    assert torch.nn.functional.cosine_similarity(exact.flatten(), half.flatten(), dim=0) > 0.999
    assert torch.nn.functional.cosine_similarity(exact_gradient, half_gradient, dim=0) > 0.9  # ReLUs near zero flip


@pytest.mark.parametrize("name", NAMES)
def test_in_evaluation_mode_an_image_s_features_do_not_depend_on_the_others(name: str) -> None:
    model = built(name)
    batch = images(batch=4)
    with torch.no_grad():
        together = model(batch)
        alone = torch.cat([model(batch[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_makes_another_one_the_same(name: str) -> None:
    model, other = built(name, seed=0), built(name, seed=1)
    with torch.no_grad():
        expected = model(images())
        assert not torch.equal(other(images()), expected)
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(images()), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_shares_nothing_with_the_original(name: str) -> None:
    model = built(name)
    batch = images()
    with torch.no_grad():
        expected = model(batch)
        duplicate = copy.deepcopy(model)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(duplicate(batch), expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_trained_parameter_gets_a_gradient_and_the_images_stay_as_they_are(name: str) -> None:
    model = built(name).train()
    batch = images()
    before = batch.clone()
    model(batch).pow(2).sum().backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad != (p.grad is not None)] == []
    assert torch.equal(batch, before)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_built_without_memory(name: str) -> None:
    with torch.device("meta"):
        model = small(name)
    features = model(torch.empty(2, 3, 64, 64, device="meta"))
    assert features.shape == (2, model.out_dim)
