import pytest
import torch
from torch import nn

from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError
from selfsup.methods import Method, Progress
from tests.methods.tiny import TinyBackbone, images


def test_progress_knows_its_share() -> None:
    assert Progress(step=30, total_steps=120, epoch=1, steps_per_epoch=20).fraction == 0.25


def test_features_are_those_of_the_backbone() -> None:
    torch.manual_seed(0)
    method = Method(TinyBackbone()).eval()
    views = images(8, 8)
    expected = method.backbone(views[0])
    torch.testing.assert_close(method.features(views[0]), expected)
    torch.testing.assert_close(method(views, mode="features"), expected)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 'loss' or 'features', got 'predict'"):
        Method(TinyBackbone())(images(8), mode="predict")  # type: ignore[arg-type]


def test_a_backbone_without_out_dim_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone: Linear has no 'out_dim'"):
        Method(nn.Linear(2, 2))


def test_preprocess_is_built_from_its_arguments_and_left_out_of_the_state() -> None:
    method = Method(TinyBackbone(), preprocess=dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))
    view = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    torch.testing.assert_close(method.preprocess([view])[0], torch.full((1, 3, 2, 2), 2.0))
    assert isinstance(Method(TinyBackbone()).preprocess, Preprocess)
    assert all(name.startswith("backbone.") for name in method.state_dict())


def test_a_misspelt_argument_of_preprocess_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Preprocess.*'meen'"):
        Method(TinyBackbone(), preprocess=dict(meen=(0.5, 0.5, 0.5)))
