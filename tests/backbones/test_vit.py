import math
from types import ModuleType

import numpy as np
import pytest
import torch

from selfsup.backbones import ViT
from selfsup.backbones.vit_positions import resample_positions, sincos_positions
from selfsup.errors import ConfigError
from selfsup.planning import multiply_adds
from selfsup.registry import BACKBONES
from tests.reference.positions import sincos_by_the_code

PATCHES = {"tiny": 16, "small": 16, "base": 16, "large": 14, "huge": 14}


def on_meta(**arguments: object) -> ViT:
    with torch.device("meta"):
        return BACKBONES.build({"type": "ViT", **arguments})


def tiny(**arguments: object) -> ViT:
    return ViT(**{"embed_dim": 16, "depth": 3, "num_heads": 2, "image_size": 64, **arguments})


@pytest.mark.parametrize("arch", PATCHES)
def test_names_and_shapes_are_timm_s(timm: ModuleType, arch: str) -> None:
    with torch.device("meta"):
        reference = timm.create_model(f"vit_{arch}_patch{PATCHES[arch]}_224", num_classes=0)
    expected = {name: tensor.shape for name, tensor in reference.state_dict().items()}
    model = on_meta(arch=arch, patch_size=PATCHES[arch])
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == expected
    assert model.blocks[0].attn.num_heads == reference.blocks[0].attn.num_heads


@pytest.mark.parametrize("pool", ["token", "mean"])
@pytest.mark.parametrize("size", [(224, 224), (64, 128)])
def test_features_equal_timm_s(timm: ModuleType, size: tuple[int, int], pool: str) -> None:
    torch.manual_seed(0)
    pooling = {"token": {}, "mean": {"global_pool": "avg", "fc_norm": False}}[pool]
    reference = timm.create_model("vit_small_patch16_224", num_classes=0, dynamic_img_size=True, **pooling)
    model = ViT("small", position="learned", pool=pool)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        model.load_state_dict(reference.state_dict(), strict=True)
        images = torch.randn(2, 3, *size)
        torch.testing.assert_close(model(images), reference(images), rtol=1e-4, atol=1e-4)
        maps = model.feature_maps(images)
        expected = reference.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)[0]
    torch.testing.assert_close(maps[2], expected, rtol=1e-4, atol=1e-4)


def test_the_cost_is_that_of_its_matrix_products() -> None:
    dim, patches, tokens = 384, 14 * 14, 14 * 14 + 1
    linear = tokens * (3 * dim * dim + dim * dim + 2 * 4 * dim * dim)
    attention = 2 * tokens * tokens * dim
    assert multiply_adds(on_meta(arch="small"), 224) == patches * 3 * 16 * 16 * dim + 12 * (linear + attention)


