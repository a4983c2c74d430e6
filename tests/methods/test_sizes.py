"""Whole methods have the published number of parameters."""

from typing import Any

import pytest
import torch

from selfsup.registry import METHODS
from tests.reference import record

NECK = {"type": "ProjectionNeck", "hidden_dims": (2048,), "out_dim": 128}
SIMCLR: dict[str, Any] = {"type": "SimCLR", "backbone": {"type": "ResNet", "depth": 50}}
SIMCLR |= {"neck": NECK | {"bias": False, "last_bn": True}, "loss": {"type": "NTXentLoss", "temperature": 0.1}}
SWAV: dict[str, Any] = {"type": "SwAV", "backbone": {"type": "ResNet", "depth": 50}, "neck": NECK}
SWAV |= {"prototypes": {"type": "Prototypes", "num_prototypes": 3000}, "loss": {"type": "SwAVLoss"}}
SEER = SWAV | {
    "backbone": {"type": "RegNet", "arch": "y_256gf"},
    "neck": {"type": "ProjectionNeck", "hidden_dims": (8192, 8192), "out_dim": 256, "bn": False},
    "prototypes": {"type": "Prototypes", "num_prototypes": 16_000},
}
SIZES = record("params/ssl_r50")["expected"]


@pytest.mark.parametrize(
    ("method", "total"),
    [
        (SWAV, SIZES["swav_r50"]["total"]),
        (SEER, record("seer/head_params")["expected"]["regnety_256gf_seer"]["total"]),
        # the last batch norm only scales in the official code, and shifts too in mmpretrain
        (
            SIMCLR | {"neck": SIMCLR["neck"] | {"last_bn_bias": False}},
            SIZES["resnet50_trunk"]["w1"] + SIZES["simclr_v1_head_tf"],
        ),
        (SIMCLR | {"neck": SIMCLR["neck"] | {"last_bn_bias": True}}, SIZES["simclr_mmpretrain_total"]),
    ],
    ids=["swav", "seer", "simclr", "simclr of mmpretrain"],
)
def test_the_parameters_are_as_many_as_recorded(method: dict[str, Any], total: int) -> None:
    with torch.device("meta"):
        built = METHODS.build(method)
    assert sum(parameter.numel() for parameter in built.parameters()) == total
