"""From files, names and options to a resolved config."""

from pathlib import Path

import pytest
import torch

from selfsup.config import dump_config, find_config, load_config
from selfsup.config.options import parse_options
from selfsup.config.recipe import CustomImports, TrainCfg
from selfsup.errors import ConfigError, DataError, RegistryError
from selfsup.registry import BACKBONES, METHODS
from tests.config.small import RECIPE, write

BASE = RECIPE[: RECIPE.index("batch = ")]
REST = RECIPE[RECIPE.index("batch = ") :]
STYLES = {
    "imports": "from mmengine.config import read_base\n\nwith read_base():\n    from .base import model\n"
    "model.backbone.width = 0.25\n",
    "base list": "_base_ = ['base.py']\nmodel = dict(backbone=dict(width=0.25))\n",
    "classes": "from selfsup.backbones import ResNet\nfrom selfsup.losses import NTXentLoss\n"
    "from selfsup.methods import SimCLR\nfrom selfsup.necks import ProjectionNeck\n"
    "model = dict(type=SimCLR, backbone=dict(type=ResNet, depth=18, width=0.25),\n"
    "    neck=dict(type=ProjectionNeck, hidden_dims=(16,), out_dim=8), loss=dict(type=NTXentLoss, temperature=0.5))\n",
}


@pytest.mark.parametrize("style", STYLES)
def test_the_three_styles_give_the_same_config_and_model(style: str, tmp_path: Path) -> None:
    write(tmp_path, BASE, "base.py")
    config = load_config(write(tmp_path, STYLES[style] + REST))
    expected = load_config(write(tmp_path, RECIPE.replace("0.125", "0.25"), "plain.py"))
    assert config == expected
    states = []
    for each in (config, expected):
        torch.manual_seed(0)
        states.append(METHODS.build(each.model).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_loaded_config_is_complete_without_the_file_s_own_variables_and_reads_back(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    assert not hasattr(config, "batch")
    assert config.optim_wrapper["optimizer"]["lr"] == 0.3 * 32 / 256
    assert load_config(write(tmp_path, dump_config(config), "again.py")) == config
    assert config.channels_last is True
    assert config.train_dataloader.max_bad_share == 0.01
    assert config.model["neck"]["bn"] is True
    assert "in_dim" not in config.model["neck"]  # supplied by the method


def test_a_file_here_comes_before_a_packaged_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = write(tmp_path, name="swav/swav_resnet50.py")
    assert find_config("swav/swav_resnet50") == mine


def test_an_unknown_config_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        find_config("swav/swav_resnt50")
    assert "did you mean 'swav/swav_resnet50'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = dict(\n", "line 1: '(' was never closed"),
        ("a = 1\nmodel = 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("_base_ = ['base.py']\nimport sys\nsys.exit(0)\n", "line 3: SystemExit: 0"),
        ("model = dict(depht=depht)\n", "NameError: name 'depht' is not defined"),
        ("from torch import nn\nmodel = nn.Linear(1, 2)\n", "calls something imported"),
        (
            "from mmengine.config import read_base\nwith read_base():\n    from .bse import model\n",
            "did you mean 'base'?",
        ),
        ("_base_ = ['recipe.py']\n", "builds on itself"),
    ],
)
def test_a_config_that_cannot_be_executed_says_where_and_why(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, BASE, "base.py")
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_options_are_python_values() -> None:
    texts = ["a=1", "b=1e-3", "c=(224, 96)", "d=true", "e=None", "f=y_400mf", "g={'type': dict(b=-1)}", "h=a=b", "i="]
    numbers = {"a": 1, "b": 1e-3, "c": (224, 96), "d": True, "e": None}
    assert parse_options(texts) == {**numbers, "f": "y_400mf", "g": {"type": {"b": -1}}, "h": "a=b", "i": ""}
    dicts = parse_options(["a=dict(a=[dict(b=1), 2], c=(dict(d=None),))"])
    assert dicts == {"a": {"a": [{"b": 1}, 2], "c": ({"d": None},)}}
    with pytest.raises(ConfigError):
        parse_options(["a=dict(b=open('x'))"])


