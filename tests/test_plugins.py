"""Installed plugins: found on the first miss, named when they fail, never in the way of others."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from selfsup.backbones import RegNet, ResNet
from selfsup.cli import main
from selfsup.config import config_name, config_names, find_config, load_config, plugin_configs
from selfsup.errors import ConfigError, RegistryError
from selfsup.plugins import provider_of
from selfsup.registry import BACKBONES, HOOKS, load_plugins
from tests.config.small import RECIPE, write
from tests.installed import BACKBONE, install

TAKEN = BACKBONE.format(name="First") + BACKBONE.format(name="ResNet")


def test_a_plugin_is_imported_on_the_first_name_that_nobody_knows(site: Path) -> None:
    install(site, "other_nets", BACKBONE.format(name="OtherNet"))
    assert BACKBONES.build({"type": "RegNet", "arch": "y_400mf"}).out_dim == 440
    assert "other_nets" not in sys.modules
    assert type(BACKBONES.build({"type": "OtherNet"})).__module__ == "other_nets"


def test_who_provided_a_component_is_known(site: Path) -> None:
    file = install(site, "other_nets", BACKBONE.format(name="OtherNet"), package="nets-of-others", version="0.7")
    provider = provider_of(BACKBONES.find("OtherNet"))
    assert (provider.package, provider.version, provider.module) == ("nets-of-others", "0.7", "other_nets")
    assert (provider.origin, provider.place) == ("nets-of-others 0.7", f"{file}:7")
    ours = provider_of(ResNet)
    assert ours.origin.startswith("selfsup ") and ours.file.endswith("selfsup/backbones/resnet.py")
    assert provider_of(torch.optim.SGD).origin == f"torch {version('torch')}"
    assert provider_of(len).place == "builtins"


def test_a_plugin_that_raises_is_named_to_those_who_may_need_it(site: Path) -> None:
    install(site, "broken_nets", "raise ValueError('no GPU here')", version="3")
    install(site, "other_nets", BACKBONE.format(name="OtherNet"))
    assert BACKBONES.build({"type": "OtherNet"}).out_dim == 4
    with pytest.raises(RegistryError) as caught:
        BACKBONES.find("BrokenNet")
    message = str(caught.value)
    assert message.startswith("no backbone is called 'BrokenNet'")
    assert "\n  plugin 'broken_nets' (broken-nets 3) could not be imported: ValueError: no GPU here" in message
    assert message.endswith("\n  no such name in the installed plugins: 'other_nets' (other-nets 1.2)")


@pytest.mark.parametrize("code", ["import not_there_at_all", "import sys; sys.exit('no licence')", "def f(:"])
def test_whatever_a_plugin_raises_a_run_that_does_not_need_it_goes_on(site: Path, code: str) -> None:
    install(site, "broken_nets", code)
    with pytest.raises(RegistryError, match=r"plugin 'broken_nets' \(broken-nets 1\.2\) could not be imported"):
        BACKBONES.find("Nowhere")
    assert BACKBONES.find("RegNet") is RegNet


def test_a_plugin_that_registers_a_taken_name_is_told_both_files(site: Path) -> None:
    file = install(site, "greedy_nets", TAKEN)
    with pytest.raises(RegistryError) as caught:
        BACKBONES.find("First")
    error = load_plugins().popitem()[1]
    assert isinstance(error, RegistryError)
    ours = provider_of(ResNet)
    assert str(error) == (
        f"backbone 'ResNet' is registered twice: by {ours.place} ({ours.origin}) and by {file}:23 "
        "(greedy-nets 1.2); rename one of them"
    )
    assert str(error) in str(caught.value)
    assert BACKBONES.find("ResNet") is ResNet


def test_half_of_a_plugin_does_not_pass_for_the_whole(site: Path) -> None:
    install(site, "greedy_nets", TAKEN)
    load_plugins()
    assert "First" not in BACKBONES.names()


def test_a_taken_name_is_taken_even_before_ours_is_looked_up(site: Path) -> None:
    code = BACKBONE.format(name="SwAVLoss").replace("BACKBONES", "LOSSES")
    install(site, "greedy_losses", code)
    look = (
        "from selfsup.registry import LOSSES, load_plugins\n"
        "print(*load_plugins().values())\n"
        "print(LOSSES.find('SwAVLoss').__module__)"
    )
    paths = os.pathsep.join([str(site), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", look], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    error, module = result.stdout.splitlines()
    assert error.startswith("loss 'SwAVLoss' is registered twice: by ")
    assert module == "selfsup.losses.swav"


def test_a_plugin_may_not_take_a_name_of_mmengine_either(site: Path) -> None:
    install(site, "greedy_hooks", BACKBONE.format(name="SyncBuffersHook").replace("BACKBONES", "HOOKS"))
    with pytest.raises(
        RegistryError, match=r"hook 'SyncBuffersHook' is registered twice: by .*sync_buffer_hook\.py:\d+ \(mmengine "
    ):
        HOOKS.find("Nowhere")
    assert HOOKS.find("SyncBuffersHook").__module__ == "mmengine.hooks.sync_buffer_hook"


def test_a_plugin_cannot_force_its_way(site: Path) -> None:
    forced = BACKBONE.format(name="ResNet").replace("register_module()", "register_module(force=True)")
    install(site, "greedy_nets", forced)
    with pytest.raises(RegistryError, match="'ResNet' is registered twice"):
        BACKBONES.find("Nowhere")
    assert BACKBONES.find("ResNet") is ResNet


def test_a_name_that_two_plugins_offer_is_nobodys(site: Path) -> None:
    first = install(site, "a_nets", BACKBONE.format(name="OtherNet"))
    second = install(site, "b_nets", BACKBONE.format(name="OtherNet"))
    with pytest.raises(RegistryError) as caught:
        BACKBONES.find("OtherNet")
    assert str(caught.value) == (
        f"backbone 'OtherNet' is registered twice: by {first}:7 (a-nets 1.2) and by {second}:7 (b-nets 1.2); "
        "rename one of them"
    )
    assert BACKBONES.find("ResNet") is ResNet


def test_a_module_that_is_run_again_takes_its_own_place(site: Path) -> None:
    file = install(site, "other_nets", BACKBONE.format(name="OtherNet"))
    first = BACKBONES.find("OtherNet")
    namespace = {"__name__": "other_nets", "__file__": str(file)}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    assert BACKBONES.find("OtherNet") is namespace["OtherNet"] is not first


def test_a_config_checks_the_arguments_of_a_plugins_component(site: Path, tmp_path: Path) -> None:
    install(site, "other_nets", BACKBONE.format(name="OtherNet"))
    text = RECIPE.replace("dict(type='ResNet', depth=18, width=0.125)", "dict(type='OtherNet', out_dmi=4)")
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    expected = "model.backbone.out_dmi: is not an argument of OtherNet, got 4; did you mean 'out_dim'?"
    assert expected in str(caught.value)


def test_a_config_finds_a_plugins_component_where_another_kind_is_usual(site: Path, tmp_path: Path) -> None:
    install(site, "other_parts", BACKBONE.format(name="OtherThing").replace("BACKBONES", "TRANSFORMS"))
    text = RECIPE.replace("backbone=", "preprocess=dict(type='OtherThing', out_dim=3), backbone=")
    assert load_config(write(tmp_path, text)).model["preprocess"] == {"type": "OtherThing", "out_dim": 3}


def with_configs(site: Path, **files: str) -> Path:
    """An installed plugin that is a package with configs; gives their folder."""
    install(site, "other_nets", "").unlink()
    folder = site / "other_nets" / "configs"
    folder.mkdir(parents=True)
    (site / "other_nets" / "__init__.py").write_text("raise ValueError('nobody asked for a component of mine')")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_plugin_s_config_is_found_by_name_without_importing_the_plugin(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "'''Nets of others.'''\n_base_ = 'simclr/simclr_scenes'\nseed = 5\n"
    folder = with_configs(site, others_scenes=text, _base="", __init__="")
    for name in ("other_nets/others_scenes", "other_nets/others_scenes.py", "others_scenes"):
        assert find_config(name) == folder / "others_scenes.py" and config_name(name) == "other_nets/others_scenes"
    assert load_config("other_nets/others_scenes").seed == 5
    Path("mine.py").write_text("_base_ = 'other_nets/others_scenes'\n")
    assert load_config("mine.py").seed == 5
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(config_names()) + 1 and lines[-1].split(maxsplit=1) == [
        "other_nets/others_scenes",
        "Nets of others.",
    ]
    with pytest.raises(ConfigError, match="did you mean 'other_nets/others_scenes'"):
        find_config("other_nets/other_scenes")


def test_a_plugin_that_is_one_file_has_no_configs(site: Path) -> None:
    install(site, "other_nets", "raise ValueError('nobody asked')")
    assert plugin_configs() == {}
