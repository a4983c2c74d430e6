"""BYOL's ports to PyTorch; the paper's own files are pickles of JAX objects and are rejected.

Source: lucidrains/byol-pytorch (the whole learner, or the network it was given, which is torchvision's),
sthalles/PyTorch-BYOL and yaox12/BYOL-PyTorch (torchvision's children in a row). DeepMind's ``.pkl`` needs its code to
be read. Its tensors would fit, the network would not: it pads on the right and below only where it takes every second
pixel, so that features differ from those of any PyTorch ResNet; ports of it to PyTorch keep torchvision's names.
"""

from selfsup.weights.rules import resnet
from selfsup.weights.rules.facebook import HEAD, TEACHER
from selfsup.weights.rules.rule import Layout, Rule, under

_BEFORE = r"(?:module\.)?(?:learner\.)?"
_HEAD = Rule(r"(?:fc|projet?c?tion|projector)\..+", ignored=HEAD)
_AROUND = under(
    _BEFORE,
    (
        Rule(r"target_(?:network|encoder)\..+", ignored=TEACHER),
        Rule(r"(?:online_)?predictor\..+", ignored="predictor"),
        Rule(r"augment[12]\..+", ignored="constants of the augmentation"),
    ),
)

BYOL = (
    Layout(
        _BEFORE + r"online_encoder\.net\.conv1\.weight",
        (
            *under(_BEFORE + r"online_encoder\.net\.", (*resnet.TRUNK, _HEAD)),
            *under(_BEFORE + r"online_encoder\.", (_HEAD,)),
            Rule(_BEFORE + r"net\..+", ignored="the encoder under its second name"),
            *_AROUND,
        ),
    ),
    Layout(
        _BEFORE + r"online_network\.encoder\.0\.weight",
        (
            *under(_BEFORE + r"online_network\.encoder\.", resnet.BY_NUMBER),
            *under(_BEFORE + r"online_network\.", (_HEAD,)),
            *_AROUND,
        ),
    ),
    Layout(r"encoder\.0\.weight", (*under(r"encoder\.", resnet.BY_NUMBER), _HEAD)),
    Layout(r"(?:module\.)?conv1\.weight", under(r"(?:module\.)?", (*resnet.TRUNK, _HEAD))),
)
