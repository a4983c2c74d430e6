"""Checkpoints: written whole or not at all, refused when they do not fit."""

import contextlib
import importlib.util
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.convert import Account, adapt, convert, misfit
from selfsup.engine.architecture import check_architecture
from selfsup.engine.card_file import CARD_NOTE, card_path
from selfsup.engine.disk import reason, remedy, settle, write_whole
from selfsup.engine.environment import RESULTS
from selfsup.engine.reading import read_checkpoint, read_weights
from selfsup.engine.shard import class_name, is_sharded, split_state, whole_state
from selfsup.errors import CheckpointError
from selfsup.methods.base import Method
from selfsup.ops.dist import is_main

__all__ = [
    "FORMAT",
    "checkpoint_file",
    "checkpoint_path",
    "export_backbone",
    "list_checkpoints",
    "load_backbone",
    "load_method",
    "load_run",
    "read_checkpoint",
    "step_of",
    "sweep",
    "write_atomically",
    "write_card",
    "write_weights",
]

FORMAT = 1  # raised when a newer version writes what an older one cannot read
_NAME = re.compile(r"step_(\d+)\.pth")
_HALF_A_PICTURE = re.compile(r"\..+\.png\.partial")


def checkpoint_path(work_dir: str | Path, step: int) -> Path:
    """Where the state after ``step`` optimiser updates is kept."""
    return Path(work_dir) / "checkpoints" / f"step_{step:09d}.pth"


def list_checkpoints(work_dir: str | Path) -> list[Path]:
    """The complete checkpoints of a work dir, oldest first."""
    folder = Path(work_dir) / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def step_of(checkpoint: Path) -> int:
    """Optimiser updates done when a checkpoint was written."""
    return int(checkpoint.stem.removeprefix("step_"))


def checkpoint_file(path: str | Path) -> Path:
    """The checkpoint that a path means: a file, or the newest one of a work dir.

    Raises:
        CheckpointError: if there is none.
    """
    found = Path(path).expanduser()
    if found.is_dir():
        newest = list_checkpoints(found)[-1:]
        if not newest:
            raise CheckpointError(f"{path}: no checkpoints in this folder; name a file, or the work dir of a run")
        return newest[0]
    if not found.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    return found


