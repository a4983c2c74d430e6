"""Backbones that each break one promise."""

import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.contracts.rejection import Broken
from tests.contracts.sound import Net

ONE_MAP: dict[str, Any] = {"sizes": (32, (48, 32)), "strides": (4,), "pools_last_map": True}


class Raises(Net):
    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2] > 100
        return super().forward(images)


class Locked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Pair(Net):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(images), images


class Double(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).double()


class Infinite(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 0


class Writes(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.sub_(0.5))


class MovesInEval(Net):
    def forward(self, images: Tensor) -> Tensor:
        self.bn.running_mean += 1
        return super().forward(images)


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


class CountsInTraining(Counts):
    modes = (True,)


class CountsForTraining(CountsInTraining):
    def factor(self) -> float:
        return 1.0 + self.calls * self.training


class DrawsInEval(Net):
    def forward(self, images: Tensor) -> Tensor:
        torch.rand(1)
        return super().forward(images)


class Seeds(Net):
    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            torch.manual_seed(0)
        return super().forward(images)


class Constant(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images * 0)


class LooksAtTheBatch(Net):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features - features.mean(dim=0)


class OneSize(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.view(-1, 3, 32, 32))


class Squares(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, : 6 if images.shape[2] == images.shape[3] else 5]


class Settles(Net):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        self.eval()
        return features


class HalfDetached(Net):
    def forward(self, images: Tensor) -> Tensor:
        first, last = super().forward(images).chunk(2, dim=1)
        return torch.cat([first, last.detach()], dim=1)


class EverySecondDetached(Net):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return torch.where(torch.arange(6, device=images.device) % 2 == 0, features.detach(), features)


class Unused(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)


class FrozenInEval(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if self.training else super().forward(images).detach()


class InfiniteGradient(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + (0 * self.bn.bias).sqrt().sum()


class LearnsNothing(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach() + 0 * torch.stack([p.sum() for p in self.parameters()]).sum()


class Outside(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(6)


class Listed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(6, 6)]


class SharesWeights(Net):
    def __deepcopy__(self, memo: Any) -> "SharesWeights":
        other = type(self)()
        other.conv.weight = self.conv.weight
        return other


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


class LooksAtStrides(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1.0 if images.is_contiguous() else 2.0)


class Exact(Net):
    def forward(self, images: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise TypeError("float32 only")
        return super().forward(images)


class Coarse(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (1.0 if not torch.is_autocast_enabled("cpu") else 1.5)


class Backwards(Net):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return 2 * features.detach() - features if torch.is_autocast_enabled("cpu") else features


class Looks(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (2.0 if float(images.abs().sum()) < 0 else 1.0)


class NarrowWithoutMemory(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, : 3 if images.is_meta else 6]


BROKEN = [
    Broken(partial(SimpleNamespace, out_dim=6), "must be a torch.nn.Module"),
    Broken(lambda: Net(None), "out_dim must be an int > 0, known before the first forward pass, got None"),
    Broken(lambda: Net(True), "out_dim must be an int > 0, known before the first forward pass, got True"),
    Broken(Raises, "must take inputs of shape (3, 3, 32, 32) in training mode: AssertionError: "),
    Broken(Locked, "must be copyable, as teachers are deep copies: TypeError: cannot pickle '_thread.lock' object"),
    Broken(Pair, "the features in training mode must be a tensor, got tuple"),
    Broken(lambda: Net(5), "the features in training mode must have shape (3, 5), got (3, 6)"),
    Broken(Double, "the features in training mode must be float32 as the input, got torch.float64"),
    Broken(Infinite, "the features in training mode must be finite for normal inputs"),
    Broken(Writes, "must not write to its input, but does in training mode"),
    Broken(
        Settles,
        "must leave the training flags as they were, but in training mode not of the module itself, conv, bn",
    ),
    Broken(MovesInEval, "must leave its state alone in eval mode, or an evaluation would change the training"),
    Broken(Counts, "must give the same output twice in eval mode"),
    Broken(DrawsInEval, "must leave the global random generators alone in eval mode"),
    Broken(Seeds, "must not seed a global random generator, but in training mode PyTorch's is in the same state "),
    Broken(Constant, "the features of different inputs must differ in eval mode, but they are the same"),
    Broken(
        LooksAtTheBatch,
        "the output for an image must not depend on the others of its batch in eval mode, but differs by ",
    ),
    Broken(OneSize, "must take images of 48 x 32 pixels after those of 32: RuntimeError: "),
    Broken(Squares, "features of images of 48 x 32 pixels have shape (3, 5)"),
    Broken(
        Unused,
        "a gradient must reach every trainable parameter in training, or several processes wait for each other for "
        "ever; none reaches head.weight, head.bias",
    ),
    Broken(FrozenInEval, "a gradient must reach every trainable parameter in eval mode, or several processes wait "),
    Broken(InfiniteGradient, "gradients must be finite in training; that of bn.bias is not"),
    Broken(LearnsNothing, "nothing is learnt in training: the gradient of every parameter is zero"),
    Broken(
        HalfDetached,
        "a gradient must reach parameters from all of the features, but none does from the last half of their "
        "dimensions",
    ),
    Broken(
        EverySecondDetached,
        "a gradient must reach parameters from all of the features, but none does from every second of their "
        "dimensions",
    ),
    Broken(
        Outside,
        "tensors must be parameters or buffers, and layers submodules, or they are neither saved nor moved to a "
        "device; scale is neither",
    ),
    Broken(Listed, "tensors must be parameters or buffers, and layers submodules, or they are neither saved nor "),
    Broken(SharesWeights, "a copy must share no tensor with it, but does share conv.weight"),
    Broken(Unloadable, "its state dict must load into another of its kind: KeyError: 'conv.kernel'"),
    Broken(
        CountsInTraining,
        "must give the same output once its state dict is loaded into another of its kind, but not in eval mode",
    ),
    Broken(
        CountsForTraining,
        "must give the same output once its state dict is loaded into another of its kind, but not in training mode",
    ),
    Broken(LooksAtStrides, "must give the same for channels-last images, but differs by "),
    Broken(Exact, "must work under bfloat16 autocast: TypeError: float32 only"),
    Broken(Coarse, "must give nearly the same under bfloat16 autocast, but is off by "),
    Broken(Backwards, "gradients under bfloat16 autocast must point where those of float32 do, but their cosine is -"),
    Broken(Looks, "must run on the meta device, where --dry-run counts its multiply-adds: "),
    Broken(NarrowWithoutMemory, "features have shape (3, 3) on the meta device"),
]
"""Each is checked with ``ONE_MAP``, where its own options say nothing else."""


def random_constant() -> tuple[nn.Module, nn.Module]:
    """Two that differ in a constant which their state dict does not hold."""
    return RandomConstant(), RandomConstant()
