from typing import Any

import pytest
import torch
from torch import nn

from selfsup.engine.optim import LARS, parameter_groups
from selfsup.errors import ConfigError
from selfsup.layers import SyncBatchNorm

NO_DECAY = {"kinds": ("bias", "norm"), "weight_decay": 0.0, "adapt": False}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), SyncBatchNorm(4), nn.GroupNorm(2, 4))
        self.predictor = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))


def named_options(model: nn.Module, rules: list[dict[str, Any]], lr: float | None = None) -> dict[str, dict[str, Any]]:
    """What the groups say of each parameter; fails if one is in two groups or in none."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    options: dict[str, dict[str, Any]] = {}
    for group in parameter_groups(model, rules, lr=lr):
        for parameter in group["params"]:
            assert names[id(parameter)] not in options
            options[names[id(parameter)]] = {key: value for key, value in group.items() if key != "params"}
    assert options.keys() == set(names.values())
    return options


def test_biases_and_every_norm_are_selected_by_kind() -> None:
    options = named_options(Model(), [{"kinds": "bias", "weight_decay": 0.0}])
    assert {name for name, given in options.items() if given} == {n for n in options if n.endswith(".bias")}
    options = named_options(Model(), [NO_DECAY])
    untouched = {name for name, given in options.items() if not given}
    assert untouched == {"backbone.0.weight", "predictor.0.weight"}
    assert all(given in ({}, {"weight_decay": 0.0, "adapt": False}) for given in options.values())


def test_a_later_rule_wins_option_by_option() -> None:
    rules = [NO_DECAY, {"match": "predictor.*", "fixed_lr": True, "lr": 0.1, "weight_decay": 0.5}]
    options = named_options(Model(), rules)
    assert options["predictor.1.bias"] == {"weight_decay": 0.5, "adapt": False, "fixed_lr": True, "lr": 0.1}
    assert options["predictor.0.weight"] == {"weight_decay": 0.5, "fixed_lr": True, "lr": 0.1}
    assert options["backbone.1.weight"] == {"weight_decay": 0.0, "adapt": False}


def test_a_rule_with_kind_and_pattern_needs_both() -> None:
    options = named_options(Model(), [{"kinds": ["norm"], "match": ["predictor.*", "neck.*"], "weight_decay": 0.0}])
    assert {name for name, given in options.items() if given} == {"predictor.1.weight", "predictor.1.bias"}


def test_lr_scale_is_a_share_of_the_optimizer_s_rate() -> None:
    options = named_options(Model(), [{"match": "predictor.*", "lr_scale": 10.0}], lr=0.03)
    assert options["predictor.0.weight"] == {"lr": pytest.approx(0.3)}


def test_shared_and_frozen_parameters_count_once_and_not_at_all() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    model["c"].requires_grad_(False)
    parameters = [parameter for group in parameter_groups(model, [NO_DECAY]) for parameter in group["params"]]
    assert len(parameters) == 3
    with pytest.raises(ConfigError, match="no parameter that is trained"):
        parameter_groups(model.requires_grad_(False))


def test_without_rules_there_is_one_group_in_the_model_s_order() -> None:
    model = Model()
    (group,) = parameter_groups(model)
    assert all(a is b for a, b in zip(group["params"], model.parameters(), strict=True))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_optimizer_takes_the_groups_as_they_are(device: str) -> None:
    with torch.device(device):
        model = Model()
    optimizer = LARS(parameter_groups(model, [NO_DECAY]), 0.1, weight_decay=1e-4)
    assert [(group["weight_decay"], group["adapt"]) for group in optimizer.param_groups] == [(1e-4, True), (0.0, False)]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"match": "predictr.*", "lr": 1.0}, r"param_groups\.1: match='predictr\.\*' matches no parameter; they"),
        ({"kinds": "bais", "lr": 1.0}, r"param_groups\.1\.kinds: unknown kind 'bais'; did you mean 'bias'\?"),
        ({"kinds": "bias", "weigth_decay": 0.0}, r"unknown key 'weigth_decay'; did you mean 'weight_decay'\?"),
        ({"weight_decay": 0.0}, "needs kinds or match to say which parameters"),
        ({"kinds": "bias"}, "selects parameters but changes nothing"),
        ({"kinds": "bias", "lr": 1.0, "lr_scale": 2.0}, "give lr or lr_scale, not both"),
        ({"kinds": "bias", "lr_scale": 2.0}, "lr_scale needs the optimizer's lr"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_rejected(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parameter_groups(Model(), [NO_DECAY, rule])
