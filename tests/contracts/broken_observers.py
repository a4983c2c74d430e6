"""Evaluators and hooks that each break one promise."""

import threading
from typing import Any

import torch
from mmengine.hooks import Hook
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
    """Its third judgement is another."""

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


class Hurried(Hook):
    priority = "AT_ONCE"


class Locked(Hook):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Breaks(Hook):
    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        raise ZeroDivisionError("no batch")


class Ends(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.train_loop.max_iters = 1


class Meddles(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        with torch.no_grad():
            for parameter in runner.method.neck.parameters():
                parameter += 1


class AtTheEnd(Hook):
    """Acts when no loss is left to show it."""

    def after_train(self, runner: Any) -> None:
        self.act(runner)

    def act(self, runner: Any) -> None:
        raise NotImplementedError


class ForgetsStatistics(AtTheEnd):
    def act(self, runner: Any) -> None:
        for part in runner.method.backbone.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.reset_running_stats()


class ForgetsBackbone(AtTheEnd):
    def act(self, runner: Any) -> None:
        with torch.no_grad():
            for parameter in runner.method.backbone.parameters():
                parameter.zero_()


class Hastens(AtTheEnd):
    def act(self, runner: Any) -> None:
        runner.optim_wrapper.optimizer.param_groups[0]["lr"] = 99.0


class Draws(AtTheEnd):
    def act(self, runner: Any) -> None:
        torch.rand(1)


class Settles(AtTheEnd):
    def act(self, runner: Any) -> None:
        runner.method.backbone.eval()


class StopsTraining(AtTheEnd):
    def act(self, runner: Any) -> None:
        runner.method.neck.requires_grad_(False)


LATE = "must not change the training, but at its end these are not as without it: "

HOOKS = [
    Broken(object, "must be an mmengine.hooks.Hook"),
    Broken(Hurried, "its priority must be one of MMEngine's words or a number from 0 to 100, got 'AT_ONCE': "),
    Broken(Locked, "must be copyable: TypeError: cannot pickle '_thread.lock' object"),
    Broken(Breaks, "a training of 3 steps must run to its end with it: ZeroDivisionError: no batch"),
    Broken(Ends, "a training of 3 steps must have as many, got 1"),
    Broken(Meddles, "must not change the training, but the loss of step 2 is "),
    Broken(ForgetsStatistics, f"{LATE}the method's state, the exported backbone; pass observes=False if it is there"),
    Broken(ForgetsBackbone, f"{LATE}the method's state, the exported backbone; pass observes=False if it is there"),
    Broken(Hastens, f"{LATE}the optimizer's state; pass observes=False if it is there to change it"),
    Broken(Draws, f"{LATE}the global random generators; pass observes=False if it is there to change it"),
    Broken(Settles, f"{LATE}the training flags; pass observes=False if it is there to change it"),
    Broken(StopsTraining, f"{LATE}requires_grad; pass observes=False if it is there to change it"),
]
