"""What the pure functions and losses do in two processes, against one process with the whole batch."""

from typing import Any

import numpy as np
import pytest
import torch

from selfsup.losses import NTXentLoss, SwAVLoss
from selfsup.ops import dist, sinkhorn
from tests.dist.two_processes import run_in_processes
from tests.reference import record
from tests.reference.swav import swav_loss_by_the_paper

pytestmark = pytest.mark.dist


def _double(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _everything() -> dict[str, Any]:
    rank = dist.rank()
    own = torch.arange(4.0).view(2, 2) + 10 * rank
    results: dict[str, Any] = {
        "place": (rank, dist.world_size(), dist.is_main()),
        "gather": dist.gather(own),
        "sum": dist.all_reduce_sum(own),
        "max": dist.all_reduce_max(own * (1 - 2 * rank)),
        "objects": dist.gather_objects({"rank": rank}),
        "objects on main": dist.gather_objects_on_main({"rank": rank}),
        "broadcast": dist.broadcast_object(f"from {rank}"),
        "broadcast tensor": dist.broadcast(own),
        "unchanged": own,
    }
    dist.barrier()

    leaf = own.clone().requires_grad_()
    (dist.gather_with_gradient(leaf) * (rank + 1)).sum().backward()
    results["gradient of gather"] = leaf.grad

    given = record("sinkhorn/two_ranks")["input"]
    results["sinkhorn"] = sinkhorn(_double(given[f"rank{rank}"]), given["epsilon"], given["iters"])
    uneven = _double(given["rank0"] + given["rank1"])[:1] if rank == 0 else _double(given["rank0"] + given["rank1"])[1:]
    results["uneven sinkhorn"] = sinkhorn(uneven, given["epsilon"], given["iters"])

    given = record("ntxent/two_rank_grad")["input"]
    z = _double(given["z"])[2 * rank : 2 * rank + 2].requires_grad_()
    loss = NTXentLoss(given["temperature"])(z[:, 0], z[:, 1])
    loss.backward()
    results["nt-xent"] = (loss.item(), z.grad)

    scores = _scores()
    local = [view[3 * rank : 3 * rank + 3] for view in scores["views"]]
    queued = [view[2 * rank : 2 * rank + 2] for view in scores["queue"]]
    results["swav"] = SwAVLoss()([_double(view) for view in local], [_double(view) for view in queued]).item()
    return results


def _scores() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {"views": generator.uniform(-1, 1, (4, 6, 5)), "queue": generator.uniform(-1, 1, (2, 4, 5))}


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_everything)


def test_collectives_give_every_process_the_same(results: list[dict[str, Any]]) -> None:
    first, second = torch.arange(4.0).view(2, 2), torch.arange(4.0).view(2, 2) + 10
    for rank, result in enumerate(results):
        assert result["place"] == (rank, 2, rank == 0)
        assert torch.equal(result["gather"], torch.cat([first, second]))
        assert torch.equal(result["sum"], first + second)
        assert torch.equal(result["max"], torch.maximum(first, -second))
        assert result["broadcast"] == "from 0"
        assert torch.equal(result["broadcast tensor"], first)
        assert torch.equal(result["unchanged"], (first, second)[rank])


def test_backward_sums_the_gradients_over_processes(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert torch.equal(result["gradient of gather"], torch.full((2, 2), 3.0))
    assert [result["objects on main"] for result in results] == [[{"rank": 0}, {"rank": 1}], None]


@pytest.mark.parametrize("name", ["sinkhorn", "uneven sinkhorn"])
def test_assignments_are_balanced_over_all_processes(results: list[dict[str, Any]], name: str) -> None:
    expected = record("sinkhorn/two_ranks")["expected"]
    actual = torch.cat([result[name] for result in results])
    torch.testing.assert_close(actual, _double(expected["correct"]), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(actual, _double(expected["buggy_no_allreduce"]), atol=1e-3)


def test_nt_xent_has_the_loss_and_gradient_of_one_process(results: list[dict[str, Any]]) -> None:
    expected = record("ntxent/two_rank_grad")["expected"]
    losses, gradients = zip(*(result["nt-xent"] for result in results), strict=True)
    averaged = torch.cat(gradients) / 2  # as DistributedDataParallel does
    assert np.mean(losses) == pytest.approx(expected["loss_full"], abs=1e-12)
    torch.testing.assert_close(averaged, _double(expected["grad_full"]), rtol=0, atol=1e-12)
    assert float(averaged.norm()) == pytest.approx(expected["grad_norm_full"], abs=1e-9)
    # embeddings of the other process taken as constants: the same loss, another gradient
    assert float((averaged - _double(expected["grad_nograd"])).abs().max()) > 0.1
    wrong = record("ntxent/two_rank_fullloss_localslice")["expected"]["grad_norm"]  # every process all anchors
    for other in (expected["grad_norm_nograd"], expected["grad_norm_local"], wrong):
        assert abs(float(averaged.norm()) - other) > 0.1


def test_swav_has_the_loss_of_one_process(results: list[dict[str, Any]]) -> None:
    scores = _scores()
    expected = swav_loss_by_the_paper(
        list(scores["views"]), temperature=0.1, epsilon=0.05, iterations=3, queue_scores=list(scores["queue"])
    )
    assert np.mean([result["swav"] for result in results]) == pytest.approx(expected, rel=1e-9)
