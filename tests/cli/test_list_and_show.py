"""What can be named, and what a name stands for."""

import re
from pathlib import Path

import pytest
import torch

from selfsup.cli import main
from selfsup.cli.listing import plain
from selfsup.registry import BACKBONES, KINDS
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


def test_a_plain_list_shows_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(dict.fromkeys(row[0] for row in listed(capsys))) == list(KINDS)


@pytest.mark.parametrize("pattern", ["simc*", "imcl", "SIMCLR"])
def test_a_pattern_narrows_the_list_whatever_its_case(pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row[1] for row in listed(capsys, "methods", pattern)] == ["SimCLR"]


def test_optimizers_of_torch_are_listed_as_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row[1]: row[2] for row in listed(capsys, "optimizers")}
    assert rows["AdamW"].startswith("torch ") and rows["LARS"].startswith("selfsup ")


def test_components_of_mmengine_that_are_none_of_the_kind_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, "methods")
    assert rows and not [row for row in rows if row[2].split()[0] in ("mmengine", "torch")]


def test_an_unknown_kind_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "lossess"]) == 2
    expected = "error: list: no kind is called 'lossess'; did you mean 'losses'?; `selfsup configs` lists the recipes\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("word", "pattern"), [("Sim", "Sim*"), ("imclr", "*imclr*")])
def test_a_word_that_is_no_kind_but_part_of_names_gets_the_pattern(
    word: str, pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", word]) == 2
    assert capsys.readouterr().err == (
        f"error: list: no kind is called '{word}'; for names write `selfsup list '{pattern}'`; `selfsup configs` lists "
        "the recipes\n"
    )
    assert main(["list", pattern]) == 0


def test_summaries_are_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert "`" not in said and not re.search(r":\w+:", said)
    assert plain("Like :class:`~selfsup.data.Subset`, for ``name`` and :func:`len`.") == (
        "Like Subset, for name and len."
    )


def test_a_terminal_gets_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["list", "necks"]) == 0
    said = capsys.readouterr().out
    assert "┃" in said and "ProjectionNeck" in said and "\x1b[" in said


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


def test_a_component_without_arguments_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "CosineLoss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[5:8] == ["arguments", "  none", ""]


def test_a_required_argument_has_no_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "ProjectionNeck"]) == 0
    assert "  hidden_dims: a sequence of int\n" in capsys.readouterr().out


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
    assert capsys.readouterr().err == "error: show: no component is called 'NTXntLoss'; did you mean 'NTXentLoss'?\n"


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_listed_can_be_shown(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for row in listed(capsys, kind):
        assert main(["show", row[1]]) == 0
        assert f"{row[1]}, {KINDS[kind].name}\n" in capsys.readouterr().out


def test_looking_changes_nothing() -> None:
    state = torch.random.get_rng_state()
    before = dict(BACKBONES.module_dict)
    assert main(["list"]) == 0
    assert torch.equal(torch.random.get_rng_state(), state) and dict(BACKBONES.module_dict) == before


def test_a_pattern_alone_is_looked_for_in_all_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "Sim*"]) == 0
    assert {"SimCLR", "SimCLRViews"} <= {line.split()[1] for line in capsys.readouterr().out.splitlines()}


def test_a_pattern_that_nothing_fits_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "SimCRL"]) == 2
    heard = capsys.readouterr()
    assert not heard.out
    assert heard.err.startswith("error: list: nothing is called 'SimCRL'; did you mean 'SimCLR'?")
