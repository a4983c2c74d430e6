import numpy as np
import pytest
import torch
from torch import nn

from selfsup.data import InputContract, Scenes, Subset
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import Classifier, Head, Representation, Task

CONTRACT = InputContract(size=16, resize="none")


class MeanColor(nn.Module):
    out_dim = 3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


def classifier(classes: list[str]) -> Classifier:
    head = nn.Linear(3, len(classes))
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(0)))
    return Classifier(MeanColor(), CONTRACT, head=head, classes=classes)


def test_scores_are_those_of_the_heads_greatest_logit_whatever_order_the_classes_have() -> None:
    scenes = Scenes("test", size=16, variants=1)
    test = Subset(scenes, count=40)
    names = list(reversed(scenes.classes))
    found = classifier(names)
    result = Head().evaluate(found, Task(test=test))
    given = [names[number] for number in found.logits(test).argmax(1).tolist()]
    right = [given[index] == scenes.classes[label] for index, label in enumerate(np.asarray(test.labels).tolist())]
    assert result.scores["top1"].value == pytest.approx(np.mean(right))


def test_what_has_no_head_and_a_head_without_the_test_classes_are_rejected() -> None:
    task = Task(test=Subset(Scenes("test", size=16, variants=1), count=10))
    with pytest.raises(ConfigError) as caught:
        Head().evaluate(Representation(MeanColor(), CONTRACT), task)
    assert caught.value.problems[0].path == "probe"
    with pytest.raises(DataError) as wrong:
        Head().evaluate(classifier(["cats", "dogs"]), task)
    assert wrong.value.problems[0].path == "classes"


def test_another_head_on_the_same_network_is_another_representation() -> None:
    one = classifier(["a", "b"])
    with torch.no_grad():
        other = Classifier(one.backbone, CONTRACT, head=nn.Linear(3, 2), classes=["a", "b"])
    again = Classifier(one.backbone, CONTRACT, head=one.head, classes=["a", "b"])
    renamed = Classifier(one.backbone, CONTRACT, head=one.head, classes=["b", "a"])
    assert one.fingerprint == again.fingerprint
    assert len({one.fingerprint, other.fingerprint, renamed.fingerprint}) == 3
