"""The hooks of every run: by name, from a file or the command line, and in the resolved config."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.config import DEFAULT_HOOKS, Recipe, dump_config, load_config
from selfsup.config.read import read_config
from selfsup.config.validate import find_problems
from selfsup.errors import ConfigError
from tests.config.small import RECIPE, write


def hooks_of(recipe: Recipe) -> dict[str, dict[str, Any]]:
    return {path.removeprefix("default_hooks."): hook for path, hook in recipe.hooks.items()}


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
    assert [problem.path for problem in caught.value.problems] == ["default_hooks.chekpoint"]


def test_each_is_switched_off_from_a_file_or_the_command_line(tmp_path: Path) -> None:
    config = load(tmp_path, "default_hooks = dict(progress=None)", ["default_hooks.pictures=none"])
    assert set(DEFAULT_HOOKS) - set(hooks_of(config)) == {"progress", "pictures"}


def test_arguments_are_changed_without_naming_the_type(tmp_path: Path) -> None:
    options = ["default_hooks.collapse.every_steps=50", "default_hooks.pictures={'num_rows': 2}"]
    hooks = hooks_of(load(tmp_path, "default_hooks = dict(checkpoint=dict(max_keep=9))", options))
    assert (hooks["collapse"]["type"], hooks["collapse"]["every_steps"]) == ("CollapseWatchHook", 50)
    assert (hooks["pictures"]["type"], hooks["pictures"]["num_rows"]) == ("PictureHook", 2)
    assert (hooks["checkpoint"]["type"], hooks["checkpoint"]["max_keep"]) == ("CheckpointHook", 9)


def test_the_resolved_config_shows_all_of_them_and_reads_back(tmp_path: Path) -> None:
    config = load(tmp_path, "default_hooks = dict(pictures=None)")
    assert list(config.default_hooks) == list(DEFAULT_HOOKS)
    expected = {"type": "CheckpointHook", "every_epochs": 1, "min_steps": 50, "max_keep": 2}
    expected |= {"sharded": False, "asynchronous": False}
    assert config.default_hooks["checkpoint"] == expected
    assert load_config(write(tmp_path, dump_config(config), "resolved.py")) == config


def test_what_other_sections_say_reaches_their_hooks(tmp_path: Path) -> None:
    text = "evaluators = dict(knn=dict(type='KNN'))\nevaluate_every = 7\ntrain_dataloader['max_bad_share'] = 0.5\n"
    text += "evaluators['spread'] = dict(type='Spread')\n"
    config = load(tmp_path, text, ["evaluators.spread=none"])
    assert list(config.evaluators) == ["knn"]
    hooks = hooks_of(config)
    assert hooks["bad_images"]["max_share"] == 0.5
    assert (hooks["evaluate"]["every_epochs"], hooks["evaluate"]["evaluators"]) == (7, config.evaluators)
    own = load(tmp_path, text, ["default_hooks.evaluate.every_epochs=2"])
    assert hooks_of(own)["evaluate"]["every_epochs"] == 2


def test_another_hook_in_a_names_place_has_arguments_of_its_own(tmp_path: Path) -> None:
    hooks = hooks_of(load(tmp_path, "default_hooks = dict(evaluate=dict(type='EmptyCacheHook'))"))
    assert hooks["evaluate"]["type"] == "EmptyCacheHook"
    assert not {"evaluators", "every_epochs"} & set(hooks["evaluate"])
