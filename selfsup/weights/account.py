"""Where every tensor of a file went, and where every tensor of a model came from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from selfsup.weights.rules.rule import Translation

SHOWN = 3
BUILT_IN = re.compile(r"(?:.+\.)?num_batches_tracked|queue\.(?:rows|filled)")
"""What a model can do without: batch norm counts batches only for averages nobody uses here; a queue fills again."""


@dataclass(frozen=True, repr=False)
class Account:
    """The balance of a conversion; its repr has the counts, ``print`` shows all names.

    Args:
        taken: the model's names of what the file gave.
        aside: the file's names of what is not needed, by reason.
        kept: the model's names of what the file has not and the model keeps as it was built.
        missing: the model's names of what the file should have had.
        left_over: the file's names that nothing explains.
        reshaped: name, shape in the file, shape in the model, of tensors that do not fit.
        unlike: name and what differs, of tensors of the right shape whose numbers cannot be taken.
        adapted: what was changed in the network because its tensors do not tell it.
    """

    taken: tuple[str, ...] = ()
    aside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    unlike: tuple[tuple[str, str], ...] = ()
    adapted: tuple[str, ...] = ()

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing, left over, of another shape or of another kind."""
        return not (self.missing or self.left_over or self.reshaped or self.unlike)

    def __repr__(self) -> str:
        counts = [f"{count} {what}" for count, what, _ in self._rows() if count]
        return f"<Account: {', '.join([*counts, *self.adapted]) or 'no tensors'}>"

    def __str__(self) -> str:
        lines = [f"{count} {what}: {', '.join(names)}" for count, what, names in self._rows() if count]
        return "\n".join([*lines, *(f"changed in the network: {what}" for what in self.adapted)])

    def problems(self) -> list[str]:
        """What does not balance, each with its first names."""
        reshaped = tuple(f"{name}: {got} where {needed} is needed" for name, got, needed in self.reshaped)
        unlike = tuple(f"{name}: {why}" for name, why in self.unlike)
        parts = (
            ("missing", self.missing),
            ("left over", self.left_over),
            ("of another shape", reshaped),
            ("of another kind", unlike),
        )
        return [f"{len(names)} {what}: {shown(names)}" for what, names in parts if names]

    def rows(self) -> list[tuple[int, str, str]]:
        """The account as lines: how many tensors, what became of them, the first names."""
        return [(count, what, shown(names)) for count, what, names in self._rows()]

    def _rows(self) -> list[tuple[int, str, tuple[str, ...]]]:
        rows = [(len(self.taken), "taken", self.taken)]
        rows += [(len(names), f"left aside: {why}", names) for why, names in self.aside.items()]
        rows += [(len(self.kept), "not in the file, kept as built", self.kept)] if self.kept else []
        rows += [(0, "changed in the network", (what,)) for what in self.adapted]
        rows += [(len(names), what, names) for what, names in self._unbalanced() if names]
        return rows

    def _unbalanced(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("missing", self.missing),
            ("left over", self.left_over),
            ("of another shape", tuple(name for name, _, _ in self.reshaped)),
            ("of another kind", tuple(name for name, _ in self.unlike)),
        )


def shown(names: tuple[str, ...] | list[str]) -> str:
    """The first names, and whether there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def misfit(given: Tensor, needed: Tensor) -> str:
    """Why a tensor's numbers cannot be copied into another of the same shape; empty if they can.

    Precisions of one kind stand for one another. Anything else would be copied without a word, rounded or cut, or stop
    halfway through the model.
    """
    if given.layout == torch.strided and _kind(given) == _kind(needed):
        return ""
    return f"{_spelled(given)} where {_spelled(needed)} is needed"


def _kind(tensor: Tensor) -> str:
    if tensor.is_quantized or tensor.dtype == torch.bool or "float4" in str(tensor.dtype):  # the last are two in one
        return str(tensor.dtype)
    return "floating" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "integer"


def _spelled(tensor: Tensor) -> str:
    return " ".join(
        str(part).removeprefix("torch.") for part in (tensor.layout, tensor.dtype) if part is not torch.strided
    )


def balance(translation: Translation, own: Mapping[str, Tensor]) -> Account:
    """Compare what a file gives with what a model needs.

    Args:
        translation: the file's tensors under our names.
        own: the model's state dict; only shapes and types are looked at.
    """
    given = translation.weights
    shaped = {name for name in given if name in own and given[name].shape == own[name].shape}
    unlike = {name: why for name in own if name in shaped and (why := misfit(given[name], own[name]))}
    absent = [name for name in own if name not in given]
    spared = [name for name in absent if BUILT_IN.fullmatch(name) or not own[name].numel()]
    return Account(
        taken=tuple(name for name in own if name in shaped and name not in unlike),
        aside={why: tuple(names) for why, names in translation.aside.items()},
        kept=tuple(spared),
        missing=tuple(name for name in absent if name not in spared),
        left_over=tuple(
            [*translation.left_over, *(translation.names.get(name, name) for name in given if name not in own)]
        ),
        reshaped=tuple(
            (name, tuple(given[name].shape), tuple(own[name].shape))
            for name in own
            if name in given and name not in shaped
        ),
        unlike=tuple(unlike.items()),
    )
