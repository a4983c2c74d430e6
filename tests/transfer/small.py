"""Weights of a tiny network, and a few labelled images of three classes that anybody can tell apart."""

from pathlib import Path

import cv2
import numpy as np
import torch

from selfsup.backbones import RegNet
from selfsup.data import InputContract
from selfsup.transfer import Start
from selfsup.weights.card import weights_card
from selfsup.weights.write import write_weights

CLASSES = ("blue", "green", "red")
NETWORK = {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8, "stem_width": 8}
CONTRACT = InputContract(size=16, resize="none", crop="none", mean=(0.5,) * 3, std=(0.25,) * 3)


def write_images(root: Path, *, per_class: int = 12, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    """A folder of noisy squares of 16 pixels, one channel of each class the brightest."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            image = rng.integers(0, 140, (16, 16, 3), dtype=np.uint8)
            if name in CLASSES:
                image[..., CLASSES.index(name)] += 90
            cv2.imwrite(str(root / name / f"{number}.png"), image)
    return root


def write_start(path: Path, *, seed: int = 0) -> Start:
    """Untrained weights with a card."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = RegNet(**NETWORK)
    card = weights_card(
        {"type": "RegNet", **NETWORK},
        network,
        input_contract=CONTRACT,
        recipe={"config": "tiny", "method": "none"},
        step=0,
        license="yours, within the terms of tiny",
    )
    write_weights(network.state_dict(), path, card)
    return Start.open(path)
