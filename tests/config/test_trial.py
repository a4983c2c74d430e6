"""What a dry run finds out by building everything but data."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from selfsup.config import describe, load_config
from selfsup.config.read import read_config
from selfsup.config.validate import find_problems
from selfsup.errors import ConfigError
from selfsup.registry import METHODS, TRANSFORMS
from tests.config.small import RECIPE, write


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (
            "optim_wrapper.precision",
            "bf61",
            "must be 'auto' or 'fp32' or 'bf16' or 'fp16', got 'bf61'; did you mean 'bf16'?",
        ),
        (
            "optim_wrapper.optimizer",
            {"type": "LARS", "lr": 1.0, "variant": "lark"},
            "optim_wrapper.optimizer.variant: must be 'simclr' or 'byol' or 'larc', got 'lark'; did you mean 'larc'?",
        ),
        ("model.backbone.stem", "cifra", "model.backbone.stem: must be 'imagenet' or 'cifar', got 'cifra'; did you"),
        (
            "param_scheduler",
            {"type": "WarmupCosine", "seam": "rebase"},
            "param_scheduler.seam: must be 'rebased' or 'vissl_fixed', got 'rebase'; did you mean 'rebased'?",
        ),
        ("train_dataloader.max_bad_share", 5.0, "train_dataloader.max_bad_share: must be <= 1, got 5.0"),
        (
            "optim_wrapper.type",
            "OptimWrapper",
            "optim_wrapper.type: OptimWrapper is not one of ours, nor made from one; use PrecisionOptimWrapper",
        ),
    ],
)
def test_a_choice_that_there_is_not_is_found_by_reading(tmp_path: Path, path: str, value: Any, problem: str) -> None:
    config = read_config(write(tmp_path))
    *parents, last = path.split(".")
    node = config
    for key in parents:
        node = node[key]
    node[last] = value
    (found,) = find_problems(config)
    assert problem in found


def test_everything_that_cannot_be_built_is_told_at_once(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, RECIPE + "param_scheduler = [dict(type='MultiStep', steps=(3,)), dict(type='MultiStep')]\n"),
        {
            "optim_wrapper.clip_grad": {"max_nrom": 1.0},
            "default_hooks.checkpoint.max_keep": 0,
            "custom_hooks": [
                {"type": "CheckpointHook", "every_steps": 0},
                {"type": "ProfilerHook", "profile_times": 0},
            ],
            "sync_bn": 2,
        },
    )
    with pytest.raises(ConfigError) as caught:
        describe(config, processes=3)
    assert str(caught.value).splitlines() == [
        "6 problems:",
        "  sync_bn: groups of 2 do not divide 3 processes; use one of 1, 3, or 'all'",
        "  optim_wrapper.clip_grad: unknown key 'max_nrom'; did you mean 'max_norm'?",
        "  param_scheduler (MultiStep): give the milestones as epochs or as steps",
        "  default_hooks.checkpoint.max_keep: must be >= 1, got 0",
        "  custom_hooks.0.every_steps: must be >= 1 or None, got 0",
        "  custom_hooks.1: profile_iters should be greater than 0, but got 0",
    ]


@pytest.mark.parametrize(
    ("recipe", "queue_length", "processes", "problem"),
    [
        (
            "moco/moco_v2_scenes",
            1000,
            1,
            "must be a multiple of the batch of all processes, 128 images, got 1,000; the",
        ),
        (
            "moco/moco_v2_scenes",
            4096,
            3,
            "must be a multiple of the batch of all processes, 384 images, got 4,096; the",
        ),
        (
            "swav/swav_resnet50",
            200,
            4,
            "must hold at least one batch of all processes, 256 images, got 200; 0 means no",
        ),
    ],
)
def test_a_batch_that_the_method_cannot_train_with_is_refused(
    recipe: str, queue_length: int, processes: int, problem: str
) -> None:
    config = load_config(recipe, {"model.queue_length": queue_length, "default_hooks.checkpoint.max_keep": 0})
    with pytest.raises(ConfigError) as caught:
        describe(config, processes=processes)
    _, first, second = str(caught.value).splitlines()
    assert first.startswith(f"  model.queue_length: {problem}")
    assert second == "  default_hooks.checkpoint.max_keep: must be >= 1, got 0"


def test_a_network_is_no_method(tmp_path: Path) -> None:
    config = read_config(write(tmp_path))
    config["model"] = {"type": "Bare"}
    METHODS.register_module(name="Bare", module=type("Bare", (nn.Module,), {}))
    try:
        (problem,) = find_problems(config)
    finally:
        del METHODS.module_dict["Bare"]
    assert problem == (
        "model.type: Bare is not one of ours, nor made from one; it has no before_step and no after_step and no "
        "check_batch"
    )


def test_no_part_of_a_method_hides_what_another_refuses(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path),
        {"model.backbone.depth": 19, "model.loss.temperature": -1.0, "model.neck.out_dim": 0},
    )
    with pytest.raises(ConfigError) as caught:
        describe(config)
    heading, *problems = str(caught.value).splitlines()
    assert heading == "3 problems:"
    assert [problem.partition(": ")[0].strip() for problem in problems] == [
        "model.backbone.depth",
        "model.neck.out_dim",
        "model.loss.temperature",
    ]


def test_what_reading_and_what_building_refuses_is_one_list(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE + "custom_imports = dict(imports='absent.py')\nmodle = 3\n")
    options = {
        "model.neck.out_dim": "abc",
        "model.loss.temperature": -1.0,
        "optim_wrapper.optimizer.lr": -1.0,
        "train_dataloader.views.size": -3,
        "evaluators": {"knn": {"type": "KNN", "k": 0}, "linear": {"type": "LinearProbe", "max_images": 1}},
    }
    with pytest.raises(ConfigError) as caught:
        load_config(path, options)
    assert str(caught.value).splitlines() == [
        f"{path} has 8 problems:",
        f"  custom_imports.imports: {tmp_path / 'absent.py'}: no such file",
        "  model.neck.out_dim: must be int, got 'abc'",
        "  modle: is not a key of a config, got 3; did you mean 'model'?",
        "  model.loss.temperature: must be > 0, got -1.0",
        "  train_dataloader.views: RandomResizedCrop.size: must be > 0, got -3",
        "  optim_wrapper.optimizer: Invalid learning rate: -1.0",
        "  evaluators.knn.k: must be > 0, got 0",
        "  evaluators.linear.max_images: must be > 1, got 1",
    ]


def test_evaluators_are_tried_without_opening_their_images(tmp_path: Path) -> None:
    absent = {"type": "ImageList", "root": str(tmp_path / "absent"), "labels": "folder"}
    knn = {"type": "KNN", "k": 3, "train": absent, "test": absent}
    describe(load_config(write(tmp_path), {"evaluators": {"knn": knn}}))
    with pytest.raises(ConfigError, match=r"^evaluators.knn.temperature: must be > 0, got 0"):
        describe(load_config(write(tmp_path), {"evaluators": {"knn": {**knn, "temperature": 0.0}}}))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"optim_wrapper.freeze": {"prototpyes": 3}}, "optim_wrapper.freeze: no parameter's name holds 'prototpyes'"),
        (
            {"optim_wrapper.param_groups": [{"match": "predictor.*", "lr": 1.0}]},
            "optim_wrapper.param_groups[0]: match='predictor.*' matches no parameter",
        ),
        ({"optim_wrapper.optimizer.momentum": -1.0}, "optim_wrapper.optimizer: Invalid momentum value: -1.0"),
        (
            {"optim_wrapper.optimizer": {"type": "LARS", "lr": -1.0}},
            "optim_wrapper.optimizer.lr: must be ",
        ),
        ({"model.loss.temperature": 0.0}, "model.loss.temperature: must be > 0, got 0.0"),
        ({"model.backbone": {"type": "ResNet", "depth": 19}}, "model.backbone.depth: must be one of 18, "),
    ],
)
def test_the_optimisers_rules_are_compared_with_the_methods_parameters(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        describe(load_config(write(tmp_path), options))
    assert str(caught.value).startswith(problem)


ONE_VIEW = {"type": "SwAVViews", "sizes": (32,), "counts": (1,), "scales": ((0.08, 1.0),)}


@pytest.mark.parametrize(
    ("recipe", "views", "said"),
    [
        ("simclr/simclr_scenes", ONE_VIEW, "SimCLR needs exactly 2 views of each image, got 1"),
        ("moco/moco_v3_scenes", ONE_VIEW, "MoCoV3 needs exactly 2 views of each image, got 1"),
        ("swav/swav_scenes", ONE_VIEW, "assign_views (0, 1) needs at least 2 views of each image, got 1"),
        (
            "supervised/supervised_scenes",
            {"type": "SimCLRViews", "size": 32},
            "Supervised needs exactly 1 view of each image, got 2",
        ),
    ],
)
def test_a_number_of_views_that_the_method_cannot_take_is_refused(recipe: str, views: Any, said: str) -> None:
    config = load_config(recipe, {"train_dataloader.views": views})
    with pytest.raises(ConfigError) as caught:
        describe(config)
    assert str(caught.value) == f"train_dataloader.views: {said}"


def test_views_that_only_the_data_can_tell_are_left_to_the_run(tmp_path: Path) -> None:
    class Particular:
        def __call__(self, image: Any, rng: Any) -> Any:
            raise ValueError("not this image")

    TRANSFORMS.register_module(name="Particular")(Particular)
    try:
        config = load_config(write(tmp_path), {"train_dataloader.views": {"type": "Particular"}})
        assert describe(config).views is None
    finally:
        del TRANSFORMS.module_dict["Particular"]
