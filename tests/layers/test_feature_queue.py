import torch

from selfsup.layers import FeatureQueue


def _rows(*values: float) -> torch.Tensor:
    """One queue, one feature per row."""
    return torch.tensor(values).view(1, -1, 1)


def test_the_newest_rows_are_at_the_front_and_the_oldest_fall_out() -> None:
    queue = FeatureQueue(1, 4, 1)
    for batch in (_rows(1, 2), _rows(3, 4), _rows(5, 6)):
        queue.push(batch, length=4)
    assert torch.equal(queue.rows, _rows(5, 6, 3, 4))


def test_it_is_full_once_every_row_in_use_has_been_pushed() -> None:
    queue = FeatureQueue(1, 5, 1)
    assert not queue.is_full(4)
    queue.push(_rows(1, 2), length=4)
    assert not queue.is_full(4)
    queue.push(_rows(3, 4), length=4)
    assert queue.is_full(4)
    assert torch.equal(queue.rows, _rows(3, 4, 1, 2, 0))


def test_half_precision_features_are_kept_in_float32() -> None:
    queue = FeatureQueue(1, 2, 1)
    queue.push(_rows(1, 2).to(torch.bfloat16).requires_grad_(), length=2)
    assert queue.rows.dtype == torch.float32
    assert not queue.rows.requires_grad
