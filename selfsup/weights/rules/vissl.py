"""VISSL, whose SEER and SwAV checkpoints hold a trunk of feature blocks and a list of heads.

Source: facebookresearch/vissl, vissl/models/trunks/{regnet,regnet_fsdp,resnext}.py, heads/swav_prototypes_head.py and
utils/checkpoint.py. The trunk of a RegNet is ClassyVision's under ``_feature_blocks``, stages counted from ``res2``;
the FSDP variant puts blocks into parts; a ResNet is torchvision's.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from selfsup.errors import CheckpointError
from selfsup.weights.rules import regnet, resnet
from selfsup.weights.rules.rule import Layout, Rule, into, under
from selfsup.weights.state_dicts import named

HEADS = "heads"
_TRUNK = r"(?:trunk\.)?(?:base_model\.)?_feature_blocks\."
_BLOCK = r"res\d\.(?:block\d-part\d+\.)?block(\d)-(\d+)"
_HEAD = r"heads\.\d+\.(?:\d+\.)?"

_REGNET = under(_TRUNK, (*regnet.stem_rules(r"conv1\.stem"), *regnet.block_rules(regnet.CLASSY, _BLOCK)))
_RESNET = under(_TRUNK, resnet.TRUNK)
_SWAV_HEAD = under(
    _HEAD,
    (
        Rule(r"projection_head\.(.+)", r"neck.mlp.\1"),
        Rule(r"prototypes0\.weight", "prototypes.weight"),
        Rule(r"clf\..+", ignored="classifier"),
    ),
)


def tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a VISSL checkpoint, under ``trunk.`` and ``heads.``; those of any other file by its own names.

    Raises:
        CheckpointError: if the file holds a part of each tensor or the names of other files, as FSDP writes them.
    """
    kind = state.get("type", "consolidated")
    if isinstance(kind, str) and kind != "consolidated":
        right = "VISSL's extra_scripts/convert_sharded_checkpoint.py -t consolidated puts it together"
        raise CheckpointError.at("", "must be all of a sharded model", got=kind, expected=right)
    model: Any = state
    for key in ("classy_state_dict", "base_model", "model"):
        model = model.get(key) if isinstance(model, Mapping) else None
    if not isinstance(model, Mapping):  # a trunk alone, or no file of VISSL's
        return {_plain(name): value for name, value in named(state.get("model_state_dict", state)).items()}
    heads = model.get("heads")
    if isinstance(heads, (list, tuple)):  # as FSDP keeps them
        heads = {f"{number}.{name}": value for number, head in enumerate(heads) for name, value in named(head).items()}
    return {
        _plain(f"{part}.{name}"): value
        for part, held in (("trunk", model.get("trunk")), (HEADS, heads))
        for name, value in named(held).items()
    }


def _plain(name: str) -> str:
    """The name without what FSDP inserts into it."""
    return name.replace("_fsdp_wrapped_module.", "").replace("_fpw_module.", "")


_IGNORED = (Rule(r"heads\..+", ignored=HEADS),)
BACKBONE = (
    Layout(_TRUNK + r"conv1\.stem\.0\.weight", (*_REGNET, *_IGNORED)),
    Layout(_TRUNK + r"layer1\..+", (*_RESNET, *_IGNORED)),
)
METHOD = tuple(
    Layout(layout.marker, (*into("backbone.", layout.rules[: -len(_IGNORED)]), *_SWAV_HEAD)) for layout in BACKBONE
)
