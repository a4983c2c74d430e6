"""What can be named, and what a name stands for."""

from pathlib import Path

import pytest

from selfsup.cli import main
from selfsup.config import config_names, load_config
from selfsup.registry import KINDS
from tests.installed import BACKBONE, install


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """The cells of what ``selfsup list`` prints into a pipe."""
    assert main(["list", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_every_name_of_a_kind_is_listed_with_who_provided_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in listed(capsys, "backbones") if row[2].startswith("selfsup ")]
    assert [row[1] for row in rows if row[1] in ("RegNet", "ResNet")] == ["RegNet", "ResNet"]
    assert {row[0] for row in rows} == {"backbones"}
    assert [row[3] for row in rows if row[1] == "ResNet"] == ["ResNet v1.5 without its classifier."]


@pytest.mark.parametrize("pattern", ["simc*", "imcl", "SIMCLR"])
def test_a_pattern_narrows_the_list_whatever_its_case(pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row[1] for row in listed(capsys, "methods", pattern)] == ["SimCLR"]


def test_an_unknown_kind_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "lossess"]) == 2
    expected = "error: list: no kind is called 'lossess'; did you mean 'losses'?; `selfsup configs` lists the recipes\n"
    assert capsys.readouterr().err == expected


def test_plugins_are_listed_and_broken_ones_named(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "other_nets", BACKBONE.format(name="OtherNet"))
    install(site, "broken_nets", "raise ValueError('no [GPU] here')")
    assert main(["list", "backbones", "other*"]) == 0
    heard = capsys.readouterr()
    summary = "A backbone of a package of somebody else's."
    assert heard.out == f"backbones  OtherNet  other-nets 1.2  {summary}\n"
    assert heard.err == "plugin 'broken_nets' (broken-nets 1.2) could not be imported: ValueError: no [GPU] here\n"


def test_a_component_is_shown_with_place_arguments_and_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "NTXentLoss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NTXentLoss, loss"
    assert lines[1].split()[:2] == ["from", "selfsup"]
    assert lines[2].split() == ["module", "selfsup.losses.nt_xent"]
    file, _, number = lines[3].split()[1].rpartition(":")
    assert Path(file).read_text().splitlines()[int(number)].startswith("class NTXentLoss")
    assert lines[5:8] == ["arguments", "  temperature: float = 0.1", "  official_factor: bool = False"]
    assert "Raises:" in lines and "    ValueError: if temperature is not positive." in lines


def test_a_name_of_several_kinds_is_shown_for_each(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "other_losses", BACKBONE.format(name="ResNet").replace("BACKBONES", "LOSSES"))
    assert main(["show", "ResNet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("ResNet, ")] == ["ResNet, backbone", "ResNet, loss"]
    assert "from    other-losses 1.2" in lines


def test_a_component_of_somebody_else_is_shown_with_its_package(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = install(site, "other_nets", BACKBONE.format(name="OtherNet"))
    assert main(["show", "OtherNet"]) == 0
    said = capsys.readouterr().out
    assert f"from    other-nets 1.2\nmodule  other_nets\nfile    {file}:7\n" in said
    assert "  out_dim: int = 4\n" in said


def test_an_unknown_name_gets_the_nearest_of_all_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "NTXntLoss"]) == 2
    expected = "error: show: nothing is called so, got 'NTXntLoss'; did you mean 'NTXentLoss'?\n"
    assert capsys.readouterr().err == expected


def test_a_config_is_shown_with_what_it_says_and_its_settings_which_load_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "swav/swav_scenes"]) == 0
    said = capsys.readouterr().out
    first, _, settings = said.partition("\nfile    ")
    assert first.startswith("SwAV on the embedded scenes")
    (tmp_path / "again.py").write_text(settings.partition("\n")[2])
    assert load_config(tmp_path / "again.py") == load_config("swav/swav_scenes")
    assert main(["show", "configs"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == config_names()


def test_what_authors_inherit_and_call_is_shown_with_its_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "bases"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"Method", "Teacher", "Evaluator", "ImageSource", "Hook"} <= set(names)
    for name in names:
        assert main(["show", name]) == 0, name
        assert capsys.readouterr().out.startswith(f"{name}, ")
    for name, parts in {
        "Method": ("  loss(views, labels=None)\n      The loss of a batch.\n", "  after_step(progress)\n"),
        "Evaluator": ("  protocol: str\n", "  evaluate(representation, task)\n"),
        "Teacher": ("  follow(backbone, neck, momentum)\n", "from selfsup.methods import Teacher\n"),
        "Hook": ("  after_train_iter(runner, batch_idx, data_batch=None, outputs=None)\n",),
        "build_loss": ("  place: str\n",),
        "sinkhorn": ("/selfsup/ops/sinkhorn.py:",),
    }.items():
        assert main(["show", name]) == 0
        said = capsys.readouterr().out
        assert all(part in said for part in parts), said


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_listed_can_be_shown(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for row in listed(capsys, kind):
        assert main(["show", row[1]]) == 0
        assert f"{row[1]}, {KINDS[kind].name}\n" in capsys.readouterr().out


def test_a_pattern_that_nothing_fits_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "SimCRL"]) == 2
    heard = capsys.readouterr()
    assert not heard.out
    assert heard.err.startswith("error: list: nothing is called 'SimCRL'; did you mean 'SimCLR'?")
