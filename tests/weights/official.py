"""Checkpoints in the layouts that the papers' own code writes, transcribed from that code, with random weights."""

import re
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.weights.networks import randomized

State = dict[str, Tensor]


def trunk(model: nn.Module, head: str = "fc.") -> State:
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(head)}


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def averaged(state: State) -> State:
    """Other weights under the same names, as a teacher has them."""
    return {name: tensor + 1 for name, tensor in state.items()}


def mlp(*layers: nn.Module) -> State:
    return randomized(nn.Sequential(*layers), seed=5).state_dict()


def vissl_names(regnet: nn.Module, *, parts: bool = False) -> State:
    """torchvision's RegNet under the names of VISSL's trunk, of its FSDP variant with ``parts``."""
    renamed = {}
    for name, tensor in trunk(regnet).items():
        for theirs, vissl in (
            (r"^stem\.", "_feature_blocks.conv1.stem."),
            (r"\.f\.c\.0\.", ".f.c."),
            (r"\.f\.c\.1\.", ".f.final_bn."),
            (r"\.f\.se\.fc1\.", ".f.se.excitation.0."),
            (r"\.f\.se\.fc2\.", ".f.se.excitation.2."),
            (r"\.proj\.0\.", ".proj."),
            (r"\.proj\.1\.", ".bn."),
        ):
            name = re.sub(theirs, vissl, name)
        stage = re.match(r"trunk_output\.block(\d)\.", name)
        if stage:
            part = f"block{stage[1]}-part0." if parts else ""
            name = f"_feature_blocks.res{int(stage[1]) + 1}.{part}" + name[stage.end() :]
        renamed[name] = tensor
    return renamed


def head_of(*layers: nn.Module) -> tuple[nn.Module, State]:
    """A projection head and its tensors with prototypes."""
    head = randomized(nn.Sequential(*layers), seed=5)
    return head, {**prefixed("projection_head.", head.state_dict()), "prototypes.weight": torch.randn(6, 12)}


def swav_head(in_dim: int) -> tuple[nn.Module, State]:
    """Of the released SwAV networks: one hidden layer, with batch norm."""
    return head_of(nn.Linear(in_dim, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 12))


def seer_head(in_dim: int) -> tuple[nn.Module, State]:
    """Of SEER: two hidden layers without batch norm, ``projection_head.{0,2,4}``."""
    return head_of(nn.Linear(in_dim, 20), nn.ReLU(), nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 12))


def vissl(trunk_state: State, in_dim: int, **more: Any) -> dict[str, Any]:
    """A consolidated VISSL checkpoint with SEER's head."""
    heads = {f"0.{name}": tensor for name, tensor in seer_head(in_dim)[1].items()}
    heads["0.prototypes0.weight"] = heads.pop("0.prototypes.weight")
    return {
        "phase_idx": 3,
        "iteration": 122_000,
        "loss": 6.1,
        "type": "consolidated",
        "classy_state_dict": {
            "train": False,
            "base_model": {"model": {"trunk": trunk_state, "heads": heads}, "meta": {"trunk": {}, "heads": []}},
            "meters": [],
            "optimizer": {"optim": {"state": {}}},
        },
        **more,
    }


def swav(resnet: nn.Module) -> OrderedDict[str, Tensor]:
    """As the released ``swav_800ep_pretrain.pth.tar``: a bare state dict of the DDP-wrapped model."""
    return OrderedDict(prefixed("module.", {**trunk(resnet), **swav_head(512)[1]}))


def moco_v2(resnet: nn.Module) -> dict[str, Any]:
    head = prefixed("fc.", mlp(nn.Linear(512, 16), nn.ReLU(), nn.Linear(16, 8)))
    encoder = {**trunk(resnet), **head}
    teacher = averaged(encoder)
    state = {
        **prefixed("module.encoder_q.", encoder),
        **prefixed("module.encoder_k.", teacher),
        "module.queue": torch.randn(8, 32),
        "module.queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    return {"epoch": 200, "arch": "resnet50", "state_dict": OrderedDict(state), "optimizer": {"state": {}}}


def moco_v3(encoder: nn.Module, head: str) -> dict[str, Any]:
    layers = (nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8, bias=False))
    projector = prefixed(head, mlp(*layers, nn.BatchNorm1d(8, affine=False)))
    whole = {**trunk(encoder, head), **projector}
    teacher = averaged(whole)
    state = {
        **prefixed("module.base_encoder.", whole),
        **prefixed("module.momentum_encoder.", teacher),
        **prefixed("module.predictor.", mlp(*layers)),
    }
    return {"epoch": 300, "arch": "any", "state_dict": state, "optimizer": {}, "scaler": {}}