def test_options_change_values_list_items_and_arguments_left_out(tmp_path: Path) -> None:
    text = RECIPE + "custom_hooks = [dict(type='EmptyCacheHook')]\n"
    options = ["train_cfg.max_steps=7", "custom_hooks.0.after_iter=true", "model.preprocess.std=(1., 1., 1.)"]
    config = load_config(write(tmp_path, text), options)
    assert config.train_cfg.max_steps == 7
    assert config.custom_hooks[0]["after_iter"] is True
    assert config.model["preprocess"]["std"] == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("model.bakbone.depth=50", "model.bakbone: is not an argument of SimCLR"),
        ("seeed=1", "seeed: is not a key of a config, got 1; did you mean 'seed'?"),
        ("default_hooks.collapse.every_stesp=50", "default_hooks.collapse.every_stesp: is not an argument"),
        ("evaluators.knn.k=1", "evaluators.knn.type: is missing, which names the component to build"),
        ("seed.x=1", "--cfg-options seed.x: seed is 3, which has no 'x' inside"),
        ("custom_hooks.1.x=1", "--cfg-options custom_hooks.1.x: custom_hooks.1: must be a number below 1, got '1'"),
        ("no equals sign", "--cfg-options no equals sign: must be KEY=VALUE"),
    ],
)
def test_options_for_keys_that_do_not_exist_are_rejected(option: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE + "seed = 3\ncustom_hooks = [dict(type='EmptyCacheHook')]\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, [option])
    assert said in str(caught.value)


def test_an_option_for_steps_replaces_epochs(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE.replace("max_steps=100", "max_epochs=3"))
    assert load_config(path, ["train_cfg.max_steps=5"]).train_cfg == TrainCfg(max_steps=5)
    assert load_config(path, ["train_cfg.max_epochs=none", "train_cfg.max_steps=5"]).train_cfg == TrainCfg(max_steps=5)
    with pytest.raises(ConfigError, match="exactly one of max_epochs and max_steps"):
        load_config(path, ["train_cfg.max_epochs=2", "train_cfg.max_steps=5"])


def test_own_images_replace_the_data_of_the_config_its_tasks_and_its_input_contract(tmp_path: Path) -> None:
    text = RECIPE + "evaluators = dict(knn=dict(type='KNN', k=5))\ninput_contract = dict(size=32, resize='none')\n"
    path = write(tmp_path, text + "tasks = dict(own=dict(type='Task', test=dict(type='Scenes')))\n")
    with pytest.raises(DataError):
        load_config(path, images="nowhere")
    recipe = load_config(path, ["train_dataloader.dataset.labels=folder"], images=tmp_path)
    dataset = recipe.train_dataloader.dataset
    assert (dataset["type"], dataset["root"], dataset["labels"]) == ("ImageList", str(tmp_path), "folder")
    assert recipe.evaluators["knn"]["k"] == 5
    assert (recipe.tasks, recipe.input_contract.size, recipe.input_contract.resize) == ({}, None, None)


def test_custom_imports_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path,
        "import os\nfrom torch import nn\n\n\nclass Own(nn.Module):\n    def __init__(self, depth: int) -> None:\n"
        "        super().__init__()\n        self.out_dim = depth\n",
        "own_parts.py",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = RECIPE.replace("dict(type='ResNet', depth=18, width=0.125)", "dict(type='own_parts.Own', depth=3)")
    config = load_config(write(tmp_path, text + "custom_imports = dict(imports=['own_parts'])\n"))
    assert config.model["backbone"] == {"type": "own_parts.Own", "depth": 3}
    assert METHODS.build(config.model).backbone.out_dim == 3
    for other in ("own_parts.nn.Flatten.forward", "own_parts.os.system", "own_parts.nn"):
        with pytest.raises(RegistryError, match=f"no backbone is called '{other}'"):
            BACKBONES.find(other)


def test_a_class_that_is_not_registered_is_known_to_who_imports_it_and_to_the_dumped_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path, "from torch.nn import Module\n\n\nclass Plain(Module):\n    out_dim = 3\n", "own_classes.py")
    text = RECIPE.replace("dict(type='ResNet', depth=18, width=0.125)", "dict(type=Plain)")
    text = text.replace("dict(type='SGD'", "dict(type=SGD")
    imports = "from own_classes import Plain\nfrom torch.optim import SGD\n"
    config = load_config(write(tmp_path, imports + text))
    assert config.optim_wrapper["optimizer"]["type"] == "SGD"
    assert config.model["backbone"]["type"] == "own_classes.Plain"
    assert config.custom_imports == CustomImports(imports=["own_classes"])
    assert METHODS.build(config.model).backbone.out_dim == 3
    assert load_config(write(tmp_path, dump_config(config), "again.py")) == config
