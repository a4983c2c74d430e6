"""From a file of weights to the network they belong to, by the card beside it."""

from pathlib import Path

from torch import nn

from selfsup.config import validate_component
from selfsup.errors import CheckpointError, under
from selfsup.registry import BACKBONES
from selfsup.weights.architecture import without_fetching
from selfsup.weights.card import card_path, read_card
from selfsup.weights.checkpoint import EXPORTED, list_checkpoints, step_of
from selfsup.weights.load import load_backbone
from selfsup.weights.rules.sources import SOURCES


def trained_backbone(path: str | Path) -> nn.Module:
    """Build the network of a file of weights by its card, and load it.

    The card decides which network is built, and nothing else: it can only name a registered backbone.

    Args:
        path: the work dir of a finished run, or a file with its card beside it, as training, ``selfsup convert`` and
            ``selfsup export`` write them.

    Returns:
        The backbone in eval mode, on the CPU. It takes normalized images; the card says range, mean and std.

    Raises:
        CheckpointError: if there is no such file or no card beside it, if the run has gone on since it wrote the file,
            or if the weights do not fit.
        ConfigError: if the card describes no backbone that can be built here.
    """
    file = exported_file(Path(path).expanduser())
    card = read_card(file)
    if card is None:
        raise CheckpointError(
            f"{card_path(file)}: no card that says which network the weights of {file.name} belong to; build it and "
            "use load_backbone(path, backbone)"
        )
    place = f"{card_path(file)}: backbone"
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
    if not path.is_dir():
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file or work dir")
        return path
    file = next((path / name for name in EXPORTED if (path / name).is_file()), None)
    checkpoints = list_checkpoints(path)
    if file is None:
        unfinished = "the run has not come to its end; let it finish (--resume), or " if checkpoints else ""
        raise CheckpointError(
            f"{path}: holds no {' or '.join(EXPORTED)}; {unfinished}name a file of weights with its card"
        )
    step = (read_card(file) or {}).get("step")
    if checkpoints and isinstance(step, int) and step_of(checkpoints[-1]) > step:
        raise CheckpointError(
            f"{path}: {file.name} is of step {step}, and the run has gone on to step {step_of(checkpoints[-1])} since; "
            f"let it finish (--resume), or name {file}"
        )
    return file
