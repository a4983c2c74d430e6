import math

import numpy as np
import pytest
import torch
from torch import Tensor

from selfsup.errors import ConfigError
from selfsup.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from selfsup.methods import Progress, Supervised
from selfsup.necks import HiddenLayers
from selfsup.ops.mixup import cut, cut_window
from tests.methods.tiny import Flatten, TinyBackbone, images
from tests.reference.cross_entropy import cross_entropy_by_the_definition, sigmoid_cross_entropy_by_the_definition

_START = Progress(0, 10, 0, 10)


def _linear(num_classes: int = 7, **arguments: object) -> Supervised:
    """A classifier right on features of three numbers."""
    torch.manual_seed(0)
    method = Supervised(Flatten(3), num_classes, CrossEntropyLoss(), **arguments).double()  # type: ignore[arg-type]
    torch.nn.init.normal_(method.classifier.weight)
    return method


def _features(batch: int = 6) -> Tensor:
    return torch.randn(batch, 3, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _scores(method: Supervised, features: Tensor) -> np.ndarray:
    weight, bias = (tensor.detach().numpy() for tensor in (method.classifier.weight, method.classifier.bias))
    return features.flatten(1).numpy() @ weight.T + bias


def test_the_loss_is_the_cross_entropy_of_a_linear_classifier() -> None:
    method, features = _linear(), _features()
    labels = torch.tensor([0, 1, 2, 3, 4, 6])
    parts = method.loss([features], labels)
    expected = cross_entropy_by_the_definition(_scores(method, features), np.eye(7)[labels])
    assert float(parts["loss"].detach()) == pytest.approx(expected, rel=1e-12)
    assert list(parts) == ["loss", "top1", "top5"]


def test_images_may_belong_to_several_classes() -> None:
    method, features = _linear(), _features(4)
    method.criterion = BinaryCrossEntropyLoss()
    labels = torch.tensor([[1, 1, 0, 0, 0, 0, 0], [0] * 7, [0, 0, 0, 0, 0, 0, 1], [1] * 7], dtype=torch.uint8)
    scores = _scores(method, features)
    parts = method.loss([features], labels)
    expected = sigmoid_cross_entropy_by_the_definition(scores, labels.numpy())
    assert float(parts["loss"].detach()) == pytest.approx(expected, rel=1e-12)
    found = [labels[row, int(best)] for row, best in enumerate(scores.argmax(1))]
    assert float(parts["top1"]) == pytest.approx(np.mean(found))


@pytest.mark.parametrize("mixup_alpha", [0.0, 0.2])
def test_several_classes_for_an_image_are_rejected_where_the_loss_needs_one(mixup_alpha: float) -> None:
    method = _linear(mixup_alpha=mixup_alpha)
    several = torch.tensor([[1, 1, 0, 0, 0, 0, 0], [0] * 7], dtype=torch.uint8)
    with pytest.raises(ConfigError) as caught:
        method.loss([_features(2)], several)
    assert str(caught.value) == (
        "train_dataloader.dataset: CrossEntropyLoss needs one class for each image, and these may belong to several; "
        "BinaryCrossEntropyLoss takes those"
    )
    shares = torch.full((2, 7), 1 / 7, dtype=torch.float64)
    assert float(method.loss([_features(2)], shares)["loss"].detach()) > 0


def test_top1_and_top5_count_what_sorting_the_scores_finds() -> None:
    method, features = _linear(), _features(50)
    labels = torch.arange(50) % 7
    parts = method.loss([features], labels)
    order = np.argsort(-_scores(method, features), axis=1)
    for top in (1, 5):
        hits = [label in order[row, :top] for row, label in enumerate(labels.tolist())]
        assert float(parts[f"top{top}"]) == pytest.approx(np.mean(hits))
    few = _linear(num_classes=5)
    assert list(few.loss([features], torch.arange(50) % 5)) == ["loss", "top1"]


def test_features_are_those_before_the_neck() -> None:
    torch.manual_seed(0)
    method = Supervised(TinyBackbone(8), 4, CrossEntropyLoss(), neck=HiddenLayers(8, (6,))).eval()
    view = images(8)[0]
    torch.testing.assert_close(method.features(view), method.backbone(view))
    torch.testing.assert_close(method.scores(view), method.classifier(method.neck(method.backbone(view))))


def test_a_head_of_zeros_gives_every_class_the_same_score() -> None:
    method = Supervised(TinyBackbone(), 9, CrossEntropyLoss(), zero_init_head=True)
    parts = method.loss(images(8), torch.tensor([0, 3, 5, 8]))
    assert float(parts["loss"].detach()) == pytest.approx(math.log(9), rel=1e-6)


def test_the_head_s_bias_sets_the_first_loss_of_the_sigmoid() -> None:
    method = Supervised(TinyBackbone(), 1000, BinaryCrossEntropyLoss(), zero_init_head=True, head_bias=-10.0)
    parts = method.loss(images(8), torch.tensor([0, 3, 5, 999]))
    expected = 999 * math.log1p(math.exp(-10)) + math.log1p(math.exp(10))
    assert float(parts["loss"].detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("several", [False, True])
def test_mixup_mixes_images_and_losses_by_the_same_share(several: bool) -> None:
    method, features = _linear(mixup_alpha=0.4), _features()
    labels = torch.tensor([0, 1, 2, 3, 4, 6])
    shares = np.eye(7)[labels]
    if several:
        method.criterion = BinaryCrossEntropyLoss()
        labels = torch.tensor(shares, dtype=torch.uint8)
    by_definition = sigmoid_cross_entropy_by_the_definition if several else cross_entropy_by_the_definition
    method.before_step(_START)
    share = method.mixup_weight
    assert 0 < share < 1
    torch.manual_seed(3)
    parts = method.loss([features], labels)
    torch.manual_seed(3)
    order = torch.randperm(6)
    scores = _scores(method, share * features + (1 - share) * features[order])
    expected = share * by_definition(scores, shares) + (1 - share) * by_definition(scores, shares[order])
    assert float(parts["loss"].detach()) == pytest.approx(expected, rel=1e-6)
    evaluated = shares if share >= 0.5 else shares[order]
    assert float(parts["top1"]) == pytest.approx(np.mean(evaluated[np.arange(6), scores.argmax(1)]))


def test_one_share_serves_all_micro_batches_of_a_step_and_each_step_has_its_own() -> None:
    method, features = _linear(mixup_alpha=1.0), _features(2)
    shares = []
    for step in range(3):
        method.before_step(Progress(step, 10, 0, 10))
        for _ in range(2):
            method.loss([features], torch.tensor([0, 1]))
            shares.append(method.mixup_weight)
    assert shares[0::2] == shares[1::2]
    assert len(set(shares)) == 3


def test_evaluation_mode_does_not_mix() -> None:
    method, features = _linear(mixup_alpha=1.0).eval(), _features()
    labels = torch.tensor([0, 1, 2, 3, 4, 6])
    method.before_step(_START)
    expected = cross_entropy_by_the_definition(_scores(method, features), np.eye(7)[labels])
    assert float(method.loss([features], labels)["loss"].detach()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "labels, message",
    [
        (None, r"train_dataloader\.dataset: the method learns from labels, and these images have none"),
        (torch.tensor([0, 7, 1]), r"num_classes: labels must be in \[0, num_classes\), got num_classes 7 and label 7"),
        (torch.tensor([0, -1, 1]), r"got num_classes 7 and label -1"),
        (torch.zeros(3, 5), r"num_classes: must be the data's 5 classes, got 7"),
    ],
)
def test_labels_that_do_not_fit_are_rejected(labels: Tensor | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _linear().loss([_features(3)], labels)


FROZEN_NETWORK = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8}


def classifier_of(**changes: object) -> Supervised:
    torch.manual_seed(0)
    return Supervised(FROZEN_NETWORK, 3, {"type": "CrossEntropyLoss"}, **changes)


def test_frozen_batch_norm_keeps_its_statistics_weights_and_biases_and_the_rest_learns() -> None:
    method = classifier_of(batch_norm="frozen").train()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    method.loss([torch.randn(6, 3, 32, 32)], torch.tensor([0, 1, 2, 0, 1, 2]))["loss"].backward()
    optimizer.step()
    changed = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and not any(".bn." in name for name in changed)


def test_the_average_is_what_is_evaluated_and_follows_the_weights_from_step_to_step() -> None:
    method = classifier_of(ema=0.9)
    images = torch.randn(2, 3, 32, 32)
    method.eval()
    torch.testing.assert_close(method.logits(method.features(images)), method.scores(images))
    before = {name: tensor.clone() for name, tensor in method.average.state_dict().items()}
    with torch.no_grad():
        for parameter in (*method.backbone.parameters(), *method.classifier.parameters()):
            parameter.add_(1.0)
    for step, kept in ((1000, 0.9), (0, 0.1)):  # at first it hardly looks back
        method.average.load_state_dict(before)
        method.after_step(Progress(step, 2000, 0, 10))
        for name, tensor in method.average.named_parameters():
            torch.testing.assert_close(tensor, before[name] + (1 - kept), msg=name)
    assert method.representation is method.average["backbone"]


def test_an_average_begins_with_the_weights_of_the_file() -> None:
    method = classifier_of(ema=0.9)
    with torch.no_grad():
        method.backbone.stem.conv.weight.fill_(0.5)
    copied = method.after_init_from({"backbone.stem.conv.weight"})
    assert "average.backbone.stem.conv.weight" in copied
    assert bool((method.average["backbone"].stem.conv.weight == 0.5).all())


def test_cutmix_counts_the_area_that_was_cut() -> None:
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    torch.manual_seed(0)
    for share in (0.0, 0.3, 0.5, 1.0):
        mixed, kept = cut(images, torch.tensor([1, 0]), cut_window(8, 8, share))
        assert float(mixed[1].mean()) == pytest.approx(kept)
        assert float(mixed[0].mean()) == pytest.approx(1 - kept)
        assert kept >= share - 1e-6
