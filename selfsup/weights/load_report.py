"""Where every tensor of a file went, and where every tensor of a model came from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from selfsup.weights.rules.rule import Translation

SHOWN = 3
DISPENSABLE = re.compile(r"(?:.+\.)?num_batches_tracked|queue\.(?:rows|filled)")
"""What a model can do without: batch norm counts batches only for averages nobody uses here; a queue fills again."""

Rows = list[tuple[int, str, tuple[str, ...]]]


@dataclass(frozen=True, repr=False)
class LoadReport:
    """What was loaded and what was not; its repr has the counts, ``print`` shows all names."""

    loaded: tuple[str, ...] = ()  # the model's names of what the file has for it
    ignored: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # the file's names of what is not needed, by reason
    kept: tuple[str, ...] = ()  # the model's names of what the file has not and the model keeps as it was built
    missing: tuple[str, ...] = ()  # the model's names of what the file should have had
    unexpected: tuple[str, ...] = ()  # the file's names that nothing explains
    shape_mismatch: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()  # name, in the file, in the model
    dtype_mismatch: tuple[tuple[str, str, str], ...] = ()  # likewise, of tensors of the right shape
    changed: tuple[str, ...] = ()  # what was changed in the network because its tensors do not show it

    @property
    def complete(self) -> bool:
        """Whether nothing is missing or unexpected and every shape and type fits."""
        return not self._mismatches()

    def __repr__(self) -> str:
        counts = [f"{count} {what}" for count, what, _ in self._all() if count]
        return f"<LoadReport: {', '.join([*counts, *self.changed]) or 'no tensors'}>"

    def __str__(self) -> str:
        return "\n".join(f"{count or ''} {what}: {', '.join(names)}".strip() for count, what, names in self._all())

    def problems(self) -> str:
        """What does not fit, each with its first names, in one line."""
        return "; ".join(f"{count} {what}: {shown(names)}" for count, what, names in self._mismatches())

    def rows(self) -> list[tuple[int, str, str]]:
        """How many tensors, what became of them, the first names."""
        return [(count, what, shown(names)) for count, what, names in self._all()]

    def _all(self) -> Rows:
        ignored = {f"ignored: {why}": names for why, names in self.ignored.items()}
        kinds = {"loaded": self.loaded, **ignored, "not in the file, kept as built": self.kept}
        changes = [(0, "changed in the network", (what,)) for what in self.changed]
        return [*_counted(kinds), *changes, *self._mismatches()]

    def _mismatches(self) -> Rows:
        differ = {"shape mismatch": self.shape_mismatch, "dtype mismatch": self.dtype_mismatch}
        said = {
            what: tuple(f"{name}: {got}, expected {needed}" for name, got, needed in each)
            for what, each in differ.items()
        }
        return _counted({"missing": self.missing, "unexpected": self.unexpected, **said})


def _counted(kinds: Mapping[str, tuple[str, ...]]) -> Rows:
    return [(len(names), what, names) for what, names in kinds.items() if names]


def shown(names: tuple[str, ...] | list[str]) -> str:
    """The first names, and whether there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def compare(
    translation: Translation, own: Mapping[str, Tensor], *, dispensable: re.Pattern[str] | None = DISPENSABLE
) -> LoadReport:
    """Compare what a file has with the model's state dict, of which shapes and types are looked at.

    ``dispensable`` are the names of what may be absent from the file; None if nothing may.
    """
    given = translation.weights
    common = [name for name in own if name in given]
    shaped = [name for name in common if given[name].shape == own[name].shape]
    fitting = [name for name in shaped if _same_kind(given[name], own[name])]
    absent = [name for name in own if name not in given]
    kept = [name for name in absent if dispensable and (dispensable.fullmatch(name) or not own[name].numel())]
    surplus = [translation.names.get(name, name) for name in given if name not in own]
    shapes = [(name, tuple(given[name].shape), tuple(own[name].shape)) for name in common if name not in shaped]
    types = [(name, _spelled(given[name]), _spelled(own[name])) for name in shaped if name not in fitting]
    return LoadReport(
        loaded=tuple(fitting),
        ignored={why: tuple(names) for why, names in translation.ignored.items()},
        kept=tuple(kept),
        missing=tuple(name for name in absent if name not in kept),
        unexpected=(*translation.unexpected, *surplus),
        shape_mismatch=tuple(shapes),
        dtype_mismatch=tuple(types),
    )


def _same_kind(given: Tensor, needed: Tensor) -> bool:
    """Whether numbers can be copied exactly or rounded; anything else would be cut, or stop halfway through a model."""
    return given.layout == torch.strided and _kind(given) == _kind(needed)


def _kind(tensor: Tensor) -> str:
    if tensor.is_quantized or tensor.dtype == torch.bool or "float4" in str(tensor.dtype):  # the last are two in one
        return str(tensor.dtype)
    return "floating" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "integer"


def _spelled(tensor: Tensor) -> str:
    layout = "" if tensor.layout == torch.strided else f"{tensor.layout} "
    return f"{layout}{tensor.dtype}".replace("torch.", "")
