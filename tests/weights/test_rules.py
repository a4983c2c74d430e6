"""What becomes of a tensor follows from the first rule whose pattern is its whole name."""

from dataclasses import replace

import torch

from selfsup.weights.load_report import LoadReport, compare
from selfsup.weights.rules.rule import Layout, Rule, translate

TABLE = (
    Rule(r"(w\d)", r"\1.weight"),
    Rule(r"k(\d)", lambda match: f"w{int(match[1]) + 5}.weight", hwio=True),
    Rule(r"head\..+", ignored="classifier"),
)
KERNEL = torch.arange(120.0).view(2, 3, 4, 5)


def tensors(*names: str) -> dict[str, torch.Tensor]:
    return {name: KERNEL for name in names}


def test_the_first_layout_whose_marker_is_there_is_the_file_s() -> None:
    layouts = (Layout(r"a\..+", (Rule(r".+", ignored="first"),)), Layout(r"w\d", TABLE))
    result = translate(tensors("w1", "k2", "head.x", "w10"), layouts)
    assert result is not None
    assert list(result.weights) == ["w1.weight", "w7.weight"]
    assert result.ignored == {"classifier": ["head.x"]} and result.unexpected == ["w10"]
    assert translate(tensors("ww1"), layouts) is None


def test_two_tensors_for_one_place_do_not_compare() -> None:
    result = translate(tensors("w7", "k2"), (Layout(r".+", TABLE),))
    assert result is not None and result.unexpected == ["k2"]
    report = compare(result, {"w7.weight": KERNEL})
    assert report.loaded == ("w7.weight",) and not report.complete


def test_the_report_has_a_line_for_everything_and_is_short_to_look_at() -> None:
    result = translate(tensors("w1", "w2", "w3", "head.x", "what"), (Layout(r".+", TABLE),))
    own = {"w1.weight": KERNEL, "w2.weight": KERNEL[0], "w4.weight": KERNEL, "bn.num_batches_tracked": torch.zeros(())}
    assert result is not None
    report = replace(compare(result, own), changed=("eps 1 -> 2",))
    assert report.rows() == [
        (1, "loaded", "w1.weight"),
        (1, "ignored: classifier", "head.x"),
        (1, "not in the file, kept as built", "bn.num_batches_tracked"),
        (0, "changed in the network", "eps 1 -> 2"),
        (1, "missing", "w4.weight"),
        (2, "unexpected", "what, w3"),
        (1, "shape mismatch", "w2.weight: (2, 3, 4, 5), expected (3, 4, 5)"),
    ]
    names = tuple(f"layer.{number}.weight" for number in range(5))
    report = LoadReport(loaded=names, ignored={"classifier": ("fc.bias",)}, changed=("eps 1 -> 2",))
    assert repr(report) == "<LoadReport: 5 loaded, 1 ignored: classifier, eps 1 -> 2>"
    assert str(report).splitlines() == [
        f"5 loaded: {', '.join(names)}",
        "1 ignored: classifier: fc.bias",
        "changed in the network: eps 1 -> 2",
    ]
    assert repr(LoadReport()) == "<LoadReport: no tensors>"
