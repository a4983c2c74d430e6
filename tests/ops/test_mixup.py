import numpy as np
import pytest
import torch

from selfsup.ops import mix
from tests.reference import record


@pytest.mark.parametrize("name, order", [("pytorch_perm", [2, 0, 3, 1]), ("tf2_reverse", [3, 2, 1, 0])])
def test_it_agrees_with_the_conformance_record(name: str, order: list[int]) -> None:
    check = record("bit/mixup")
    values = torch.tensor(check["input"]["x"], dtype=torch.float64)
    mixed = mix(values, torch.tensor(order), check["input"]["lam"])
    np.testing.assert_allclose(mixed.numpy(), check["expected"][name], atol=check["tol"], rtol=0)


def test_a_share_of_one_leaves_the_rows_and_of_zero_exchanges_them() -> None:
    images = torch.randn(3, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([1, 2, 0])
    torch.testing.assert_close(mix(images, order, 1.0), images, rtol=0, atol=0)
    torch.testing.assert_close(mix(images, order, 0.0), images[order], rtol=0, atol=0)
