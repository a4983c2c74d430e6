"""What a stack is called, and what all processes are said to do. Two processes: tests/dist/test_slow_step.py."""

import pytest

from selfsup.engine.slow_step import Call, place_of, summary

DIST, LOOP = "selfsup.ops.dist", "selfsup.engine.loop"
STEP = [(LOOP, "TrainLoop._run_step"), (LOOP, "TrainLoop.run"), (LOOP, "main")]
REDUCE = [
    ("torch.distributed.distributed_c10d", "all_reduce"),
    ("torch.distributed.c10d_logger", "_exception_logger.<locals>.wrapper"),
    (DIST, "_all_reduce"),
    (DIST, "all_reduce_sum"),
]


@pytest.mark.parametrize(
    ("stack", "place"),
    [
        ([*REDUCE, (LOOP, "TrainLoop._check_finite"), *STEP], "all_reduce_sum (check of the loss)"),
        ([*REDUCE, ("selfsup.methods.swav", "SwAV.loss"), *STEP], "all_reduce_sum (forward pass of the method)"),
        ([("torch.autograd.graph", "_engine_run_backward"), *STEP], "backward pass"),
        ([("PIL.Image", "open"), (LOOP, "TrainLoop._fetch"), *STEP], "reading images"),
        ([("time", "f"), (DIST, "from_main"), (LOOP, "TrainLoop._fetch"), *STEP], "reading images"),
        (
            [*REDUCE, ("selfsup.engine.hooks.evaluate", "EvaluateHook._evaluate"), *STEP],
            "all_reduce_sum (evaluating)",
        ),
        ([("os", "fsync"), ("selfsup.engine.saver", "Saver.save"), *STEP], "saving"),
        ([("a", "f"), ("mine", "MyHook.after_train_iter"), (LOOP, "TrainLoop._call"), *STEP], "hook MyHook"),
        ([("somewhere", "Else.f"), (LOOP, "TrainLoop.run")], "somewhere.Else.f"),
    ],
)
def test_a_stack_is_named_by_its_collective_and_its_place(stack: list[tuple[str, str]], place: str) -> None:
    assert place_of([Call(*call) for call in stack]) == place


def test_neighbors_are_said_together_and_who_says_nothing_too() -> None:
    places = dict.fromkeys([0, 1, 2, 4], "saving") | {5: "reading images"}
    assert summary(places, 8) == "processes 0-2, 4: saving; process 5: reading images; silent: 3, 6-7"
    assert summary({0: "saving"}, 1) == "process 0: saving; silent: none"
