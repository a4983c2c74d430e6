"""Real trainings of minutes on images whose answer was planted: advice finds it."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfsup.data import Scenes
from selfsup.registry import DATASETS
from selfsup.studies import Advice, Cell, Runner, Study, verdict
from selfsup.studies.load import on_own_images
from selfsup.studies.reading import of_axis

pytestmark = pytest.mark.slow
SEEDS = 3


def put(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def emoji(count: int) -> list[tuple[str, np.ndarray]]:
    scenes = Scenes("train", 32, variants=2, background="flat", scale=(0.6, 1.0))
    chosen = np.random.default_rng(0).permutation(len(scenes))[:count]
    return [(scenes.classes[scenes.labels[index]].split()[0], scenes.image(int(index))[..., ::-1]) for index in chosen]


def fine_stripes(root: Path) -> None:
    """Two classes of stripes, level and upright, which half the resolution makes gray."""
    rng = np.random.default_rng(0)
    for number in range(600):
        wave = np.where(np.arange(32) % 2, 1, -1) * rng.integers(25, 60)
        grid = np.tile(wave, (32, 1)) if number % 2 else np.tile(wave[:, None], (1, 32))
        image = rng.integers(60, 196, 3) + grid[..., None] + rng.normal(0, 6, (32, 32, 3))
        put(image.clip(0, 255).astype(np.uint8), root / ("upright" if number % 2 else "level") / f"{number}.png")


def thirty_emoji(root: Path) -> None:
    """Thirty emoji, sixty drawings of each: what tells them apart has to be learned on such images."""
    scenes = Scenes("all", 32, level="emoji", domains=("google",), variants=60, background="flat", scale=(0.5, 1.0))
    for label in np.random.default_rng(0).permutation(len(scenes.classes))[:30]:
        for number, index in enumerate(np.flatnonzero(scenes.labels == label)):
            put(scenes.image(int(index))[..., ::-1], root / f"class_{label}" / f"{number}.png")


def shuffled_labels(root: Path) -> None:
    """Emoji, each in a class that was drawn for it."""
    rng = np.random.default_rng(0)
    for number, (_, image) in enumerate(emoji(4_000)):
        put(image, root / f"class_{rng.integers(4)}" / f"{number}.png")


def sixty(root: Path) -> None:
    for number, (name, image) in enumerate([each for each in emoji(1_000) if each[0] in ("Smileys", "Animals")][:60]):
        put(image, root / name / f"{number}.png")


def gray(root: Path) -> dict:
    """Images of another domain, which show nothing but a shade."""
    for number in range(1_500):
        put(np.full((32, 32, 3), number % 256, np.uint8), root / f"{number}.png")
    return {"others": {"type": "ImageList", "root": str(root)}, "num_others": 1_500}


def answers(
    root: Path, build: Callable[[Path], object], *trained: str, steps: int = 60, others: bool = False
) -> dict[str, str]:
    """What is answered to the questions that the trainings of these names decide."""
    build(root / "own")
    section = on_own_images([{"type": "Advice", "base": "folder/cpu_small_images"}], root / "own", None)[0]
    section.pop("type")
    section |= gray(root / "gray") if others else {}
    axis = Advice(**section, num_images=len(DATASETS.build(section["images"])), steps=steps)

    def some(seed: int) -> list[Cell]:
        wanted = [cell for cell in axis(seed) if cell.factors.get("what") in trained]
        return [cell for cell in wanted if cell.factors.get("labels", "100 %") == "100 %"]

    study = Study("planted", [some], range(SEEDS))
    states = Runner(study, root / "study", say=lambda line: None).run()
    assert set(states.values()) == {"done"}
    cells = of_axis(some, study, root / "study")
    found = {question.asks: question.answer(verdict(question.claim, cells)) for question in axis.questions()}
    return {asked: said.partition("** ")[2] for asked, said in found.items() if "Not measured" not in said}


def test_detail_that_half_the_resolution_loses_is_said_to_matter(tmp_path: Path) -> None:
    said = answers(tmp_path, fine_stripes, "all images", "coarse")
    assert said["Would more detail help?"].startswith("Detail matters")


def test_labels_that_are_noise_are_doubted(tmp_path: Path) -> None:
    said = answers(tmp_path, shuffled_labels, "all images", "chance")
    assert said["Do the images show what the labels say?"].startswith("No, or barely")


def test_images_of_another_domain_in_the_place_of_half_are_said_to_cost(tmp_path: Path) -> None:
    said = answers(tmp_path, thirty_emoji, "all images", "half others", steps=200, others=True)
    assert said["Does it matter which images are pretrained on?"].startswith("Yes")


def test_sixty_images_cannot_tell(tmp_path: Path) -> None:
    names = ("all images", "half of the images", "coarse", "twice as long", "scratch", "half others")
    said = answers(tmp_path, sixty, *names, others=True)
    assert len(said) >= 5 and all(each.startswith("Cannot tell") for each in said.values())
