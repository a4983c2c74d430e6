"""Backbones that each break one rule."""

import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.contracts.rejection import Broken, changed
from tests.contracts.sound import Net

ONE_MAP: dict[str, Any] = {"sizes": (32, (48, 32)), "strides": (4,), "pools_last_map": True}


def net(forward: Any) -> type:
    """``forward`` of the backbone and the images."""
    return changed(Net, forward=forward)


def gives(change: Any) -> type:
    """Features are changed."""
    return changed(Net, forward=lambda self, images: change(Net.forward(self, images)))


def maps(change: Any) -> type:
    """Every feature map is changed."""
    return changed(Net, feature_maps=lambda self, images: [change(each) for each in Net.feature_maps(self, images)])


def holds(**attributes: Any) -> Any:
    """Has more attributes."""

    def make() -> Net:
        made = Net()
        for name, value in attributes.items():
            setattr(made, name, value())
        return made

    return make


class Counts(Net):
    """Keeps the number of calls where no state dict sees it."""

    modes: tuple[bool, ...] = (True, False)

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training in self.modes
        return super().forward(images) * self.factor()

    def factor(self) -> float:
        return 1.0 + self.calls

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        self.calls += self.modes == ()
        return [each * self.factor() for each in super().feature_maps(images)]


class MovesInEval(Net):
    def forward(self, images: Tensor) -> Tensor:
        self.bn.running_mean += 1
        return super().forward(images)


class Unloadable(Net):
    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        raise KeyError("conv.kernel")


class RandomConstant(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(6) + 1, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.scale

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each * self.scale[:, None, None] for each in super().feature_maps(images)]


def autocast(change: Any) -> type:
    """Features are changed under autocast."""
    return gives(lambda features: change(features) if torch.is_autocast_enabled("cpu") else features)


def _float32_only(features: Tensor) -> Tensor:
    raise TypeError("float32 only")


BROKEN = [
    Broken(partial(SimpleNamespace, out_dim=6), "must be a torch.nn.Module"),
    Broken(lambda: Net(None), "out_dim must be an int > 0, known before the first forward pass, got None"),
    Broken(net(lambda self, images: images[:, :, 100]), "must take its inputs in training mode: IndexError"),
    Broken(holds(lock=threading.Lock), "must be copyable"),
    Broken(gives(lambda features: (features, features)), "must be a tensor, got tuple"),
    Broken(lambda: Net(5), "must have shape (3, 5), got (3, 6)"),
    Broken(gives(Tensor.double), "must be float32 as the input, got torch.float64"),
    Broken(gives(lambda features: features / 0), "must be finite"),
    Broken(net(lambda self, images: Net.forward(self, images.sub_(0.5))), "must not write to its input"),
    Broken(MovesInEval, "must not change its state in eval mode"),
    Broken(gives(lambda features: features + 0 * torch.rand(1)), "must not change the global random generators"),
    Broken(Counts, "must give the same twice in eval mode"),
    Broken(net(lambda self, images: Net.forward(self, images * 0)), "different inputs must differ"),
    Broken(gives(lambda features: features - features.mean(dim=0)), "must not depend on the others of its batch"),
    Broken(net(lambda self, images: Net.forward(self, images.view(-1, 3, 32, 32))), "must take images of 48 x 32"),
    Broken(
        net(lambda self, images: Net.forward(self, images)[:, : 6 if images.shape[2] == images.shape[3] else 5]),
        "features of images of 48 x 32 pixels must have shape (3, 6), got (3, 5)",
    ),
    Broken(
        holds(head=lambda: nn.Linear(6, 2)), "trainable parameter in training mode, .* reaches head.weight, head.bias"
    ),
    Broken(
        net(lambda self, x: Net.forward(self, x) if self.training else Net.forward(self, x).detach()),
        "trainable parameter in eval mode",
    ),
    Broken(
        net(lambda self, images: Net.forward(self, images) + (0 * self.bn.bias).sqrt().sum()),
        "gradients must be finite in training mode; that of bn.bias",
    ),
    Broken(
        net(lambda self, x: Net.forward(self, x).detach() + 0 * sum(p.sum() for p in self.parameters())),
        "the gradient of every parameter is zero",
    ),
    Broken(holds(scale=lambda: torch.ones(6)), "must be parameters or buffers.*; scale is neither"),
    Broken(holds(layers=lambda: [nn.Linear(6, 6)]), "layers submodules.*; layers is neither"),
    Broken(Unloadable, "must load into another of its kind: KeyError: 'conv.kernel'"),
    Broken(changed(Counts, modes=(True,)), "not in eval mode"),
    Broken(
        changed(Counts, modes=(True,), factor=lambda self: 1.0 + self.calls * self.training),
        "not in training mode",
    ),
    Broken(
        net(lambda self, images: Net.forward(self, images) * (1.0 if images.is_contiguous() else 2.0)),
        "must give the same for channels-last images",
    ),
    Broken(autocast(_float32_only), "must work under bfloat16 autocast: TypeError: float32 only"),
    Broken(autocast(lambda features: 1.5 * features), "nearly the same under bfloat16 autocast"),
    Broken(
        net(lambda self, images: Net.forward(self, images) * (2.0 if float(images.abs().sum()) < 0 else 1.0)),
        "must run on the meta device",
    ),
]
"""Each is checked with ``ONE_MAP``, where its own options say nothing else."""

FEATURE_MAPS = [
    Broken(changed(Net, feature_maps=None), "must have feature_maps(images)"),
    Broken(Net, "must be a list of 2 tensors, got 1", options={"strides": (4, 8)}),
    Broken(Net, "feature map 0 must have shape (3, 6, 4, 4), got (3, 6, 8, 8)", options={"strides": (8,)}),
    Broken(maps(lambda each: each[0]), "feature map 0 must have shape (3, 1, 8, 8), got (6, 8, 8)"),
    Broken(maps(Tensor.detach), "a gradient must reach parameters from feature map 0"),
    Broken(maps(lambda each: each - each.mean(dim=0)), "must not depend on the others of its batch"),
    Broken(maps(lambda each: 2 * each), "the features must be the mean of the last map"),
]


def random_constant() -> tuple[nn.Module, nn.Module]:
    """Two that differ in a constant which their state dict does not hold."""
    return RandomConstant(), RandomConstant()
