"""What a dry run finds out by building everything but data."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from selfsup.config import load_config
from selfsup.config.read import read_config
from selfsup.config.validate import find_problems
from selfsup.errors import ConfigError
from selfsup.planning import describe, load_and_try
from selfsup.registry import METHODS, TRANSFORMS
from tests.config.small import RECIPE, write


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
    assert [problem.path for problem in caught.value.problems] == [
        "sync_bn",
        "optim_wrapper.clip_grad",
        "param_scheduler.1",
        "default_hooks.checkpoint.max_keep",
        "custom_hooks.0.every_steps",
        "custom_hooks.1",
    ]


@pytest.mark.parametrize(
    ("recipe", "queue_length", "processes"),
    [("moco/moco_v2_scenes", 1000, 1), ("moco/moco_v2_scenes", 4096, 3), ("swav/swav_resnet50", 200, 4)],
)
def test_a_batch_that_the_method_cannot_train_with_is_rejected(recipe: str, queue_length: int, processes: int) -> None:
    config = load_config(recipe, {"model.queue_length": queue_length, "default_hooks.checkpoint.max_keep": 0})
    with pytest.raises(ConfigError) as caught:
        describe(config, processes=processes)
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [
        ("model.queue_length", queue_length),
        ("default_hooks.checkpoint.max_keep", 0),
    ]


def test_a_network_is_no_method(tmp_path: Path) -> None:
    config = read_config(write(tmp_path))
    config["model"] = {"type": "Bare"}
    METHODS.register_module(name="Bare", module=type("Bare", (nn.Module,), {}))
    try:
        (problem,) = find_problems(config)
    finally:
        del METHODS.module_dict["Bare"]
    assert problem.path == "model.type"


def test_what_reading_and_what_building_rejects_is_one_list(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE + "custom_imports = dict(imports='absent.py')\nmodle = 3\n")
    options = {
        "model.neck.out_dim": "abc",
        "model.loss.temperature": -1.0,
        "optim_wrapper.optimizer.lr": -1.0,
        "train_dataloader.views.size": -3,
        "evaluators": {"knn": {"type": "KNN", "k": 0}, "linear": {"type": "LinearProbe", "max_iterations": 0}},
    }
    with pytest.raises(ConfigError) as caught:
        load_config(path, options)
    read = ["custom_imports.imports", "model.neck.out_dim", "modle"]
    assert [problem.path for problem in caught.value.problems] == read
    with pytest.raises(ConfigError) as caught:
        load_and_try(path, options)
    assert [problem.path for problem in caught.value.problems] == [
        *read,
        "model.loss.temperature",
        "train_dataloader.views.size",
        "optim_wrapper.optimizer",
        "evaluators.knn.k",
        "evaluators.linear.max_iterations",
    ]


def test_tasks_and_evaluators_are_tried_without_opening_their_images(tmp_path: Path) -> None:
    absent = {"type": "ImageList", "root": str(tmp_path / "absent"), "labels": "folder"}
    tasks = {"own": {"type": "Task", "train": absent, "test": absent}}
    describe(load_config(write(tmp_path), {"tasks": tasks, "evaluators": {"knn": {"type": "KNN", "k": 3}}}))
    with pytest.raises(ConfigError, match=r"^evaluators.knn.temperature: must be > 0, got 0"):
        describe(load_config(write(tmp_path), {"evaluators": {"knn": {"type": "KNN", "temperature": 0.0}}}))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"optim_wrapper.freeze": {"prototpyes": 3}}, "optim_wrapper.freeze: no parameter's name holds 'prototpyes'"),
        (
            {"optim_wrapper.param_groups": [{"match": "predictor.*", "lr": 1.0}]},
            "optim_wrapper.param_groups.0: match='predictor.*' matches no parameter",
        ),
    ],
)
def test_the_optimizers_rules_are_compared_with_the_methods_parameters(
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
        ("swav/swav_scenes", ONE_VIEW, "assign_views (0, 1) needs at least 2 views of each image, got 1"),
        (
            "supervised/supervised_scenes",
            {"type": "SimCLRViews", "size": 32},
            "Supervised needs exactly 1 view of each image, got 2",
        ),
    ],
)
def test_a_number_of_views_that_the_method_cannot_take_is_rejected(recipe: str, views: Any, said: str) -> None:
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


def test_the_dry_run_tells_which_parameters_decay_and_which_are_frozen() -> None:
    rules = {
        "optim_wrapper.param_groups": [{"kinds": ("bias", "norm"), "weight_decay": 0.0}],
        "optim_wrapper.freeze": {"prototypes": "1 epoch"},
    }
    recipe = load_config("swav/swav_scenes", rules)
    method = METHODS.build(recipe.model)
    sizes = {name: parameter.numel() for name, parameter in method.named_parameters()}
    plain = {name: size for name, size in sizes.items() if ".bn" not in name and not name.endswith("bias")}
    rows = dict(describe(recipe).groups)
    decay = recipe.optim_wrapper["optimizer"]["weight_decay"]
    decays, rests = rows[f"weight decay {decay:g}"], rows["weight decay 0"]
    numbers = [int(text.split()[0].replace(",", "")) for text in (decays, rests, rows["frozen for 1 epoch"])]
    assert sum(numbers[:2]) == sum(sizes.values()) and numbers[2] == sizes["prototypes.weight"]
    assert numbers[0] <= sum(plain.values()) and "backbone.stem.conv.weight" in decays
    teacher = describe(load_config("moco/moco_v2_scenes"))
    assert dict(teacher.groups)["no gradient"].endswith(", in teacher")
    assert dict(teacher.groups)["no gradient"].startswith(f"{teacher.parameters['teacher']:,} parameters")
