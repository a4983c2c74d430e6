"""Every problem of a config at once, each with its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from torch import nn

from selfsup.config import load_config
from selfsup.config.annotations import fits, spelled
from selfsup.config.read import read_config
from selfsup.config.signatures import Signature, signature_of
from selfsup.config.validate import find_problems
from selfsup.errors import ConfigError
from selfsup.losses import CosineLoss
from tests.config.small import RECIPE, write


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return read_config(write(tmp_path))


def test_a_valid_config_has_no_problems(config: dict[str, Any]) -> None:
    assert find_problems(config) == []


def change(config: dict[str, Any], path: str, value: Any) -> None:
    node = config
    *parents, last = path.split(".")
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value


@pytest.mark.parametrize(
    ("path", "value", "problem", "nearest"),
    [
        ("modle", {}, "modle: is not a key of a config, got {}", "model"),
        ("model.type", "SimCRL", "model.type: no method is called 'SimCRL'", "SimCLR"),
        ("model.loss.type", "NTXent", "model.loss.type: no loss is called 'NTXent'", "NTXentLoss"),
        ("model.loss.temprature", 1, "model.loss.temprature: is not an argument of NTXentLoss, got 1", "temperature"),
        ("model.loss.temperature", "hot", "model.loss.temperature: must be float, got 'hot'", None),
        ("model.neck.hidden_dims", 16, "model.neck.hidden_dims: must be a sequence of int, got 16", None),
        ("model.neck.hidden_dims", (16, "x"), "model.neck.hidden_dims: must be a sequence of int, got (16, 'x')", None),
        ("model.neck.bn", 1, "model.neck.bn: must be bool, got 1", None),
        (
            "model.neck",
            {"type": "ProjectionNeck", "hidden_dims": ()},
            "model.neck.out_dim: is missing; ProjectionNeck needs it (int)",
            None,
        ),
        ("model.preprocess", {"mena": ()}, "model.preprocess.mena: is not an argument of Preprocess, got ()", "mean"),
        ("train_dataloader.batch_size", True, "train_dataloader.batch_size: must be int, got True", None),
        (
            "train_dataloader.dataset.split",
            "tset",
            "train_dataloader.dataset.split: must be 'train' or 'test' or 'all', got 'tset'",
            "test",
        ),
        (
            "train_dataloader.views.before",
            [{"type": "FreshBackgroud"}],
            "train_dataloader.views.before.0.type: no transform is called 'FreshBackgroud'",
            "FreshBackground",
        ),
        (
            "train_dataloader.views.before",
            [{"type": "RegNet"}],
            "train_dataloader.views.before.0.type: no transform is called 'RegNet'",
            None,
        ),
        (
            "optim_wrapper.optimizer.momentun",
            0.9,
            "optim_wrapper.optimizer.momentun: is not an argument of SGD, got 0.9",
            "momentum",
        ),
        ("evaluators.knn", {"type": "KNN", "kk": 3}, "evaluators.knn.kk: is not an argument of KNN, got 3", "k"),
        ("evaluators.knn", 5, "evaluators.knn: must be a dict with a 'type', got 5", None),
        (
            "evaluators.knn",
            {"type": "KNN", "train": {"type": "Scnes"}},
            "evaluators.knn.train.type: no dataset is called 'Scnes'",
            "Scenes",
        ),
        ("sync_bn", "al", "sync_bn: must be 'all' or int or None, got 'al'", "all"),
        (
            "train_cfg.max_epochs",
            3,
            "train_cfg: must give exactly one of max_epochs and max_steps (the other None), "
            "got {'max_steps': 100, 'max_epochs': 3}",
            None,
        ),
        (
            "auto_scale_lr",
            {"rule": "cubic"},
            "auto_scale_lr.base_batch_size: is missing; an auto_scale_lr needs it (int)",
            None,
        ),
        (
            "param_scheduler",
            [{"type": "MultiStepLR"}],
            "param_scheduler.0.milestones: is missing; MultiStepLR needs it",
            None,
        ),
        (
            "custom_hooks",
            [{"type": "EmptyCachHook"}],
            "custom_hooks.0.type: no hook is called 'EmptyCachHook'",
            "EmptyCacheHook",
        ),
    ],
)
def test_a_problem_is_told_with_its_path_and_the_nearest_right_name(
    path: str, value: Any, problem: str, nearest: str | None, config: dict[str, Any]
) -> None:
    change(config, path, value)
    expected = problem if nearest is None else f"{problem}; did you mean {nearest!r}?"
    assert any(found.startswith(expected) for found in find_problems(config)), find_problems(config)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = RECIPE.replace("depth=18", "depht=18").replace("size=32", "size='big'").replace("max_steps", "max_stesp")
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path} has 6 problems:\n"
        "  model.backbone.depht: is not an argument of ResNet, got 18; did you mean 'depth'?\n"
        "  model.backbone.depth: is missing; ResNet needs it (int)\n"
        "  train_dataloader.dataset.size: must be int or (int, int), got 'big'\n"
        "  train_dataloader.views.size: must be int, got 'big'\n"
        "  train_cfg.max_stesp: is not a key of a train_cfg, got 100; did you mean 'max_steps'?\n"
        "  train_cfg: must give exactly one of max_epochs and max_steps (the other None), got {'max_stesp': 100}"
    )


def test_sections_that_every_config_needs(config: dict[str, Any]) -> None:
    del config["optim_wrapper"]
    assert find_problems(config) == ["optim_wrapper: is missing; a config needs it (dict)"]


def test_a_component_with_arguments_of_its_base_is_checked_through_it() -> None:
    class Base:
        def __init__(self, depth: int, *, width: float = 1.0) -> None: ...

    class Child(Base):
        def __init__(self, name: str, **kwargs: Any) -> None: ...

    signature = signature_of(Child)
    assert list(signature.arguments) == ["name", "depth", "width"]
    assert not signature.open
    assert signature.arguments["depth"].required


def test_a_component_that_takes_anything_is_open() -> None:
    class Anything:
        def __init__(self, **kwargs: Any) -> None: ...

    assert signature_of(Anything).open


def test_a_module_without_a_constructor_of_its_own_takes_nothing(config: dict[str, Any]) -> None:
    class Bare(nn.Module): ...

    class HandsOn(nn.Module):
        call_super_init = True

    assert signature_of(Bare) == Signature({}, open=False) == signature_of(CosineLoss)
    assert signature_of(HandsOn).open
    config["model"]["loss"] = {"type": "CosineLoss", "temperature": 0.5}
    assert find_problems(config) == ["model.loss.temperature: is not an argument of CosineLoss, got 0.5; it takes none"]


def test_an_option_that_an_open_component_may_not_know_is_rejected(config: dict[str, Any]) -> None:
    config["model"]["backbone"] = {"type": Open, "depth": 3, "depht": 4}
    assert find_problems(config) == []
    said = "model.backbone.depht: does not exist in the config, and nothing there is known to take it"
    assert find_problems(config, added={"model.backbone.depht"}) == [f"{said}; did you mean 'depth'?"]


class Open:
    def __init__(self, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
        (True, float, False),
        (None, int | None, True),
        ([1, 2], tuple[int, ...], True),
        ((1, 2), tuple[int, int, int], False),
        ("ab", Sequence[str], False),
        (["a"], Sequence[str], True),
        ("a", Literal["a", "b"], True),
        (1, Literal[True], False),
        ({}, Path, True),
        (3, Path, False),
        ([1], dict[str, int], False),
        (object(), "unresolved", True),
    ],
)
def test_values_fit_annotations(value: Any, annotation: Any, expected: bool) -> None:
    assert fits(value, annotation) is expected


def test_annotations_are_spelled_for_people() -> None:
    assert spelled(int | None) == "int or None"
    assert spelled(Sequence[tuple[float, float]]) == "a sequence of (float, float)"
    assert spelled(Literal["a", "b"]) == "'a' or 'b'"


@pytest.mark.parametrize(
    ("path", "value", "least"),
    [
        ("train_dataloader.batch_size", 0, 1),
        ("train_dataloader.num_workers", -1, 0),
        ("train_dataloader.prefetch_factor", 0, 1),
        ("train_dataloader.max_bad_share", -0.1, 0),
        ("train_cfg.max_steps", -1, 1),
        ("auto_scale_lr", {"base_batch_size": 0}, 1),
        ("evaluate_every", -1, 0),
        ("seed", -1, 0),
        ("dist_timeout", 0.5, 1),
    ],
)
def test_numbers_that_make_no_sense_are_rejected(config: dict[str, Any], path: str, value: Any, least: int) -> None:
    change(config, path, value)
    (problem,) = find_problems(config)
    assert problem.startswith(path) and f": must be >= {least}, got " in problem


def test_an_option_with_a_misspelt_key_on_its_way_is_one_problem(config: dict[str, Any]) -> None:
    change(config, "model.lss.temperature", 0.1)
    problems = find_problems(config, added={"model.lss", "model.lss.temperature"})
    assert problems == ["model.lss: is not an argument of SimCLR, got {'temperature': 0.1}; did you mean 'loss'?"]


def test_an_option_in_free_data_gets_the_nearest_of_its_neighbors(config: dict[str, Any]) -> None:
    config["optim_wrapper"] = {"optimizer": config["optim_wrapper"]["optimizer"], "freeze": {"neck": 3, "nekc": 4}}
    (problem,) = find_problems(config, added={"optim_wrapper.freeze.nekc"})
    assert problem.startswith("optim_wrapper.freeze.nekc: does not exist in the config")
    assert problem.endswith("; did you mean 'neck'?")
