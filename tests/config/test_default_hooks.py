"""The hooks of every run: by name, from a file or the command line, and in the resolved config."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.config import DEFAULT_HOOKS, Recipe, dump_config, hooks_of, load_config
from selfsup.config.read import read_config
from selfsup.config.validate import find_problems
from selfsup.errors import ConfigError
from tests.config.small import RECIPE, write


def load(folder: Path, text: str = "", options: Any = ()) -> Recipe:
    return load_config(write(folder, RECIPE + text), options)


@pytest.mark.parametrize("value", [None, {"type": "CheckpointHook"}])
def test_a_misspelt_name_is_rejected_with_the_nearest(tmp_path: Path, value: Any) -> None:
    config = read_config(write(tmp_path)) | {"default_hooks": {"chekpoint": value}}
    (problem,) = find_problems(config)
    assert problem.path == "default_hooks.chekpoint"
    assert problem.expected.startswith("did you mean 'checkpoint'?")
    with pytest.raises(ConfigError) as caught:
        hooks_of(Recipe.from_dict(config))
    assert caught.value.problems == [problem]


@pytest.mark.parametrize("name", DEFAULT_HOOKS)
def test_every_one_of_them_is_switched_off_from_a_file_or_the_command_line(tmp_path: Path, name: str) -> None:
    for config in (
        load(tmp_path, f"default_hooks = dict({name}=None)"),
        load(tmp_path, options=[f"default_hooks.{name}=none"]),
    ):
        assert config.default_hooks[name] is None
        assert name not in hooks_of(config) and len(hooks_of(config)) == len(DEFAULT_HOOKS) - 1


def test_arguments_are_changed_without_naming_the_type(tmp_path: Path) -> None:
    options = ["default_hooks.collapse.every_steps=50", "default_hooks.pictures={'num_rows': 2}"]
    hooks = hooks_of(load(tmp_path, "default_hooks = dict(checkpoint=dict(max_keep=9))", options))
    assert (hooks["collapse"]["type"], hooks["collapse"]["every_steps"]) == ("CollapseWatchHook", 50)
    assert (hooks["pictures"]["type"], hooks["pictures"]["num_rows"]) == ("PictureHook", 2)
    assert (hooks["checkpoint"]["type"], hooks["checkpoint"]["max_keep"]) == ("CheckpointHook", 9)


def test_a_misspelt_argument_is_rejected_on_the_command_line_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"default_hooks\.collapse\.every_stesp: .*did you mean 'every_steps'"):
        load(tmp_path, options=["default_hooks.collapse.every_stesp=50"])


def test_the_resolved_config_shows_all_of_them_and_reads_back(tmp_path: Path) -> None:
    config = load(tmp_path, "default_hooks = dict(pictures=None)")
    assert list(config.default_hooks) == list(DEFAULT_HOOKS)
    expected = {"type": "CheckpointHook", "every_epochs": 1, "min_steps": 50, "max_keep": 2}
    assert config.default_hooks["checkpoint"] == expected
    assert load_config(write(tmp_path, dump_config(config), "resolved.py")) == config


def test_what_other_sections_say_reaches_their_hooks(tmp_path: Path) -> None:
    text = "evaluators = dict(knn=dict(type='KNN'))\nevaluate_every = 7\ntrain_dataloader['max_bad_share'] = 0.5\n"
    config = load(tmp_path, text)
    hooks = hooks_of(config)
    assert hooks["bad_images"]["max_share"] == 0.5
    assert (hooks["evaluate"]["every_epochs"], hooks["evaluate"]["evaluators"]) == (7, config.evaluators)
    own = load(tmp_path, text, ["default_hooks.evaluate.every_epochs=2"])
    assert hooks_of(own)["evaluate"]["every_epochs"] == 2


def test_an_evaluator_is_left_out_from_the_command_line(tmp_path: Path) -> None:
    text = "evaluators = dict(knn=dict(type='KNN'), spread=dict(type='Spread'))\n"
    assert list(load(tmp_path, text, ["evaluators.knn=none"]).evaluators) == ["spread"]


def test_another_hook_in_a_names_place_has_arguments_of_its_own(tmp_path: Path) -> None:
    hooks = hooks_of(load(tmp_path, "default_hooks = dict(evaluate=dict(type='EmptyCacheHook'))"))
    assert hooks["evaluate"]["type"] == "EmptyCacheHook"
    assert not {"evaluators", "every_epochs"} & set(hooks["evaluate"])


@pytest.mark.parametrize(("name", "hook"), [("scheduler", "ParamSchedulerHook"), ("progress", "ProgressHook")])
def test_a_second_one_that_would_do_its_work_twice_is_rejected(tmp_path: Path, name: str, hook: str) -> None:
    config = read_config(write(tmp_path)) | {"custom_hooks": [{"type": "EmptyCacheHook"}, {"type": hook}]}
    assert [(problem.path, problem.expected) for problem in find_problems(config)] == [
        ("custom_hooks.1", f"change default_hooks.{name}")
    ]
    for own in (None, {"type": "EmptyCacheHook"}):
        assert find_problems(config | {"default_hooks": {name: own}}) == []


def test_what_is_no_section_of_hooks_is_told_as_such(tmp_path: Path) -> None:
    config = read_config(write(tmp_path)) | {"default_hooks": 3, "custom_hooks": 4}
    assert [(problem.path, problem.got) for problem in find_problems(config)] == [
        ("default_hooks", 3),
        ("custom_hooks", 4),
    ]
