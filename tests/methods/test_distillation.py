import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.errors import ConfigError
from selfsup.losses import CrossEntropyLoss, DistillationLoss
from selfsup.methods import Distillation, Supervised
from selfsup.necks import HiddenLayers
from tests.methods.tiny import TinyBackbone, images
from tests.reference.cross_entropy import cross_entropy_by_the_definition, softmax_by_the_definition


def _tiny(temperature: float = 1.0, **arguments: object) -> Distillation:
    torch.manual_seed(0)
    teacher = Supervised(
        TinyBackbone(8), 6, CrossEntropyLoss(), neck=HiddenLayers(8, (5,)), preprocess=dict(mean=(0.5,) * 3)
    )
    for network in (teacher.backbone.bn, teacher.neck.mlp[1]):
        torch.nn.init.uniform_(network.running_mean)
    torch.nn.init.normal_(teacher.classifier.weight)
    return Distillation(TinyBackbone(4), teacher, DistillationLoss(temperature), **arguments)  # type: ignore[arg-type]


def _scores(method: Distillation, view: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The student's in training mode and the teacher's in evaluation mode, from copies of them."""
    student, teacher = copy.deepcopy(method), copy.deepcopy(method.teacher).eval()
    with torch.no_grad():
        scores = student.classifier(student.backbone(view)), teacher.scores(view)
    return scores[0].double().numpy(), scores[1].double().numpy()


def test_the_student_learns_the_teacher_s_softened_probabilities() -> None:
    method, (view,) = _tiny(temperature=2.0), images(8)
    student, teacher = _scores(method, view)
    expected = cross_entropy_by_the_definition(student / 2, softmax_by_the_definition(teacher, 2.0))
    parts = method.train().loss([view])
    assert list(parts) == ["loss_teacher", "agreement"]
    assert float(parts["loss_teacher"].detach()) == pytest.approx(expected, rel=1e-5)
    assert float(parts["agreement"]) == pytest.approx(np.mean(student.argmax(1) == teacher.argmax(1)))


def test_labels_take_the_rest_of_the_weight() -> None:
    method, (view,) = _tiny(alpha=0.75), images(8)
    labels = torch.tensor([0, 1, 2, 5])
    student, teacher = _scores(method, view)
    parts = method.loss([view], labels)
    from_teacher = cross_entropy_by_the_definition(student, softmax_by_the_definition(teacher))
    from_labels = cross_entropy_by_the_definition(student, np.eye(6)[labels])
    assert float(parts["loss_teacher"].detach()) == pytest.approx(0.75 * from_teacher, rel=1e-5)
    assert float(parts["loss_labels"].detach()) == pytest.approx(0.25 * from_labels, rel=1e-5)
    assert float(parts["top1"]) == pytest.approx(np.mean(student.argmax(1) == labels.numpy()))
    with pytest.raises(ConfigError, match="the method learns from labels, and these images have none"):
        method.loss([view])


def test_labels_that_the_teacher_has_no_class_for_are_told_with_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        _tiny(alpha=0.75).loss([images(8)[0]], torch.tensor([0, 1, 2, 6]))
    assert str(caught.value) == (
        "model.teacher.num_classes: labels must be in [0, num_classes), got num_classes 6 and label 6"
    )


def test_a_checkpoint_holds_the_student_alone_and_loads_strictly() -> None:
    method = _tiny()
    state = method.state_dict()
    assert {name.partition(".")[0] for name in state} == {"backbone", "classifier"}
    other = _tiny()
    torch.nn.init.ones_(other.teacher.classifier.weight)
    other.load_state_dict({name: tensor + 1 for name, tensor in state.items()})
    assert torch.equal(other.classifier.weight, method.classifier.weight + 1)
    assert torch.equal(other.teacher.classifier.weight, torch.ones_like(other.teacher.classifier.weight))
    with pytest.raises(RuntimeError, match=r"Missing key.*classifier\.bias"):
        other.load_state_dict({name: tensor for name, tensor in state.items() if name != "classifier.bias"})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*other"):
        other.load_state_dict({**state, "other": torch.zeros(1)})


def test_student_and_teacher_see_the_same_pixels() -> None:
    method = _tiny()
    assert method.preprocess is method.teacher.preprocess
    torch.testing.assert_close(method.preprocess.mean.flatten(), torch.full((3,), 0.5))


def test_a_teacher_with_a_checkpoint_teaches_only_when_it_is_loaded() -> None:
    method, (view,) = _tiny(teacher_checkpoint="somewhere.pth"), images(8)
    with pytest.raises(ConfigError, match=r"model\.teacher_checkpoint: somewhere\.pth is not loaded yet"):
        method.loss([view])
    asked = []
    method.before_training(lambda path, module: asked.append((path, module)))
    assert asked == [("somewhere.pth", method.teacher)]
    assert torch.isfinite(method.loss([view])["loss_teacher"])


def test_a_teacher_that_is_made_of_a_dict_needs_a_checkpoint() -> None:
    teacher = dict(type="Supervised", backbone=TinyBackbone(8), num_classes=6, loss=CrossEntropyLoss())
    with pytest.raises(ConfigError) as caught:
        Distillation(TinyBackbone(), teacher, DistillationLoss())
    assert str(caught.value) == (
        "teacher_checkpoint: must be a checkpoint of the teacher's, or the work dir of its run, got None; a "
        "teacher that is built of its dict has random weights and nothing to teach"
    )
    assert Distillation(TinyBackbone(), teacher, DistillationLoss(), teacher_checkpoint="work").num_classes == 6
