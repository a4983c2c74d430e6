import pytest
import torch

from selfsup.layers import RingBuffer


def _column(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1)


def test_new_rows_overwrite_the_oldest() -> None:
    ring = RingBuffer(6, 1)
    for rows in (_column(1, 2), _column(3, 4), _column(5, 6), _column(7, 8)):
        ring.push(rows)
    assert torch.equal(ring.rows, _column(7, 8, 3, 4, 5, 6))
    assert int(ring.pointer) == 2


def test_a_batch_that_does_not_divide_the_length_goes_on_at_the_start() -> None:
    ring = RingBuffer(5, 1)
    for rows in (_column(1, 2, 3), _column(4, 5, 6)):
        ring.push(rows)
    assert torch.equal(ring.rows, _column(6, 2, 3, 4, 5))
    assert int(ring.pointer) == 1


def test_it_starts_with_different_rows_of_unit_length() -> None:
    torch.manual_seed(0)
    rows = RingBuffer(50, 8).rows
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(50))
    assert (rows @ rows.T - torch.eye(50)).abs().max() < 0.99


def test_half_precision_rows_are_kept_in_float32_without_gradient() -> None:
    ring = RingBuffer(2, 1)
    ring.push(_column(1, 2).to(torch.bfloat16).requires_grad_())
    assert torch.equal(ring.rows, _column(1, 2))
    assert ring.rows.dtype == torch.float32
    assert not ring.rows.requires_grad


def test_more_rows_than_places_are_rejected() -> None:
    with pytest.raises(ValueError, match="3 rows do not fit into 2"):
        RingBuffer(2, 1).push(_column(1, 2, 3))
