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
from selfsup.registry import Registry
from tests.config.small import RECIPE, write


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return read_config(write(tmp_path))


def change(config: dict[str, Any], path: str, value: Any) -> None:
    node = config
    *parents, last = path.split(".")
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value


@pytest.mark.parametrize(
    ("path", "value", "where", "got", "nearest"),
    [
        ("modle", {}, "modle", {}, "model"),
        ("optim_wrapper", None, "optim_wrapper", None, None),
        ("model.type", "SimCRL", "model.type", None, "SimCLR"),
        ("model.loss.type", "NTXent", "model.loss.type", None, "NTXentLoss"),
        ("model.loss.temprature", 1, "model.loss.temprature", 1, "temperature"),
        ("model.loss.temperature", "hot", "model.loss.temperature", "hot", None),
        ("model.neck.hidden_dims", (16, "x"), "model.neck.hidden_dims", (16, "x"), None),
        ("model.neck.bn", 1, "model.neck.bn", 1, None),
        ("model.neck", {"type": "ProjectionNeck", "hidden_dims": ()}, "model.neck.out_dim", None, None),
        ("model.preprocess", {"mena": ()}, "model.preprocess.mena", (), "mean"),
        ("train_dataloader", 3, "train_dataloader", 3, None),
        ("train_dataloader.batch_size", True, "train_dataloader.batch_size", True, None),
        ("train_dataloader.dataset.split", "tset", "train_dataloader.dataset.split", "tset", "test"),
        (
            "train_dataloader.views.before",
            [{"type": "FreshBackgroud"}],
            "train_dataloader.views.before.0.type",
            None,
            "FreshBackground",
        ),
        ("train_dataloader.views.before", [{"type": "RegNet"}], "train_dataloader.views.before.0.type", None, None),
        ("optim_wrapper.optimizer.momentun", 0.9, "optim_wrapper.optimizer.momentun", 0.9, "momentum"),
        ("optim_wrapper.param_groups", [{"kind": "bias"}], "optim_wrapper.param_groups.0.kind", "bias", "kinds"),
        ("evaluators.knn", {"type": "KNN", "kk": 3}, "evaluators.knn.kk", 3, "k"),
        ("evaluators.knn", 5, "evaluators.knn", 5, None),
        ("tasks.own", {"type": "Task", "train": {"type": "Scnes"}}, "tasks.own.train.type", None, "Scenes"),
        ("sync_bn", "al", "sync_bn", "al", "all"),
        ("split.vla", 0.1, "split.vla", 0.1, "val"),
        ("input_contract.crop", "centre", "input_contract.crop", "centre", "center"),
        ("train_cfg.max_epochs", 3, "train_cfg", {"max_steps": 100, "max_epochs": 3}, None),
        ("train_dataloader.num_workers", -1, "train_dataloader.num_workers", -1, None),
        ("auto_scale_lr", {"base_batch_size": 0}, "auto_scale_lr.base_batch_size", 0, None),
        ("split.val", 0.95, "split.val", 0.95, None),
        ("optim_wrapper.precision", "bf61", "optim_wrapper.precision", "bf61", "bf16"),
        ("optim_wrapper.type", "OptimWrapper", "optim_wrapper.type", None, None),
        ("param_scheduler", {"type": "WarmupCosine", "seam": "rebase"}, "param_scheduler.seam", "rebase", "rebased"),
        ("dist_timeout", 0.5, "dist_timeout", 0.5, None),
        ("auto_scale_lr", {"rule": "cubic"}, "auto_scale_lr.base_batch_size", None, None),
        ("param_scheduler", [{"type": "MultiStepLR"}], "param_scheduler.0.milestones", None, None),
        ("custom_hooks", [{"type": "EmptyCachHook"}], "custom_hooks.0.type", None, "EmptyCacheHook"),
    ],
)
def test_a_problem_has_its_path_what_was_got_and_the_nearest_right_name(
    path: str, value: Any, where: str, got: Any, nearest: str | None, config: dict[str, Any]
) -> None:
    assert find_problems(config) == []
    change(config, path, value)
    problem = next(problem for problem in find_problems(config) if problem.path == where)
    assert problem.got == got
    assert nearest is None or problem.expected == f"did you mean {nearest!r}?"


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = RECIPE.replace("depth=18", "depht=18").replace("size=32", "size='big'").replace("max_steps", "max_stesp")
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [
        ("model.backbone.depht", 18),
        ("model.backbone.depth", None),
        ("train_dataloader.dataset.size", "big"),
        ("train_dataloader.views.size", "big"),
        ("train_cfg.max_stesp", 100),
        ("train_cfg", {"max_stesp": 100}),
    ]


def test_a_module_without_a_constructor_of_its_own_takes_nothing(config: dict[str, Any]) -> None:
    class Bare(nn.Module): ...

    class HandsOn(nn.Module):
        call_super_init = True

    assert signature_of(Bare) == Signature({}, open=False) == signature_of(CosineLoss)
    assert signature_of(HandsOn).open
    config["model"]["loss"] = {"type": "CosineLoss", "temperature": 0.5}
    (problem,) = find_problems(config)
    assert (problem.path, problem.expected) == ("model.loss.temperature", "it takes none")


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
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
    assert spelled(Sequence[float]) == "a sequence of float"
    assert spelled(Literal["a", "b"]) == "'a' or 'b'"


def test_a_config_is_sound_in_a_process_that_has_imported_no_component_yet(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "__len__", lambda self: 0)  # as a registry is before its first look-up
    assert find_problems(config) == []
