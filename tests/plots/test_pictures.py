import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from selfsup.engine.logging.metrics import read_metrics
from selfsup.plots import draw_curves, draw_embedding_map, draw_prototypes, draw_view_sheet
from selfsup.plots.canvas import COLORS, save
from selfsup.plots.curves import collect, smooth
from selfsup.plots.embedding import to_plane, without_overlap
from selfsup.plots.study import draw_matrix

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(color: tuple[int, int, int], side: int = 24) -> np.ndarray:
    return np.full((side, side, 3), color, np.uint8)


def pixels(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def region(path: Path, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """First and last row, first and last column of the pixels of a color."""
    rows, columns = np.nonzero((pixels(path) == color).all(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved during the test."""
    figures: list[Any] = []

    def remember(figure: Any, path: Path) -> Path:
        figures.append(figure)
        return save(figure, path)

    for module in ("curves", "embedding", "sheets", "study"):
        monkeypatch.setattr(f"selfsup.plots.{module}.save", remember)
    return figures


def test_views_stand_right_of_their_image_as_large_as_their_pixels_are_many(tmp_path: Path) -> None:
    path = draw_view_sheet([(plain(RED), [plain(GREEN, 32), plain(BLUE, 16)])], tmp_path / "views.png")
    original, large, small = (region(path, color) for color in (RED, GREEN, BLUE))
    assert original[3] < large[2] < large[3] < small[2]
    assert (large[1] - large[0]) / (small[1] - small[0]) == pytest.approx(2, rel=0.05)


def test_a_transparent_original_is_laid_on_gray(tmp_path: Path) -> None:
    clear = np.zeros((24, 24, 4), np.uint8)
    path = draw_view_sheet([(clear, [plain(GREEN)])], tmp_path / "views.png")
    assert (pixels(path) == 127).all(axis=2).sum() > 10_000


def test_no_images_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one image at least"):
        draw_view_sheet([], tmp_path / "views.png")
    with pytest.raises(ValueError, match="one image at least"):
        draw_prototypes(torch.zeros(0, 3), [], tmp_path / "prototypes.png")
    with pytest.raises(ValueError, match="two images at least"):
        draw_embedding_map(torch.zeros(1, 3), tmp_path / "embedding.png")


def test_only_what_the_log_holds_is_drawn(tmp_path: Path, drawn: list[Any]) -> None:
    lines = [{"step": step, "loss": 3.0 - step / 100, "lr": 0.1} for step in range(50)]
    draw_curves(lines, tmp_path / "a.png", num_prototypes=300)
    lines += [{"step": 49, "knn/top1": 0.5, "linear/top1": 0.625, "features/rankme": 12.0}]
    draw_curves(lines, tmp_path / "b.png", guessing=0.125)
    few, more = texts(drawn[0]), texts(drawn[1])
    assert f"ln 300 = {math.log(300):.2f}: nothing learned from here up" in few
    assert not any("accuracy" in text or "RankMe" in text for text in few)
    assert {"knn  50.0%", "linear  62.5%", "guessing  12.5%", "now 12"} <= set(more)
    assert not any("nothing learned" in text for text in more)


def test_five_panels_leave_no_cell_empty_and_no_point_is_cut(tmp_path: Path, drawn: list[Any]) -> None:
    line = {"step": 3, "loss": 1.0, "lr": 0.1, "knn/top1": 0.5, "features/rankme": 2.0, "images_per_second": 9.0}
    draw_curves([line], tmp_path / "curves.png")
    panels = [axes.get_position() for axes in drawn[0].axes]
    assert len(panels) == 5
    assert panels[2].x1 == pytest.approx(panels[4].x1) and panels[3].width > panels[0].width
    points = [line for axes in drawn[0].axes for line in axes.lines if line.get_marker() == "o"]
    assert points and not any(line.get_clip_on() for line in points)


def test_a_log_file_with_nulls_and_a_cut_off_line_is_drawn(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "loss": None if step == 3 else 1.0} for step in range(6)]
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 6, "lo')
    assert pixels(draw_curves(read_metrics(log), tmp_path / "curves.png")).shape[0] > 100


def test_an_empty_log_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_curves([], tmp_path / "curves.png")


def test_numbers_are_collected_in_order_of_steps_without_nulls() -> None:
    series = collect([{"step": 4, "a": 1.0}, {"step": 2, "a": 3, "b": None}, {"step": 3, "b": 2.0}])
    assert series["a"][0].tolist() == [2, 4]
    assert series["a"][1].tolist() == [3, 1]
    assert series["b"][1].tolist() == [2]


def test_smoothing_keeps_a_constant_and_is_the_mean_of_the_neighbors() -> None:
    assert smooth(np.full(37, 2.5)).tolist() == [2.5] * 37
    values = np.random.default_rng(0).normal(size=200)
    assert smooth(values, share=0.1)[50] == pytest.approx(values[40:61].mean())
    assert smooth(values, share=0.1)[-1] == pytest.approx(values[-11:].mean())


@pytest.mark.parametrize("count", [3, 15, 60])
def test_what_is_alike_lies_together_on_the_map(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.arange(count) % 3
    features = torch.eye(3)[kinds] @ torch.randn(3, 20, generator=generator)
    features = features + 0.01 * torch.randn(count, 20, generator=generator)
    plane, method = to_plane(features)
    assert method == ("t-SNE" if count >= 20 else "principal components")
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2) + np.eye(count) * 1e9
    if count > 3:
        assert (kinds.numpy()[distances.argmin(axis=1)] == kinds.numpy()).all()


def test_the_map_is_the_same_every_time_and_leaves_numpys_random_state() -> None:
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    first = to_plane(features)[0]
    assert np.random.rand() == expected
    assert np.array_equal(to_plane(features)[0], first)


def test_identical_features_do_not_break_the_map(tmp_path: Path) -> None:
    for count in (2, 30):
        assert draw_embedding_map(torch.ones(count, 4), tmp_path / "embedding.png").is_file()


def test_thumbnails_on_the_map_do_not_overlap() -> None:
    positions = np.random.default_rng(0).uniform(0, 5, (400, 2))
    chosen = without_overlap(positions, 0.4)
    gaps = np.abs(positions[chosen][:, None] - positions[chosen][None]).max(axis=2) + np.eye(len(chosen))
    assert gaps.min() >= 0.4
    left = np.setdiff1d(np.arange(400), chosen)
    assert (np.abs(positions[left][:, None] - positions[chosen][None]).max(axis=2).min(axis=1) < 0.4).all()


def test_the_legend_names_the_classes_that_are_there(tmp_path: Path, drawn: list[Any]) -> None:
    labels = torch.tensor([0, 2] * 6)
    features = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    draw_embedding_map(
        features, tmp_path / "e.png", labels=labels, classes=["cat", "dog", "owl"], thumbnails=[plain(RED)] * 12
    )
    assert {"cat", "owl"} <= set(texts(drawn[0]))
    assert "dog" not in texts(drawn[0])
    draw_embedding_map(features, tmp_path / "e.png", labels=torch.arange(12) * 5)
    assert "class 5" in texts(drawn[1])
    many = torch.randn(len(COLORS) + 1, 4, generator=torch.Generator().manual_seed(0))
    draw_embedding_map(many, tmp_path / "e.png", labels=torch.arange(len(many)))
    assert any("21 classes (colors repeat)" in text for text in texts(drawn[2]))


def test_prototypes_show_their_nearest_images_most_used_first(tmp_path: Path, drawn: list[Any]) -> None:
    scores = torch.tensor([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.7, 0.1, 0.0]])
    path = draw_prototypes(scores, [plain(RED), plain(GREEN), plain(BLUE)], tmp_path / "p.png", num_images=2)
    shown = [text for text in texts(drawn[0]) if text.startswith("prototype ")]
    assert shown == ["prototype 1", "prototype 0"]
    assert "2 of 3 prototypes are nearest to at least one of 3 images" in texts(drawn[0])
    red, green, blue = (region(path, color) for color in (RED, GREEN, BLUE))
    assert red[3] < green[2], "prototype 1 is nearer to the first image"
    assert blue[0] > red[1], "prototype 0 stands in the second row"
    assert blue[3] < green[2], "and the third image is its nearest"


def test_a_picture_is_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "views.png"
    draw_view_sheet([(plain(RED), [plain(GREEN)])], path)
    with pytest.raises(OSError):
        draw_view_sheet([(plain(RED), [plain(GREEN)])], tmp_path / "nowhere" / "views.png")
    assert [file.name for file in tmp_path.iterdir()] == ["views.png"]


def test_reported_numbers_stand_below_ours_and_alone_where_ours_lack(drawn: list[Any], tmp_path: Path) -> None:
    ours = {"a": {"x": (0.5, 0.4, 0.6), "y": (0.25, None, None)}}
    reported = {"a": {"x": 0.75}, "b": {"y": 0.125}}
    draw_matrix(ours, tmp_path / "m.png", title="t", across="task", down="source", published=reported)
    said = texts(drawn[-1])
    assert {"50.0", "25.0", "a", "b"} <= set(said) and not {"75.0", "12.5"} & set(said)
    assert {"\N{WHITE DIAMOND} 75.0 reported", "\N{WHITE DIAMOND} 12.5 reported"} <= set(said)
    first = (tmp_path / "m.svg").read_bytes()
    draw_matrix(ours, tmp_path / "m.png", title="t", across="task", down="source", published=reported)
    assert (tmp_path / "m.svg").read_bytes() == first