def test_the_maps_are_the_last_one_enlarged_and_averaged() -> None:
    torch.manual_seed(0)
    model = tiny().eval()
    with torch.no_grad():
        quarter, eighth, sixteenth, thirty_second = model.feature_maps(torch.randn(2, 3, 64, 96))
    assert sixteenth.shape == (2, 16, 4, 6)
    for maps, factor in ((quarter, 4), (eighth, 2)):
        # Where an enlarged map's own grid repeats the coarse one's corners, bilinear interpolation keeps them.
        assert maps.shape == (2, 16, 4 * factor, 6 * factor)
        torch.testing.assert_close(
            maps[..., [0, 0, -1, -1], [0, -1, 0, -1]], sixteenth[..., [0, 0, -1, -1], [0, -1, 0, -1]]
        )
        torch.testing.assert_close(maps.mean((2, 3)), sixteenth.mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(thirty_second, sixteenth.unflatten(3, (3, 2)).unflatten(2, (2, 2)).mean((3, 5)))


@pytest.mark.parametrize(("height", "width", "dim"), [(14, 14, 384), (3, 5, 8)])
def test_waves_agree_with_the_published_code(height: int, width: int, dim: int) -> None:
    actual = sincos_positions(height, width, dim)[0].double().numpy()
    np.testing.assert_allclose(actual, sincos_by_the_code(height, width, dim), rtol=0, atol=2e-6)


def test_waves_are_fixed_and_learned_positions_are_trained() -> None:
    fixed, learned = tiny(), tiny(position="learned")
    assert not fixed.pos_embed.requires_grad and learned.pos_embed.requires_grad
    np.testing.assert_allclose(fixed.pos_embed[0].numpy(), sincos_by_the_code(4, 4, 16), atol=1e-6)
    assert learned.pos_embed.std().item() == pytest.approx(0.02, rel=0.2)


def test_resampling_keeps_its_own_grid_and_a_constant_and_turns_with_the_grid() -> None:
    constant = torch.full((1, 1 + 16, 8), 0.7)
    torch.testing.assert_close(resample_positions(constant, 4, 3, 7), constant[:, :1].expand(-1, 1 + 21, -1))
    positions = torch.randn(1, 1 + 16, 8, generator=torch.Generator().manual_seed(0))
    assert resample_positions(positions, 4, 4, 4) is positions
    assert torch.equal(resample_positions(positions, 4, 2, 6)[:, 0], positions[:, 0])
    transposed = positions.clone()
    transposed[:, 1:] = positions[:, 1:].unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)
    wide = resample_positions(positions, 4, 3, 7)[:, 1:].unflatten(1, (3, 7))
    high = resample_positions(transposed, 4, 7, 3)[:, 1:].unflatten(1, (7, 3))
    torch.testing.assert_close(wide, high.transpose(1, 2))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_projection_is_drawn_as_moco_v3_s_and_stays(frozen: bool) -> None:
    torch.manual_seed(0)
    model = ViT(embed_dim=96, depth=1, num_heads=3, frozen_patch_projection=frozen)
    projection = model.patch_embed.proj
    assert projection.weight.requires_grad == projection.bias.requires_grad == (not frozen)
    bound = math.sqrt(6 / (3 * 16 * 16 + 96))
    assert projection.weight.abs().max().item() == pytest.approx(bound, rel=1e-3) and (projection.bias == 0).all()
    assert projection.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_linear_layers_are_drawn_as_moco_v3_s() -> None:
    torch.manual_seed(0)
    block = ViT(embed_dim=96, depth=1, num_heads=3).blocks[0]
    for layer, fans in (
        (block.attn.qkv, 96 + 96),
        (block.attn.proj, 96 + 96),
        (block.mlp.fc1, 96 + 384),
        (block.mlp.fc2, 384 + 96),
    ):
        assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(6 / fans), rel=1e-3)
        assert (layer.bias == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arch": "smal"}, r"arch: no architecture is called 'smal'; did you mean 'small'\?"),
        ({}, "give arch, or embed_dim, depth and num_heads; got embed_dim=None, depth=None, num_heads=None"),
        ({"arch": "small", "num_heads": 5}, "num_heads divide embed_dim, got embed_dim=384, depth=12, num_heads=5"),
        ({"arch": "small", "pool": "tokens"}, r"pool: nothing is called 'tokens'; did you mean 'token'\?"),
        ({"arch": "small", "image_size": 230}, r"image_size: must be a multiple of patch_size=16, got 230"),
        ({"embed_dim": 6, "depth": 1, "num_heads": 1}, r"multiple of 4 for position='sincos', got 6"),
        ({"arch": "small", "checkpoint_stages": (0,)}, r"checkpoint_stages: must be among 1, 2, 3, 4, got 0"),
    ],
)
def test_bad_arguments_are_rejected(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        on_meta(**arguments)


def test_images_that_are_not_whole_patches_are_rejected() -> None:
    with pytest.raises(ConfigError, match="images must be whole patches of 16 pixels, got 64 x 90"):
        tiny()(torch.zeros(1, 3, 64, 90))
