"""Weights into a network: every tensor finds its place, or nothing is changed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from selfsup.errors import CheckpointError
from selfsup.ops.parts import class_name, split_state
from selfsup.weights.account import Account, misfit
from selfsup.weights.architecture import check_architecture
from selfsup.weights.checkpoint import checkpoint_file
from selfsup.weights.read import read_weights
from selfsup.weights.rules.bit import adapt
from selfsup.weights.translate import convert


def _check_weights(module: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Reject weights of which not every tensor finds its place in a module.

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


def fill_backbone(method: Any, state: Mapping[str, Any], file: str | Path) -> Account:
    """Copy the weights of a backbone alone into a method's.

    Args:
        method: whose backbone.
        state: what the file holds.
        file: its path, for messages.

    Returns:
        Where every tensor went and came from.

    Raises:
        CheckpointError: if a tensor does not find its place, or the backbone is another by the card; nothing is
            changed then.
    """
    try:
        return _load_converted(state, method.backbone, source="selfsup", file=Path(file))
    except CheckpointError as error:
        foreign = any(word in str(error) for word in ("source=", "prefix=", "key="))
        way = "; `selfsup convert` makes a file of it that is taken here" if foreign else ""
        raise CheckpointError(f"{error}{way}") from None


def load_backbone(
    path: str | Path, backbone: nn.Module, source: str = "selfsup", *, prefix: str = "", key: str = ""
) -> Account:
    """Load pretrained weights into a backbone; nothing is changed unless every tensor is accounted for.

    A BiTResNet also takes the eps of the network that the weights are from, which the account says.

    Args:
        path: a file of weights, read without running code, or a work dir, whose newest checkpoint is taken.
        backbone: what receives the weights.
        source: who wrote the file: ``'selfsup'`` (a training checkpoint, or an exported backbone), ``'timm'``,
            ``'torchvision'``, ``'vissl'`` (SEER and SwAV), ``'swav'``, ``'moco'`` (v1, v2 and v3), ``'simsiam'``,
            ``'byol'`` (its PyTorch ports) or ``'bit'`` (``.npz``).
        prefix: of the names to look at, taken off first, for files that put the network into something larger.
        key: which of several state dicts in the file is wanted, such as ``'state_dict_ema'``, with a dot between the
            names of dicts that lie in one another. Without it the usual one is taken, and the account has the others.

    Returns:
        Where every tensor went and came from.

    Raises:
        CheckpointError: if the source is unknown, the file cannot be read, nothing stands under the key, or a tensor is
            missing, left over, of another shape or kind, not finite, or no number at all; the message says which
            source, prefix or key would fit, if one does. Also if the file or its source states an argument that no
            tensor shows, such as a ViT's heads, and the backbone has another.
    """
    file = checkpoint_file(path) if Path(path).expanduser().is_dir() else Path(path)
    return _load_converted(
        read_weights(file), backbone, source=source, prefix=prefix, key=key, file=file, adapting=True
    )


def _load_converted(
    state: Mapping[str, Any],
    backbone: nn.Module,
    *,
    source: str,
    prefix: str = "",
    key: str = "",
    file: Path,
    adapting: bool = False,
) -> Account:
    own = backbone.state_dict()
    weights, account = convert(
        state,
        own,
        source=source,
        prefix=prefix,
        key=key,
        file=str(file),
        model=class_name(backbone),
        classifier=getattr(backbone, "classifier_tensors", None),
    )
    theirs = check_architecture(file, state, backbone, source=source, adapting=adapting)
    backbone.load_state_dict(split_state({**own, **weights}, backbone))
    return replace(account, adapted=adapt(backbone, theirs.get("eps")))
