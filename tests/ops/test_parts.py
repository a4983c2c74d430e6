"""On one process nothing is split: norms and finiteness are PyTorch's. Two processes: tests/dist/test_parts.py."""

import pytest
import torch

from selfsup.ops.parts import all_finite, is_split, norms_of_whole, own_part, part_norms, split_like, total_norm, whole


def test_a_tensor_that_is_not_split_is_its_own_part_and_whole() -> None:
    tensor = torch.arange(6.0).reshape(3, 2)
    assert not is_split(tensor)
    assert own_part(tensor) is whole(tensor) is split_like(tensor, torch.zeros(3, 2)) is tensor


@pytest.mark.parametrize("order", [2.0, 1.0, float("inf")])
def test_norms_are_those_of_all_elements(order: float) -> None:
    tensors = [torch.randn(3, 2, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    expected = torch.cat([tensor.flatten() for tensor in tensors]).norm(order)
    torch.testing.assert_close(total_norm(tensors, order), expected)
    each = torch.stack([tensor.norm() for tensor in tensors])
    torch.testing.assert_close(norms_of_whole(part_norms(tensors), tensors[0]), each)


def test_norms_are_computed_in_the_precision_asked_for() -> None:
    tensor = torch.full((4,), 1e30)
    assert part_norms([tensor]).isinf()
    assert part_norms([tensor], torch.float64) == pytest.approx(2e30)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_element_is_noticed(bad: float) -> None:
    tensor = torch.ones(3, 2)
    assert all_finite(tensor)
    tensor[2, 1] = bad
    assert not all_finite(tensor)


def test_the_norm_of_millions_of_numbers_is_exact_to_single_precision() -> None:
    torch.manual_seed(0)
    tensor = torch.randn(1024, 512, 3, 3).contiguous(memory_format=torch.channels_last) * torch.rand(1024, 512, 3, 3)
    exact = tensor.double().norm()
    for found in (part_norms([tensor])[0], total_norm([tensor])):
        assert abs(found - exact) <= 1e-6 * exact
