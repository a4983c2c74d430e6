"""A classifier as a file: a backbone, its head, the names of the classes, and how images are shown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfsup.backbones.pooling import pool_map
from selfsup.config import validate_component
from selfsup.data.input_contract import InputContract
from selfsup.errors import CheckpointError, under
from selfsup.evaluation.representation import Classifier
from selfsup.ops.launch import local_device
from selfsup.registry import BACKBONES, NECKS
from selfsup.weights.card import card_path, read_card
from selfsup.weights.export import Exported, export
from selfsup.weights.read import read_weights
from selfsup.weights.settings import without_fetching
from selfsup.weights.write import write_weights

MODEL = "model.safetensors"
"""What a transfer calls the classifier that it leaves in its work dir."""


def save_classifier(backbone: nn.Module, head: nn.Sequential, path: Path, card: Mapping[str, Any]) -> None:
    """Write a classifier and its card.

    Args:
        backbone: what the card's ``backbone`` builds.
        head: what follows it, a linear layer last.
        path: the file, which ends in ``.safetensors``.
        card: see :func:`~selfsup.weights.card.weights_card`, and ``classes`` (names in the order of the logits),
            ``neck`` (the dict of what comes before the last layer, or None), ``layer`` and ``test`` (its scores).

    Raises:
        CheckpointError: if it cannot be written.
    """
    parts = {"backbone": backbone, "classifier": head[-1], **({"neck": head[0]} if len(head) > 1 else {})}
    tensors = {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}
    write_weights(tensors, path, card)


def load_classifier(path: str | Path, *, device: str | None = None, batch_size: int = 64) -> Classifier:
    """A classifier that a transfer has left.

    >>> classifier = selfsup.transfer.load_classifier("work_dirs/transfer_pets")  # doctest: +SKIP
    >>> logits = classifier.logits(selfsup.data.ImageList("photos"))  # doctest: +SKIP
    >>> [classifier.classes[best] for best in logits.argmax(1)]  # doctest: +SKIP

    Args:
        path: the file, or the work dir.
        device: where it computes; None takes the GPU where there is one.
        batch_size: images at a time.

    Raises:
        CheckpointError: if there is no such file, or it is no classifier.
    """
    file, card = classifier_file(path)
    place = f"{card_path(file)}: backbone"
    architecture = without_fetching(card["backbone"])
    validate_component(architecture, "backbone", source=place)
    with under(place):
        backbone: Any = BACKBONES.build(architecture)
    tensors, neck = read_weights(file), None
    if card.get("neck") is not None:
        neck = NECKS.build(dict(card["neck"]), in_dim=backbone.out_dim)
    if "classifier.weight" not in tensors:
        raise CheckpointError.at(str(file), "has no tensor classifier.weight")
    classifier = nn.Linear(tensors["classifier.weight"].shape[1], len(card["classes"]))
    parts = nn.ModuleDict({"backbone": backbone, "classifier": classifier, **({} if neck is None else {"neck": neck})})
    try:
        parts.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise CheckpointError.at(str(file), f"its tensors are not those of its card ({error})") from None
    where = local_device(device)
    parts.eval().requires_grad_(False).to(where)
    head = nn.Sequential(*(part for part in (neck, classifier) if part is not None))
    contract = InputContract.of_card(card, str(card_path(file)))
    return Classifier(
        backbone,
        contract,
        head=head,
        classes=card["classes"],
        name=str(path),
        layer=card.get("layer", "pooled"),
        batch_size=batch_size,
    )


def classifier_file(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of a classifier that a path means, and its card.

    Raises:
        CheckpointError: if there is none, or it is no classifier.
    """
    file = Path(path).expanduser()
    file = file / MODEL if file.is_dir() else file
    if not file.is_file():
        raise CheckpointError.at(
            str(path), f"no such file, and no {MODEL} in it", expected="selfsup transfer makes one"
        )
    card = read_card(file)
    if card is None or "classes" not in card:
        raise CheckpointError.at(
            str(file), "has no head with named classes", expected="a file that selfsup transfer has made"
        )
    return file, card


def export_classifier(path: str | Path, out: str | Path, *, format: str) -> Exported:
    """A classifier with its head for other programs: ``'onnx'`` or ``'torch-export'``.

    It takes normalized images, see ``preprocess`` in the card, and gives logits; what was written is run and compared.

    Raises:
        CheckpointError: see :func:`~selfsup.weights.export.export`; also for formats that have no place for a head.
    """
    if format not in ("onnx", "torch-export"):
        raise CheckpointError.at("--format", "a classifier is exported as onnx or torch-export", got=format)
    file, card = classifier_file(path)
    classifier = load_classifier(file, device="cpu")
    return export(_Whole(classifier).eval(), card, out, format=format, source=file)


class _Whole(nn.Module):
    """Normalized images (B, 3, H, W) to logits (B, C)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.backbone: Any = classifier.backbone
        self.head: Any = classifier.head
        self.layer = classifier.layer

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The score of every class."""
        if self.layer == "pooled":
            return self.head(self.backbone(images))
        return self.head(pool_map(self.backbone.feature_maps(images), self.layer))


@torch.no_grad()
def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """The softmax of logits (N, C), float32."""
    return logits.float().softmax(dim=1)
