import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from selfsup.errors import ConfigError
from selfsup.losses import SwAVLoss
from selfsup.methods import Progress, SwAV
from selfsup.necks import ProjectionNeck, Prototypes
from tests.methods.tiny import Flatten, TinyBackbone, images
from tests.reference.swav import QueueByTheCode, swav_loss_by_the_paper

DEFAULTS: dict[str, Any] = {"temperature": 0.1, "epsilon": 0.05, "iterations": 3}


def _tiny(**arguments: int) -> SwAV:
    torch.manual_seed(0)
    return SwAV(TinyBackbone(), ProjectionNeck(8, (8,), 4), Prototypes(4, 5), SwAVLoss(), **arguments)


def _progress(step: int = 0, epoch: int = 0) -> Progress:
    return Progress(step, 100, epoch, 10)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_loss_is_that_of_unit_embeddings_against_unit_prototypes() -> None:
    generator = np.random.default_rng(0)
    views = [generator.normal(size=(6, 4)) for _ in range(3)]
    method = SwAV(Flatten(4), Flatten(4), Prototypes(4, 5), SwAVLoss()).double()
    method.before_step(_progress())
    prototypes = _unit(method.prototypes.weight.detach().numpy())
    expected = swav_loss_by_the_paper([_unit(view) @ prototypes.T for view in views], **DEFAULTS)
    parts = method.loss([torch.tensor(view).view(6, 4, 1, 1) for view in views])
    assert parts["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert [name for name in parts if name.startswith("loss")] == ["loss"]
    assert float(parts["below_uniform"]) == pytest.approx(math.log(5) - expected, rel=1e-9)


@pytest.mark.parametrize("queue_length, batch", [(4, 2), (7, 2), (9, 3)])
def test_the_queue_does_what_the_reference_does(queue_length: int, batch: int) -> None:
    generator = np.random.default_rng(0)
    prototypes = Prototypes(4, 3)
    parts = (Flatten(4), Flatten(4), prototypes, SwAVLoss())
    method = SwAV(*parts, queue_length=queue_length, queue_start_epoch=1).double()
    reference = QueueByTheCode(2, queue_length, batch, 4)
    used = 0
    for step in range(8):
        with torch.no_grad():
            prototypes.weight.add_(torch.tensor(generator.normal(size=(3, 4))))
        views = [generator.normal(size=(batch, 4)) for _ in range(3)]
        method.before_step(_progress(step, epoch=step // 2))
        weight = prototypes.weight.detach().numpy()
        embeddings = [_unit(view) for view in views]
        queued = reference.step(embeddings[:2], weight) if step >= 2 else None
        used += queued is not None
        scores = [embedding @ weight.T for embedding in embeddings]
        expected = swav_loss_by_the_paper(scores, **DEFAULTS, queue_scores=queued)
        loss = method.loss([torch.tensor(view).view(batch, 4, 1, 1) for view in views])["loss"]
        assert loss.item() == pytest.approx(expected, rel=1e-9), f"step {step}"
    in_use = reference.rows.shape[1]
    assert used == 8 - 2 - in_use // batch
    torch.testing.assert_close(method.queue.rows[:, :in_use], torch.tensor(reference.rows))


def test_prototypes_are_scaled_before_the_step_and_not_by_the_loss() -> None:
    method = _tiny()
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    before = method.prototypes.weight.detach().clone()
    method.loss(images(8, 8))
    assert torch.equal(method.prototypes.weight, before)
    method.before_step(_progress())
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(5))


def test_the_neck_sees_all_views_in_one_batch_and_the_backbone_one_per_size() -> None:
    method = _tiny()
    seen = []
    method.neck.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    method.loss(images(12, 12, 8, 8, 8))
    assert seen == [(20, 8)]
    assert [shape[0] for shape in method.backbone.sizes] == [8, 12]


def test_usage_of_a_collapsed_model() -> None:
    class Constant(nn.Module):
        in_dim, out_dim = 8, 4

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(features), 4)

    prototypes = Prototypes(4, 5)
    with torch.no_grad():
        prototypes.weight.copy_(torch.ones(5, 4))
    method = SwAV(TinyBackbone(), Constant(), prototypes, SwAVLoss())
    method.before_step(_progress())
    parts = method.loss(images(8, 8))
    assert float(parts["below_uniform"]) == pytest.approx(0, abs=1e-5)
    assert float(parts["dead_prototypes"]) == pytest.approx(1 - 1 / 5)
    assert float(parts["assignment_entropy"]) == pytest.approx(1)


def test_usage_when_each_prototype_has_its_sample() -> None:
    method = SwAV(Flatten(3), Flatten(3), Prototypes(3, 3), SwAVLoss())
    with torch.no_grad():
        method.prototypes.weight.copy_(torch.eye(3))
    views = [torch.eye(3).view(3, 3, 1, 1)] * 2
    parts = method.loss(views)
    assert float(parts["dead_prototypes"]) == 0
    assert float(parts["assignment_entropy"]) == pytest.approx(1)
    assert all(value.shape == () and not value.requires_grad for name, value in parts.items() if name != "loss")
    only_two = [torch.eye(3)[[0, 0, 1]].view(3, 3, 1, 1)] * 2
    assert float(method.loss(only_two)["dead_prototypes"]) == pytest.approx(1 / 3)


def test_too_few_samples_for_the_prototypes_are_told_with_what_to_change() -> None:
    assert _tiny().advice(5) == []
    (advice,) = _tiny().advice(2)
    assert "5 prototypes cannot be used equally by 2 samples" in advice
    assert advice.endswith("model.queue_length >= 4")  # the queue holds whole batches
    assert _tiny(queue_length=3).advice(2) != []
    assert _tiny(queue_length=4).advice(2) == []


@pytest.mark.parametrize("per_process, processes", [(5, 1), (2, 3)])
def test_a_queue_shorter_than_the_batch_of_all_processes_is_rejected(per_process: int, processes: int) -> None:
    message = (
        f"queue_length: must hold at least one batch of all processes, {per_process * processes} images, got 4; "
        "0 means no queue"
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        _tiny(queue_length=4).check_batch(per_process, processes)
    _tiny(queue_length=0).check_batch(per_process, processes)
    _tiny(queue_length=6).check_batch(per_process, processes)
