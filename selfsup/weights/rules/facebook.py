"""The PyTorch files of facebookresearch's swav, moco, moco-v3 and simsiam: torchvision's ResNet, or timm's ViT.

Source: the loading code of each repository: swav/eval_linear.py, moco/main_lincls.py, moco-v3/main_lincls.py and
moco/builder.py, simsiam/main_lincls.py. All were trained by DistributedDataParallel, whose ``module.`` some lost.
"""

from selfsup.weights.rules import resnet, vit
from selfsup.weights.rules.rule import Layout, Rule, into, under

HEAD, TEACHER = "projection head", "teacher"
_DDP = r"(?:module\.)?"
_TRUNK = (*resnet.TRUNK, *vit.TRUNK)
_FC = (Rule(r"fc\..+", ignored=HEAD), Rule(r"head\..+", ignored=HEAD))


def _encoder(name: str) -> tuple[Rule, ...]:
    return under(rf"{_DDP}{name}\.", (*_TRUNK, *_FC))


def _skip(pattern: str, why: str) -> Rule:
    return Rule(_DDP + pattern, ignored=why)


SWAV = (
    Layout(
        _DDP + r"conv1\.weight",
        (*under(_DDP, resnet.TRUNK), _skip(r"projection_head\..+", HEAD), _skip(r"prototypes\..+", "prototypes")),
    ),
)
SWAV_METHOD = (
    Layout(
        _DDP + r"prototypes\.weight",
        (
            *into("backbone.", under(_DDP, resnet.TRUNK)),
            *under(
                _DDP,
                (Rule(r"projection_head\.(.+)", r"neck.mlp.\1"), Rule(r"prototypes\.weight", "prototypes.weight")),
            ),
        ),
    ),
)
MOCO = (
    Layout(  # v1 and v2
        _DDP + r"encoder_q\..+",
        (*_encoder("encoder_q"), _skip(r"encoder_k\..+", TEACHER), _skip(r"queue(?:_ptr)?", "queue")),
    ),
    Layout(  # v3
        _DDP + r"base_encoder\..+",
        (
            *_encoder("base_encoder"),
            _skip(r"momentum_encoder\..+", TEACHER),
            _skip(r"predictor\..+", "predictor"),
        ),
    ),
)
MOCO_NETWORK = {"type": "ViT", "num_heads": 12, "pool": "token"}  # moco-v3/vits.py: its ViT-S too
SIMSIAM = (Layout(_DDP + r"encoder\.conv1\.weight", (*_encoder("encoder"), _skip(r"predictor\..+", "predictor"))),)
