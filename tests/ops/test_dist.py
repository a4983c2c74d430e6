import pytest
import torch

from selfsup.ops import dist
from selfsup.ops.launch import leave_process_group


def test_without_a_group_there_is_one_process() -> None:
    rows = torch.arange(6.0).view(3, 2)
    assert (dist.rank(), dist.world_size(), dist.is_main()) == (0, 1, True)
    for function in (dist.all_reduce_sum, dist.all_reduce_max, dist.broadcast, dist.gather, dist.gather_with_gradient):
        assert torch.equal(function(rows), rows)
    assert dist.gather_objects("a") == dist.gather_objects_on_main("a") == ["a"]
    leave_process_group()
    assert dist.broadcast_object("a") == dist.from_main(lambda: "a") == "a"
    with pytest.raises(ZeroDivisionError):
        dist.from_main(lambda: 1 / 0)
    dist.barrier()


def test_reductions_give_new_tensors_without_gradient() -> None:
    rows = torch.ones(2, requires_grad=True)
    total = dist.all_reduce_sum(rows)
    assert not total.requires_grad
    total += 1
    assert torch.equal(rows, torch.ones(2))
