"""``_base_``: a user's config, anywhere, builds on files beside it and on packaged recipes."""

from dataclasses import replace
from pathlib import Path

import pytest

from selfsup.config import load_config
from selfsup.config.inherit import merged
from selfsup.config.recipe import TrainCfg
from selfsup.errors import ConfigError
from tests.config.small import RECIPE, write

IMPORT = "from mmengine.config import read_base\nwith read_base():\n    {} import *\n"


@pytest.mark.parametrize("spelled", ["swav/swav_resnet50", "swav/swav_resnet50.py", "configs/swav/swav_resnet50.py"])
def test_a_config_anywhere_builds_on_a_packaged_recipe(spelled: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"_base_ = {spelled!r}\nmodel = dict(prototypes=dict(num_prototypes=300))\n")
    expected = load_config("swav/swav_resnet50")
    expected.model["prototypes"]["num_prototypes"] = 300
    assert load_config(path) == expected


def test_a_file_beside_the_config_comes_before_a_packaged_one(tmp_path: Path) -> None:
    write(tmp_path, name="swav/swav_resnet50.py")
    path = write(tmp_path, "_base_ = 'swav/swav_resnet50'\nseed = 3\n")
    assert load_config(path) == replace(load_config(tmp_path / "swav/swav_resnet50.py"), seed=3)


def test_what_is_inherited_can_be_computed_with(tmp_path: Path) -> None:
    text = (
        "_base_ = 'recipe'\nbatch = 8\noptim_wrapper = dict(optimizer=dict(lr=_base_.optim_wrapper.optimizer.lr / 4))\n"
    )
    text += "train_dataloader = dict(batch_size=batch)\n"
    write(tmp_path)
    config = load_config(write(tmp_path, text, "mine.py"))
    assert config.optim_wrapper["optimizer"]["lr"] == 0.3 * 32 / 256 / 4
    assert config.optim_wrapper["optimizer"]["momentum"] == 0.9
    assert config.train_dataloader.batch_size == 8
    assert not hasattr(config, "batch")


def test_later_bases_and_longer_chains_are_merged(tmp_path: Path) -> None:
    write(tmp_path, RECIPE, "recipe.py")
    write(tmp_path, "seed = 1\nevaluate_every = 5\n", "more.py")
    write(tmp_path, "_base_ = ['recipe', 'more']\nseed = 2\n", "middle.py")
    text = "_base_ = 'middle'\ntrain_cfg = dict(max_steps=None, max_epochs=7)\n"
    config = load_config(write(tmp_path, text, "last.py"))
    assert (config.seed, config.evaluate_every, config.train_cfg) == (2, 5, TrainCfg(max_epochs=7))


def test_dicts_are_merged_and_the_rest_is_replaced() -> None:
    inherited = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    own = {"a": {"c": [3]}, "d": {"_delete_": True, "g": 2}, "f": {"h": {"_delete_": True, "i": 1}}}
    assert merged(inherited, own) == {"a": {"b": 1, "c": [3]}, "d": {"g": 2}, "f": {"h": {"i": 1}}}
    assert inherited == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("_base_ = 'swav/swav_resnt50'\n", ", line 1: builds on swav/swav_resnt50: no such file"),
        ("seed = 1\n_base_ = ['bsae']\n", "no packaged config has that name; did you mean 'base'?"),
        ("_base_ = swav\n", ", line 1: _base_: must be a name or a list of names in quotes"),
        (IMPORT.format("from selfsup.configs.swav.swav_resnet50"), ", line 3: read_base() takes relative imports"),
        (IMPORT.format("from .swav_resnet50"), ", line 3: builds on "),
        ("_base_ = 'base'\n\nmodel = dict(depth=dpeth)\n", ", line 3: NameError: name 'dpeth' is not defined"),
        ("_base_ = 'base'\ntrain_cfg = dict(max_epochs=2)\n", "exactly one of max_epochs and max_steps"),
        ("_base_ = 'base'\nseed = _base_.sede\n", ", line 2: AttributeError"),
        (
            "_base_ = 'base'\nmodle = dict(a=1)\n",
            "modle: is not a key of a config, got {'a': 1}",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, RECIPE, "base.py")
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "recipe.py"))
    assert said in str(caught.value)
