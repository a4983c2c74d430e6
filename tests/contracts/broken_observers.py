"""Evaluators that each break one rule."""

from typing import Any

import torch
from torch import nn

from tests.contracts.rejection import Broken
from tests.contracts.sound import Evaluate

Scores = dict[str, float]


class Fails(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        raise FileNotFoundError("labels.csv")


class LeavesEval(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        return super().evaluate(backbone.eval())


class Freezes(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        return super().evaluate(backbone.requires_grad_(False))


class LeavesHook(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        backbone.register_forward_hook(lambda *_: None)
        return super().evaluate(backbone)


class InTraining(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        backbone(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
        return super().evaluate(backbone)


class Halves(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        scores = super().evaluate(backbone)
        backbone.bfloat16()
        return scores


class Draws(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        torch.rand(1)
        return super().evaluate(backbone)


class SwitchesOff(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        torch.set_grad_enabled(False)
        return super().evaluate(backbone)


class Doubles(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        scores = super().evaluate(backbone)
        torch.set_default_dtype(torch.float64)
        return scores


class Hurries(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().evaluate(backbone)


class Determines(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        torch.use_deterministic_algorithms(True)
        return super().evaluate(backbone)


class LeavesGradients(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        weight = list(backbone.parameters())[-1]
        weight.grad = torch.zeros_like(weight)
        return super().evaluate(backbone)


class Tires(Evaluate):
    """Its third evaluation gives something else."""

    def __init__(self) -> None:
        self.calls = 0

    def evaluate(self, backbone: nn.Module) -> Scores:
        self.calls += 1
        return {name: value / (1 if self.calls < 3 else 2) for name, value in super().evaluate(backbone).items()}


class Flatters(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        return {"top1": 0.9}


class Alone(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Any:
        return super().evaluate(backbone)["mean"]


class Silent(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        return {}


class Numbered(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Any:
        return {1: super().evaluate(backbone)["mean"]}


class AsTensor(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Any:
        return {"top1": torch.tensor(super().evaluate(backbone)["mean"])}


class NotANumber(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        return {"top1": float("nan")}


class Percent(Evaluate):
    def evaluate(self, backbone: nn.Module) -> Scores:
        return {"top1": 50.0 + super().evaluate(backbone)["mean"]}


SWITCHED = "must leave PyTorch's switches as they were, but "

EVALUATORS = [
    Broken(int, "must have evaluate(backbone)"),
    Broken(lambda: nn.Linear(3, 3), "must have evaluate(backbone)"),
    Broken(Fails, "evaluate(backbone) must not raise: FileNotFoundError: labels.csv"),
    Broken(LeavesEval, "must leave the training flags as they were, but not of the backbone itself, bn, dropout"),
    Broken(Freezes, "must leave requires_grad as it was, but not of conv.bias, bn.weight, bn.bias"),
    Broken(LeavesHook, "must leave no hooks behind, but does on the backbone itself"),
    Broken(InTraining, "must not change the backbone's weights or statistics"),
    Broken(Halves, "must not change the backbone's weights or statistics"),
    Broken(Draws, "must not draw from a global random generator"),
    Broken(SwitchesOff, f"{SWITCHED}torch.is_grad_enabled() is False instead of True"),
    Broken(Doubles, f"{SWITCHED}torch.get_default_dtype() is torch.float64 instead of torch.float32"),
    Broken(Hurries, f"{SWITCHED}torch.get_num_threads() is "),
    Broken(Determines, f"{SWITCHED}torch.get_deterministic_debug_mode() is 2 instead of 0"),
    Broken(LeavesGradients, "must leave no gradients behind, but does in bn.bias"),
    Broken(Tires, "must give the same scores again, and for a backbone in eval mode, but the third time they are "),
    Broken(Flatters, "must look at the backbone, but 5 others have the same scores: {'top1': 0.9}"),
    Broken(Alone, "evaluate must return a dict, got float"),
    Broken(Silent, "evaluate must return at least one score"),
    Broken(Numbered, "names of scores must be text, got 1"),
    Broken(AsTensor, "score 'top1' must be a float, got Tensor: tensor("),
    Broken(NotANumber, "score 'top1' must be finite, got nan"),
    Broken(Percent, "score 'top1' must be a fraction in [0, 1], got 50."),
]
