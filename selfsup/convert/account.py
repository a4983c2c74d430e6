"""Where every tensor of a file went, and where every tensor of a model came from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from selfsup.convert.rules import Translation

SHOWN = 3
BUILT_IN = re.compile(r"(?:.+\.)?num_batches_tracked|queue\.(?:rows|filled)")
"""What a model can do without: batch norm counts batches only for averages nobody uses here; a queue fills again."""


@dataclass(frozen=True)
class Account:
    """The balance of a conversion.

    Args:
        taken: the model's names of what the file gave.
        aside: the file's names of what is not needed, by reason.
        kept: the model's names of what the file has not and the model keeps as it was built.
        missing: the model's names of what the file should have had.
        left_over: the file's names that nothing explains.
        reshaped: name, shape in the file, shape in the model, of tensors that do not fit.
    """

    taken: tuple[str, ...] = ()
    aside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing, left over or of another shape."""
        return not (self.missing or self.left_over or self.reshaped)

    def problems(self) -> list[str]:
        """What does not balance, each with its first names."""
        reshaped = tuple(f"{name}: {got} where {needed} is needed" for name, got, needed in self.reshaped)
        parts = (("missing", self.missing), ("left over", self.left_over), ("of another shape", reshaped))
        return [f"{len(names)} {what}: {shown(names)}" for what, names in parts if names]

    def rows(self) -> list[tuple[int, str, str]]:
        """The account as lines: how many tensors, what became of them, the first names."""
        rows = [(len(self.taken), "taken", shown(self.taken))]
        rows += [(len(names), f"left aside: {why}", shown(names)) for why, names in self.aside.items()]
        rows += [(len(self.kept), "not in the file, kept as built", shown(self.kept))] if self.kept else []
        rows += [(len(names), what, shown(names)) for what, names in self._unbalanced() if names]
        return rows

    def _unbalanced(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        names = tuple(name for name, _, _ in self.reshaped)
        return (("missing", self.missing), ("left over", self.left_over), ("of another shape", names))


def shown(names: tuple[str, ...] | list[str]) -> str:
    """The first names, and whether there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def balance(translation: Translation, own: Mapping[str, Tensor]) -> Account:
    """Compare what a file gives with what a model needs.

    Args:
        translation: the file's tensors under our names.
        own: the model's state dict; only shapes are looked at.
    """
    given = translation.weights
    fits = {name for name in given if name in own and given[name].shape == own[name].shape}
    absent = [name for name in own if name not in given]
    return Account(
        taken=tuple(name for name in own if name in fits),
        aside={why: tuple(names) for why, names in translation.aside.items()},
        kept=tuple(name for name in absent if BUILT_IN.fullmatch(name)),
        missing=tuple(name for name in absent if not BUILT_IN.fullmatch(name)),
        left_over=tuple(
            [*translation.left_over, *(translation.names.get(name, name) for name in given if name not in own)]
        ),
        reshaped=tuple(
            (name, tuple(given[name].shape), tuple(own[name].shape))
            for name in own
            if name in given and name not in fits
        ),
    )
