import numpy as np
import pytest
import torch

from selfsup.losses import NTXentLoss
from selfsup.methods import SimCLR
from tests.methods.tiny import Flatten
from tests.reference import record
from tests.reference.nt_xent import nt_xent_by_the_paper


def test_the_loss_is_that_of_the_two_views() -> None:
    z = np.array(record("ntxent/T0.1")["input"]["z"])
    method = SimCLR(Flatten(3), Flatten(3), NTXentLoss(0.1))
    views = [torch.tensor(z[:, view]).view(-1, 3, 1, 1) for view in (0, 1)]
    parts = method.loss(views)
    assert list(parts) == ["loss"]
    assert float(parts["loss"]) == pytest.approx(nt_xent_by_the_paper(z[:, 0], z[:, 1], 0.1), abs=1e-12)
