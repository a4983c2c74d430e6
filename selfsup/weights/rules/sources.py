"""Who writes weight files, and how the tensors of each are found."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from selfsup.weights.load_report import compare
from selfsup.weights.rules import bit, byol, facebook, regnet, resnet, vissl, vit
from selfsup.weights.rules.rule import Layout, Rule, Translation, translate
from selfsup.weights.state_dicts import Weights, unwrapped

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SWAV = ((0.485, 0.456, 0.406), (0.228, 0.224, 0.225))  # main_swav.py normalizes so; VISSL does not
BIT = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # [-1, 1], big_transfer's input pipeline
_UNKNOWN = (None, None)

_TORCHVISION_REGNET = regnet.block_rules(regnet.TORCHVISION, r"trunk_output\.block\d\.block(\d)-(\d+)")
_CLASSIFIER = Rule(r"(?:fc|head)\..+", ignored="classifier")


def _timm_inside(classifier: Collection[str]) -> tuple[Layout, ...]:
    """For any network of timm inside the backbone that is called Timm.

    Which modules classify cannot be seen by their names: features of many networks pass through parts of ``head``.
    """
    named = "|".join(map(re.escape, sorted(classifier)))
    return (Layout(r".+", (Rule(named, ignored="classifier"), Rule(r"(.+)", r"model.\1"))),)


@dataclass(frozen=True)
class Source:
    """One kind of file.

    Args:
        backbone: layouts that give a backbone.
        method: layouts that give a whole method, heads included; empty where the heads are not ours.
        tensors: finds the tensors in what the file holds.
        normalization: mean and standard deviation per channel that the weights expect; None where it varies.
        network: what holds of every network that is written so and shows in no tensor, as a backbone's dict states it.
    """

    backbone: tuple[Layout, ...]
    method: tuple[Layout, ...] = ()
    tensors: Callable[[Mapping[str, Any]], dict[str, Tensor]] = unwrapped
    normalization: tuple[tuple[float, ...] | None, tuple[float, ...] | None] = _UNKNOWN
    network: Mapping[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Target:
    """The model that wants a file's tensors.

    Args:
        model: a backbone or, if ``whole``, a method; only its names, shapes and types are looked at.
        whole: whether heads are wanted too.
    """

    model: nn.Module
    whole: bool = False

    @cached_property
    def own(self) -> Mapping[str, Tensor]:
        """The model's state dict."""
        return self.model.state_dict()

    @cached_property
    def layouts_of_timm(self) -> tuple[Layout, ...]:
        """How timm's files name the tensors: as the backbone called Timm does, if it is one."""
        if not hasattr(self.model, "classifier_tensors"):
            return SOURCES["timm"].backbone
        return _timm_inside(self.model.classifier_tensors())  # type: ignore[operator]

    def translate(self, tensors: Weights, source: str, prefix: str) -> Translation | None:
        """Rename the tensors under a prefix; those of other names are ignored. None if it is another source's."""
        if source == "timm":
            layouts = () if self.whole else self.layouts_of_timm
        else:
            layouts = SOURCES[source].method if self.whole else SOURCES[source].backbone
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        translation = translate(inside, layouts) if layouts else None
        if translation is not None and len(inside) < len(tensors):
            outside = [name for name in tensors if not name.startswith(prefix)]
            translation.ignored[f"without the prefix {prefix!r}"] = outside
        return translation

    def fits(self, tensors: Weights, source: str, prefix: str) -> bool:
        """Whether every tensor has its place if the file is read so."""
        translation = self.translate(tensors, source, prefix)
        return translation is not None and compare(translation, self.own).complete
