"""From what people call weights to a representation: a work dir, a file with a card, or a name of timm's."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfsup.backbones import Timm
from selfsup.data.input_contract import InputContract
from selfsup.errors import CheckpointError
from selfsup.evaluation.representation import Representation
from selfsup.ops.launch import local_device
from selfsup.registry import BACKBONES
from selfsup.weights.card import card_path, read_card, weights_card
from selfsup.weights.digest import digest_of
from selfsup.weights.load import exported_file, load_backbone, trained_backbone
from selfsup.weights.settings import without_fetching
from selfsup.weights.write import write_weights

TIMM = "timm:"


def open_representation(
    spec: str | Path,
    *,
    layer: str = "pooled",
    device: str | torch.device | None = None,
    name: str | None = None,
    cache: Path | None = None,
    precision: Any = "auto",
    flips: bool = False,
    batch_size: int = 64,
    num_workers: int = 2,
    **stated: Any,
) -> Representation:
    """The representation that some weights are, shown images as their card says.

    Args:
        spec: the work dir of a finished run, a file of weights with its card, or ``timm:NAME`` for the weights that
            timm has of a name, with or without a tag.
        layer: see :class:`~selfsup.evaluation.Representation`.
        device: where it computes; None takes the GPU where there is one.
        name: what tables call it; None stands for ``spec``.
        cache, precision, flips: see :class:`~selfsup.evaluation.Representation`.
        batch_size: images at a time.
        num_workers: threads that decode ahead.
        stated: fields of the input contract that count instead of the card's, such as ``size``.

    Raises:
        CheckpointError: if there are no such weights, they have no card, or timm neither has them nor can fetch them.
        ConfigError: if the card does not say how images are shown and ``stated`` does not either.
    """
    text = str(spec)
    if text.startswith(TIMM):
        pretrained = pretrained_timm(text.removeprefix(TIMM))
        backbone: nn.Module = pretrained.backbone
        contract = pretrained.input_contract
    else:
        file = exported_file(Path(text).expanduser())
        backbone = trained_backbone(file)
        card = read_card(file)
        if card is None:  # trained_backbone has rejected it
            raise CheckpointError.at(str(card_path(file)), "no card")
        contract = InputContract.of_card(card, str(card_path(file)))
    where = device if isinstance(device, torch.device) else local_device(device)
    return Representation(
        backbone.eval().to(where),
        contract.replace(**stated),
        name=name or text,
        layer=layer,
        cache=cache,
        precision=precision,
        flips=flips,
        batch_size=batch_size,
        num_workers=num_workers,
    )


def relatives(spec: str) -> Iterator[tuple[str, nn.Module]]:
    """Networks that what some weights are worth is measured by, each with a word for it.

    Args:
        spec: as for :func:`open_representation`.

    Yields:
        ``'untrained'``: the same network with random weights, always the same ones. ``'before training'``: with the
        weights that the training began with, where the card names their file and it is still the same.
    """
    described: Mapping[str, Any] = {"type": "Timm", "name": spec.removeprefix(TIMM)}
    started_from: Mapping[str, Any] = {}
    if not spec.startswith(TIMM):
        card = read_card(exported_file(Path(spec).expanduser())) or {}
        described = without_fetching(card["backbone"])
        started_from = (card.get("recipe") or {}).get("started_from") or {}
    yield "untrained", _drawn(described)
    file = Path(started_from.get("file", ""))
    if started_from and file.is_file() and digest_of(file) == started_from.get("sha256"):
        backbone = _drawn(described)
        with contextlib.suppress(CheckpointError):
            load_backbone(file, backbone)
            yield "before training", backbone


def _drawn(described: Mapping[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        backbone: nn.Module = BACKBONES.build(dict(described))
    return backbone.eval()


@dataclass(frozen=True, eq=False)
class PretrainedTimm:
    """Weights of timm's.

    Args:
        backbone: the network with them, on the CPU.
        input_contract: how timm shows images to it.
        fixed_size: whether it takes images of that size alone.
        license: under which terms they are, as timm says; None if it does not.
    """

    backbone: Timm
    input_contract: InputContract
    fixed_size: bool
    license: str | None


def pretrained_timm(name: str) -> PretrainedTimm:
    """A network of timm's with the weights that timm has in its cache or can download.

    Args:
        name: as in ``timm.list_pretrained()``, such as ``'resnet18'`` or ``'resnet18.a1_in1k'``.

    Raises:
        ConfigError: if timm is missing, or knows no such network.
        CheckpointError: if it has no weights of that name, or neither has them in its cache nor can download them.
    """
    described: dict[str, Any] = dict(Timm(name).model.pretrained_cfg or {})
    if not any(described.get(source) for source in ("url", "hf_hub_id", "file", "state_dict")):
        raise CheckpointError.at(
            f"timm:{name}", "timm has no weights of this name", expected="`timm.list_pretrained()` lists those"
        )
    try:
        backbone = Timm(name, model_args={"pretrained": True})
    except Exception as error:  # of whichever of timm's ways to the network has failed
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0][:160]
        raise CheckpointError.at(
            f"timm:{name}",
            f"the weights are not in timm's cache and cannot be downloaded here ({reason})",
            expected=f"run `python -c \"import timm; timm.create_model('{name}', pretrained=True)\"` where there is a "
            "network and copy its cache (~/.cache/huggingface), or leave them out",
        ) from None
    size = int(described["input_size"][-1])
    crop = float(described.get("crop_pct") or 0.875)
    interpolation = described.get("interpolation")
    return PretrainedTimm(
        backbone,
        InputContract(
            size=size,
            resize=f"shorter:{int(size / crop)}",
            interpolation=interpolation if interpolation in ("bilinear", "bicubic") else "bicubic",
            mean=tuple(described["mean"]),
            std=tuple(described["std"]),
        ),
        fixed_size=bool(described.get("fixed_input_size")),
        license=described.get("license"),
    )


def kept_timm(name: str) -> tuple[Path, PretrainedTimm]:
    """Weights of timm's as a file with its card, which a run can start from and its own card can name.

    Args:
        name: see :func:`pretrained_timm`.

    Returns:
        The file, in the user's cache or, where that cannot be written, in a temporary folder.

    Raises:
        CheckpointError: if the weights cannot be had, or kept.
    """
    found = pretrained_timm(name)
    card = weights_card(
        {"type": "Timm", "name": name},
        found.backbone,
        input_contract=found.input_contract,
        recipe={"config": f"{TIMM}{name}", "method": "pretrained weights of timm"},
        step=None,
        license=found.license or "unknown: see timm's page of the weights",
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "selfsup", "timm")
    for folder in (cache, Path(tempfile.gettempdir(), "selfsup_timm")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_weights(found.backbone.state_dict(), folder / f"{name}.pth", card)
        except (CheckpointError, OSError):
            continue
        return folder / f"{name}.pth", found
    raise CheckpointError.at(f"{cache / name}.pth", "cannot be written")
