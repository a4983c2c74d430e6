"""Who writes weight files, and how the tensors of each are found."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from selfsup.weights.rules import bit, byol, facebook, regnet, resnet, vissl, vit
from selfsup.weights.rules.rule import Layout, Rule
from selfsup.weights.state_dicts import unwrapped

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SWAV = ((0.485, 0.456, 0.406), (0.228, 0.224, 0.225))  # main_swav.py normalizes so; VISSL does not
BIT = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # [-1, 1], big_transfer's input pipeline
_UNKNOWN = (None, None)

_TORCHVISION_REGNET = regnet.block_rules(regnet.TORCHVISION, r"trunk_output\.block\d\.block(\d)-(\d+)")
_CLASSIFIER = Rule(r"(?:fc|head)\..+", ignored="classifier")


def layouts(source: str, model: Any, *, whole: bool) -> tuple[Layout, ...]:
    """How a source names the tensors of a backbone, or of a whole method; empty if it has none.

    Which modules of any network of timm classify cannot be seen by their names: features of many networks pass through
    parts of ``head``. So the backbone that is called Timm says it.
    """
    if source == "timm" and not whole and hasattr(model, "classifier_tensors"):
        classifier = "|".join(map(re.escape, sorted(model.classifier_tensors())))
        return (Layout(r".+", (Rule(classifier, ignored="classifier"), Rule(r"(.+)", r"model.\1"))),)
    return SOURCES[source].method if whole else SOURCES[source].backbone


@dataclass(frozen=True)
class Source:
    """One kind of file."""

    backbone: tuple[Layout, ...]  # layouts that give a backbone
    method: tuple[Layout, ...] = ()  # layouts that give a whole method, heads included; none where those are not ours
    tensors: Callable[[Mapping[str, Any]], dict[str, Tensor]] = unwrapped  # finds them in what the file holds
    normalization: tuple[tuple[float, ...] | None, tuple[float, ...] | None] = (
        _UNKNOWN  # mean and std the weights expect
    )
    network: Mapping[str, Any] = field(default_factory=dict)  # what no tensor shows of all that are written so


SOURCES: dict[str, Source] = {
    "selfsup": Source(
        (
            Layout(r"backbone\..+", (Rule(r"backbone\.(.+)", r"\1"), Rule(r".+", ignored="the rest of the method"))),
            Layout(r".+", (Rule(r"(.+)", r"\1"),)),
        )
    ),
    "timm": Source((*bit.TIMM, Layout(r".+", (_CLASSIFIER, Rule(r"(.+)", r"\1")))), network=bit.TIMM_NETWORK),
    "torchvision": Source(
        (
            Layout(
                r"trunk_output\.block1\.block1-0\.f\.a\.0\.weight",
                (*regnet.stem_rules("stem"), *_TORCHVISION_REGNET, _CLASSIFIER),
            ),
            *vit.TORCHVISION,
            Layout(r"layer1\.0\.conv1\.weight", (*resnet.TRUNK, _CLASSIFIER)),
        ),
        normalization=IMAGENET,
        network=vit.TORCHVISION_NETWORK,
    ),
    "vissl": Source(vissl.BACKBONE, vissl.METHOD, tensors=vissl.tensors, normalization=IMAGENET),
    "swav": Source(facebook.SWAV, facebook.SWAV_METHOD, normalization=SWAV),
    "moco": Source(facebook.MOCO, normalization=IMAGENET, network=facebook.MOCO_NETWORK),
    "simsiam": Source(facebook.SIMSIAM, normalization=IMAGENET),
    "byol": Source(byol.BYOL),
    "bit": Source(bit.NPZ, normalization=BIT, network=bit.NETWORK),
}
"""By the name that ``source`` has in ``load_backbone``."""
