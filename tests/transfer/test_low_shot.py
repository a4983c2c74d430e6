from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selfsup.errors import ConfigError
from selfsup.evaluation.scores import Score, over_draws
from selfsup.transfer import Labelled, LinearSGD, LowShot, Start
from tests.transfer.small import write_images, write_start


def test_each_draw_learns_from_its_own_labels_and_the_spread_is_over_draws(tmp_path: Path) -> None:
    start, images = write_start(tmp_path / "tiny.safetensors"), write_images(tmp_path / "colors")

    def transfer(seed: int) -> LinearSGD:
        return LinearSGD(steps=2, precision="fp32", num_workers=0, rates=(1.0,), seed=seed)

    (found,) = LowShot(transfer, per_class=(2,), draws=2).run(start, images, work_dir=tmp_path / "draws")
    assert found.name == "2 a class"
    assert (found.score.n, found.score.spread) == (2, "draws")
    trained = [set(out.work_dir.joinpath("results.jsonl").read_text().splitlines()) for out in found.each]
    tests = [out.rows[0].task["fingerprint"]["test"] for out in found.each]
    trains = [out.rows[0].task["fingerprint"]["train"] for out in found.each]
    assert len(trained) == 2 and tests[0] == tests[1] and trains[0] != trains[1]
    with pytest.raises(ConfigError) as caught:
        LowShot(transfer)
    assert caught.value.problems[0].path == "per_class"


def test_an_official_list_is_taken_as_it_is_and_tested_on_a_folder(tmp_path: Path) -> None:
    start, images = write_start(tmp_path / "tiny.safetensors"), write_images(tmp_path / "colors")
    test = write_images(tmp_path / "test", per_class=3, seed=1)
    listed = [f"{name}/{number}.png {name}" for name in ("red", "green", "blue") for number in (1, 5)]
    (images / "few.txt").write_text("\n".join(listed))
    seen: list[Labelled] = []

    class Seen(LinearSGD):
        def run(self, start: Start, data: Labelled, **options: Any) -> Any:  # type: ignore[override]
            seen.append(data)
            return SimpleNamespace(rows=[SimpleNamespace(scores={"top1": Score(0.5, 0.4, 0.6, 9)})])

    (draws,) = LowShot(lambda seed: Seen(), lists={"few": images / "few.txt"}).run(start, images, test, work_dir="none")
    (data,) = seen
    assert {data.source.name(index) for index in range(len(data.source))} == {line.split()[0] for line in listed}
    assert len(data.task().parts.test) == 9 and draws.score.spread == "images"


def test_the_interval_is_students() -> None:
    score = over_draws([0.5, 0.6, 0.7])
    half = 4.302653 * 0.1 / 3**0.5  # t of two degrees of freedom
    assert score.value == pytest.approx(0.6)
    assert score.low == pytest.approx(0.6 - half, abs=1e-4)
