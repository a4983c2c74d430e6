"""Weights into a network: every tensor finds its place, or nothing is changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from selfsup.config import validate_component
from selfsup.errors import CheckpointError, under
from selfsup.ops.parts import split_state
from selfsup.registry import BACKBONES
from selfsup.weights.card import card_path, read_card
from selfsup.weights.checkpoint import EXPORTED, Checkpoint, checkpoint_file, list_checkpoints, step_of
from selfsup.weights.load_report import LoadReport, compare
from selfsup.weights.read import read_weights
from selfsup.weights.rules.rule import Translation
from selfsup.weights.rules.sources import SOURCES
from selfsup.weights.settings import check_settings, without_fetching
from selfsup.weights.state_dicts import named
from selfsup.weights.translate import find_weights, mismatch


def load_backbone(
    path: str | Path, backbone: nn.Module, source: str = "selfsup", *, prefix: str = "", key: str = ""
) -> LoadReport:
    """Load pretrained weights into a backbone; nothing is changed unless every tensor has its place.

    A BiTResNet also takes the eps of the network that the weights are from, which the report says.

    Args:
        path: a file of weights, read without running code, or a work dir, whose newest checkpoint is taken.
        backbone: what receives the weights. Of a training checkpoint that is the student's ``backbone``, whatever
            network the method evaluates; a teacher's is taken with ``prefix='teacher.backbone.'``.
        source: who wrote the file: ``'selfsup'`` (a training checkpoint, or an exported backbone), ``'timm'``,
            ``'torchvision'``, ``'vissl'`` (SEER and SwAV), ``'swav'``, ``'moco'`` (v1, v2 and v3), ``'simsiam'``,
            ``'byol'`` (its PyTorch ports) or ``'bit'`` (``.npz``).
        prefix: of the names to look at, taken off first, for files that put the network into something larger.
        key: which of several state dicts in the file is wanted, such as ``'state_dict_ema'``, with a dot between the
            names of dicts that lie in one another. Without it the usual one is taken, and the report has the others.

    Returns:
        Where every tensor went and came from.

    Raises:
        CheckpointError: if the source is unknown, the file cannot be read, nothing stands under the key, or a tensor is
            missing, unexpected, of another shape or type, or not finite; it says which source, prefix or key would
            fit. Also if the file or its source states an argument that no tensor shows, such as a ViT's heads, and the
            backbone has another.
    """
    file = checkpoint_file(path) if Path(path).expanduser().is_dir() else Path(path)
    return fill_backbone(backbone, read_weights(file), file, source, prefix=prefix, key=key, adapting=True)


def fill_backbone(
    backbone: nn.Module, state: Mapping[str, Any], file: Path, source: str = "selfsup", **how: Any
) -> LoadReport:
    """:func:`load_backbone` from what a file holds; see :func:`find_weights` for the other arguments."""
    weights, report = find_weights(state, backbone, file=file, source=source, **how)
    backbone.load_state_dict(split_state({**backbone.state_dict(), **weights}, backbone))
    return report


def load_checkpoint(module: nn.Module, checkpoint: Checkpoint, weights: Mapping[str, Tensor] | None = None) -> None:
    """Copy the weights of a checkpoint into a whole method whose backbone computes the same.

    ``weights`` are what is copied, if that is not the checkpoint's ``model`` as it is.

    Raises:
        CheckpointError: if a tensor does not find its place, or the backbone is another by the card or the config in
            the file; nothing is changed then.
    """
    given = checkpoint.model if weights is None else weights
    if hasattr(given, "parts_like"):  # of a folder, where each process reads its own rows
        given = given.parts_like(module.state_dict())
    tensors = named(given)
    report = compare(Translation(weights=tensors), module.state_dict(), dispensable=None)
    if not report.complete:
        raise mismatch(str(checkpoint.path), module, report)
    if isinstance(backbone := getattr(module, "backbone", None), nn.Module) and checkpoint.path is not None:
        check_settings(checkpoint.path, backbone, config=checkpoint.config)
    module.load_state_dict(split_state(tensors, module))


def trained_backbone(path: str | Path) -> nn.Module:
    """Build the network of a file of weights by its card, and load it.

    The card decides which network is built, and nothing else: it can only name a registered backbone.

    Args:
        path: the work dir of a finished run, or a file with its card, as training, ``selfsup convert`` and
            ``selfsup export`` write them.

    Returns:
        The backbone in eval mode, on the CPU. It takes normalized images; the card says range, mean and std.

    Raises:
        CheckpointError: if there is no such file or card, the run has gone on since, or the weights do not fit.
        ConfigError: if the card describes no backbone that can be built here.
    """
    file = exported_file(Path(path).expanduser())
    place = f"{card_path(file)}: backbone"
    card = read_card(file)
    if card is None:
        raise CheckpointError.at(
            place, f"no card says which network has the weights of {file.name}; build it and use load_backbone"
        )
    architecture = without_fetching(card["backbone"])
    validate_component(architecture, "backbone", source=place)
    with under(place):
        backbone: nn.Module = BACKBONES.build(architecture)
    written_as = card.get("format")
    load_backbone(file, backbone, written_as if written_as in SOURCES else "selfsup")
    return backbone.eval()


def exported_file(path: Path) -> Path:
    """The file of weights that a path means: itself, or what a run has left in its work dir.

    Raises:
        CheckpointError: if there is none, or a checkpoint of the work dir is of a later step.
    """
    if path.is_file():
        return path
    file = next((path / name for name in EXPORTED if (path / name).is_file()), None)
    checkpoints = list_checkpoints(path)
    if file is None:
        unfinished = ", as the run has not come to its end" if checkpoints else ""
        wanted = "a file of weights with its card, or the work dir of a finished run"
        raise CheckpointError.at(
            str(path), f"no such file, and no {' or '.join(EXPORTED)} in it{unfinished}", expected=f"name {wanted}"
        )
    step = (read_card(file) or {}).get("step")
    if checkpoints and isinstance(step, int) and step_of(checkpoints[-1]) > step:
        what = f"{file.name} is of step {step}, and the run has come to step {step_of(checkpoints[-1])} since"
        raise CheckpointError.at(str(path), what, expected=f"let it finish (--resume), or name {file}")
    return file