def simsiam(resnet: nn.Module) -> dict[str, Any]:
    projector = mlp(nn.Linear(512, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))
    predictor = mlp(nn.Linear(16, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 16))
    encoder = prefixed("module.encoder.", {**trunk(resnet), **prefixed("fc.", projector)})
    return {"epoch": 100, "state_dict": {**encoder, **prefixed("module.predictor.", predictor)}}


def _in_a_row(resnet: nn.Module) -> State:
    """``nn.Sequential(*list(resnet.children())[:-1])``, as the ports of BYOL build their encoder."""
    return nn.Sequential(*list(resnet.children())[:-1]).state_dict()


def byol_lucidrains(resnet: nn.Module) -> State:
    projector = prefixed("projector.", mlp(nn.Linear(512, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8)))
    online = {**prefixed("net.", resnet.state_dict()), **projector}
    return {
        **prefixed("net.", resnet.state_dict()),
        "augment1.5.mean": torch.zeros(3),
        **prefixed("online_encoder.", online),
        **prefixed("target_encoder.", averaged(online)),
        **prefixed("online_predictor.", mlp(nn.Linear(8, 8))),
    }


def byol_sthalles(resnet: nn.Module) -> dict[str, Any]:
    head = prefixed("projetion.net.", mlp(nn.Linear(512, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8)))
    online = {**prefixed("encoder.", _in_a_row(resnet)), **head}
    return {
        "online_network_state_dict": online,
        "encoder_state_dict": _in_a_row(resnet),
        "target_network_state_dict": averaged(online),
        "optimizer_state_dict": {},
    }


def byol_yaox12(resnet: nn.Module) -> dict[str, Any]:
    head = {"projetion.l1.weight": torch.randn(16, 512), "projetion.l2.weight": torch.randn(8, 16)}
    online = {**prefixed("encoder.", _in_a_row(resnet)), **head}
    teacher = averaged(online)
    model = {**prefixed("module.online_network.", online), **prefixed("module.target_network.", teacher)}
    model["module.predictor.predictor.l1.weight"] = torch.randn(8, 8)
    return {"config": {"model": {"base_momentum": 0.99}}, "epoch": 1, "steps": 5, "model": model, "amp": {}}


def bit_npz(timm_model: nn.Module) -> dict[str, np.ndarray]:
    """timm's BiT network as the arrays of a released ``.npz``."""
    arrays = {}
    letter = {"1": "a", "2": "b", "3": "c"}
    gamma = {"weight": "gamma", "bias": "beta"}
    for name, tensor in timm_model.state_dict().items():
        array = tensor.numpy()
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)  # OIHW -> HWIO
        if name == "stem.conv.weight":
            key = "root_block/standardized_conv2d/kernel"
        elif name.startswith("norm."):
            key = f"group_norm/{gamma[name[5:]]}"
        elif name.startswith("head."):
            key = f"head/conv2d/{'kernel' if name.endswith('weight') else 'bias'}"
        else:
            stage, block, part = re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)\.(.+)", name).groups()  # type: ignore[union-attr]
            unit = f"block{int(stage) + 1}/unit{int(block) + 1:02d}/"
            if part == "downsample.conv.weight":
                key = unit + "a/proj/standardized_conv2d/kernel"
            elif part.startswith("conv"):
                key = unit + f"{letter[part[4]]}/standardized_conv2d/kernel"
            else:
                key = unit + f"{letter[part[4]]}/group_norm/{gamma[part[6:]]}"
        arrays["resnet/" + key] = np.ascontiguousarray(array)
    return arrays