def write_atomically(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` beside its final place, flush it to the disk and rename it.

    Raises:
        CheckpointError: if it cannot be written (disk full, no permission); the partial file is removed, and whatever
            stood at ``path`` before is untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            torch.save(state, file)
        settle(partial, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if not _NAME.fullmatch(path.name):
            raise CheckpointError(f"{path}: could not be written ({reason(error, path)})") from error
        older = list_checkpoints(path.parent.parent)
        kept = f"the newest complete one is {older[-1]}" if older else "there is no complete one before it"
        raise CheckpointError(
            f"{path}: the checkpoint could not be written ({reason(error, path)}); {kept}; "
            f"{remedy(error)} and run the same command with --resume"
        ) from error


def sweep(work_dir: str | Path) -> None:
    """Remove what a run that was killed while it wrote has left half written; what others call so stays."""
    root = Path(work_dir)
    ours = {f"{name}.partial" for name in RESULTS}
    for partial in root.glob("*.partial"):
        if partial.name in ours or _HALF_A_PICTURE.fullmatch(partial.name):
            partial.unlink(missing_ok=True)
    for partial in (root / "checkpoints").glob("*.partial"):
        if _NAME.fullmatch(partial.name.removesuffix(".partial")):
            partial.unlink(missing_ok=True)


def _check_weights(module: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Refuse weights of which not every tensor finds its place in a module.

    Args:
        module: what is to receive the weights.
        weights: a state dict.
        source: where the weights come from, for the error message.

    Raises:
        CheckpointError: if tensors are missing, left over, of another shape or kind.
    """
    if not isinstance(weights, Mapping) or not all(map(_is_named_tensor, weights.items())):
        raise CheckpointError(f"{source}: expected tensors by name as the model's weights, got {_kind(weights)}")
    own = module.state_dict()
    missing = sorted(own.keys() - weights.keys())
    left_over = sorted(weights.keys() - own.keys())
    reshaped = [
        f"{name}: {tuple(weights[name].shape)} where {tuple(own[name].shape)} is needed"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    unlike = [
        f"{name}: {why}"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape == own[name].shape and (why := misfit(weights[name], own[name]))
    ]
    kinds = (
        ("missing", missing),
        ("left over", left_over),
        ("of another shape", reshaped),
        ("of another kind", unlike),
    )
    problems = [
        f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for what, names in kinds
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{source}: the weights belong to another model than {class_name(module)}; " + "; ".join(problems)
        )


def load_run(module: nn.Module, weights: Mapping[str, Tensor], state: Mapping[str, Any], file: str | Path) -> None:
    """Copy weights of a training checkpoint into a method whose backbone computes the same.

    Args:
        module: what receives the weights.
        weights: a state dict, of what the file holds or made from it.
        state: what the file holds.
        file: its path, for messages.

    Raises:
        CheckpointError: if a tensor does not find its place, or the backbone is another by the card or the config in
            the file; nothing is changed then.
    """
    _check_weights(module, weights, source=str(file))
    if isinstance(backbone := getattr(module, "backbone", None), nn.Module):
        check_architecture(file, state, backbone)
    module.load_state_dict(split_state(weights, module))


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _kind(weights: Any) -> str:
    if not isinstance(weights, Mapping):
        return type(weights).__name__
    name, value = next(item for item in weights.items() if not _is_named_tensor(item))
    return f"a {type(value).__name__} under {name!r}"


def load_method(path: str | Path, method: Method) -> int | None:
    """Load the model part of a training checkpoint into ``method``, as ``--init-from`` and testing do.

    A file that holds a backbone alone, such as an exported ``backbone.safetensors``, fills the backbone; the rest of
    the method keeps its random weights, which testing does not look at.

    Returns:
        Optimiser updates that the weights were trained for, if the file says so.

    Raises:
        CheckpointError: if the file cannot be read or does not fit, or by its card or the config in it belongs to
            another network.
    """
    state = read_weights(path, mapped=is_sharded(method))
    if "model" in state:
        load_run(method, state["model"], state, path)
        return state.get("step")
    try:
        _load_converted(state, method.backbone, source="selfsup", prefix="", file=Path(path))
    except CheckpointError as error:
        foreign = "source=" in str(error) or "prefix=" in str(error)
        way = "; `selfsup convert` makes a file of it that is taken here" if foreign else ""
        raise CheckpointError(f"{error}{way}") from None
    return None


def load_backbone(path: str | Path, backbone: nn.Module, source: str = "selfsup", *, prefix: str = "") -> Account:
    """Load pretrained weights into a backbone; nothing is changed unless every tensor is accounted for.

    A BiTResNet also takes the eps of the network that the weights are from, which the account says.

    Args:
        path: a file of weights, read without running code, or a work dir, whose newest checkpoint is taken.
        backbone: what receives the weights.
        source: who wrote the file: ``'selfsup'`` (a training checkpoint, or an exported backbone), ``'timm'``,
            ``'torchvision'``, ``'vissl'`` (SEER and SwAV), ``'swav'``, ``'moco'`` (v1, v2 and v3), ``'simsiam'``,
            ``'byol'`` (its PyTorch ports) or ``'bit'`` (``.npz``).
        prefix: of the names to look at, taken off first, for files that put the network into something larger.

    Returns:
        Where every tensor went and came from.

    Raises:
        CheckpointError: if the source is unknown, the file cannot be read, or a tensor is missing, left over, of
            another shape or kind, not finite, or no number at all; the message says which source or prefix would fit,
            if one does. Also if the file or its source states an argument that no tensor shows, such as a ViT's heads,
            and the backbone has another.
    """
    file = checkpoint_file(path) if Path(path).expanduser().is_dir() else Path(path)
    return _load_converted(read_weights(file), backbone, source=source, prefix=prefix, file=file, adapting=True)


def _load_converted(
    state: Mapping[str, Any], backbone: nn.Module, *, source: str, prefix: str, file: Path, adapting: bool = False
) -> Account:
    own = backbone.state_dict()
    weights, account = convert(
        state,
        own,
        source=source,
        prefix=prefix,
        file=str(file),
        model=class_name(backbone),
        classifier=getattr(backbone, "classifier_tensors", None),
    )
    theirs = check_architecture(file, state, backbone, source=source, adapting=adapting)
    backbone.load_state_dict(split_state({**own, **weights}, backbone))
    return replace(account, adapted=adapt(backbone, theirs.get("eps")))


def export_backbone(backbone: nn.Module, work_dir: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write the backbone's weights alone, as safetensors where that package is installed, else as a state dict.

    The main process writes; where the weights are split over the processes, all must call this.

    Args:
        backbone: whose weights.
        work_dir: the folder to write into.
        card: what the weights belong to, written beside them, see :mod:`selfsup.engine.card`.

    Returns:
        The file: ``backbone.safetensors`` or ``backbone.pth``.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with_safetensors = importlib.util.find_spec("safetensors") is not None
    path = Path(work_dir) / ("backbone.safetensors" if with_safetensors else "backbone.pth")
    weights = whole_state(dict(backbone.state_dict()))
    if is_main():
        write_weights(weights, path, card)
    return path


def write_weights(weights: Mapping[str, Tensor], path: Path, card: Mapping[str, Any] | None = None) -> None:
    """Write a state dict and its card, as safetensors if ``path`` ends so, else as ``torch.save`` does.

    The card goes beside the weights as ``.json``, and into the file too, see
    :func:`~selfsup.engine.reading.read_note`: files are copied without what is beside them.

    Raises:
        CheckpointError: if they cannot be written.
    """
    plain = OrderedDict((name, tensor.detach().cpu().contiguous()) for name, tensor in weights.items())
    notes = {} if card is None else {CARD_NOTE: json.dumps(card)}
    if path.suffix == ".safetensors":
        _write_safetensors(plain, path, notes)
    else:
        vars(plain).update(notes)
        write_atomically(plain, path)
    if card is not None:
        write_card(card, path)


def write_card(card: Mapping[str, Any], path: Path) -> None:
    """Write a card beside the weights at ``path``, whole or not at all.

    Raises:
        CheckpointError: if it cannot be written.
    """
    beside = card_path(path)
    try:
        write_whole(beside, json.dumps(card, indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"{beside}: could not be written ({reason(error, beside)})") from error


def _write_safetensors(weights: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise CheckpointError(f"{path}: writing it needs the package safetensors (pip install selfsup[eval])") from None
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, partial, metadata={"format": "pt", **metadata})
        partial.chmod(0o644)  # safetensors lets nobody else read it
        settle(partial, path)
    except Exception as error:  # safetensors wraps the system's errors in its own type
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: the weights could not be written ({error})") from error
