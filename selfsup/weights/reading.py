"""The tensors of a file under the names of the model that wants them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from selfsup.weights.account import balance
from selfsup.weights.rules.rule import Layout, Translation, translate
from selfsup.weights.rules.sources import SOURCES, timm_inside
from selfsup.weights.state_dicts import Weights


@dataclass(frozen=True)
class Model:
    """What wants the tensors.

    Args:
        own: its state dict; only names, shapes and types are looked at.
        classifier: of the backbone called Timm, gives timm's names of the tensors that it is built without.
    """

    own: Mapping[str, Tensor]
    classifier: Callable[[], Collection[str]] | None = None

    def layouts(self, source: str) -> tuple[Layout, ...]:
        """Of a source's files, as far as this model has a part in them."""
        if source == "timm" and self.classifier is not None:  # it keeps timm's names
            return timm_inside(self.classifier())
        return SOURCES[source].backbone


def read(tensors: Weights, source: str, prefix: str, model: Model, *, whole: bool = False) -> Translation | None:
    """Translate the tensors under a prefix; those of other names are left aside.

    Args:
        tensors: by the file's names.
        source: who wrote the file.
        prefix: of the names to look at, taken off first.
        model: what wants them.
        whole: whether it is a whole method, whose heads are wanted too.

    Returns:
        None if the source did not write such tensors.
    """
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    translation = translate(inside, SOURCES[source].method if whole else model.layouts(source))
    outside = [name for name in tensors if not name.startswith(prefix)]
    if translation is not None and outside:
        translation.aside[f"without the prefix {prefix!r}"] = outside
    return translation


def fits(tensors: Weights, source: str, prefix: str, model: Model) -> bool:
    """Whether every tensor is accounted for if the file is read so."""
    translation = read(tensors, source, prefix, model)
    return translation is not None and balance(translation, model.own).balanced
