"""Methods that each break one rule."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.methods import Progress, Teacher
from tests.contracts.rejection import Broken, changed
from tests.contracts.sound import Sound

Parts = dict[str, Any]


def logs(more: Callable[..., Parts]) -> type:
    """``more`` of the loss, the method and the views, beside the loss."""

    def loss(self: Any, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        value = Sound.loss(self, views)["loss"]
        return {"loss": value, **more(value, self, views)}

    return changed(Sound, loss=loss)


class TrainedTeacher(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Linear(6, 1)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"] + self.teacher(self.backbone(views[0])).mean()}


class StillTeacher(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = Teacher.copy_of(self.backbone, self.neck)


class Center(Sound):
    """Subtracts a running mean, as DINO does."""

    in_eval = False
    reduce: Any = staticmethod(lambda center: center)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(6))

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        if self.training or self.in_eval:
            mean = self.backbone(views[0]).detach().float().mean(dim=0)
            self.center.mul_(0.9).add_(self.reduce(mean), alpha=0.1)
        return {"loss": super().loss(views)["loss"] + (self.backbone(views[0]) * self.center).sum()}


class Idle(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.predictor = nn.Linear(4, 4)


class Picky(Sound):
    def check_batch(self, per_process: int, processes: int) -> None:
        if per_process % 8:
            raise ConfigError("model.queue_length: must be a multiple of 8")


class Exact(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        if torch.is_autocast_enabled("cpu"):
            raise TypeError("float32 only")
        return super().loss(views)


class Overflows(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"] * (float("inf") if torch.is_autocast_enabled("cpu") else 1.0)}


class Rescales(Sound):
    def before_step(self, progress: Progress) -> None:
        with torch.no_grad():
            next(self.neck.parameters()).mul_(0.9)


class Remembers(Sound):
    """Keeps the number of steps where no state dict sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def after_step(self, progress: Progress) -> None:
        self.steps += 1

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"] * (1 + self.steps)}


METHODS = [
    Broken(lambda: nn.Linear(3, 3), "must be a selfsup.methods.Method"),
    Broken(changed(Sound, entry_points=("scores",)), "entry_points must be names of its methods, but it has no scores"),
    Broken(changed(Sound, fresh_parts=("clasifier",)), "fresh_parts must be names of its parts, but it has no clasif"),
    Broken(TrainedTeacher, "requires_grad must be off.*on for teacher.weight, teacher.bias"),
    Broken(StillTeacher, "the teacher must follow its student"),
    Broken(changed(Center, in_eval=True, reduce=lambda self, mean: mean), "must not change its state in eval mode"),
    Broken(Center, "loss changes center by the images of its own process alone"),
    Broken(
        changed(Sound, loss=lambda self, views, labels=None: views[3]), "loss must take its inputs in training mode"
    ),
    Broken(changed(Sound, loss=lambda self, views, labels=None: Sound.loss(self, views)["loss"]), "must return a dict"),
    Broken(changed(Sound, loss=lambda self, views, labels=None: {"goal": views[0].mean()}), "got ['goal']"),
    Broken(logs(lambda loss, self, views: {"mean": views[0].mean((1, 2, 3))}), "tensor of shape (), got (4,)"),
    Broken(logs(lambda loss, self, views: {"ratio": torch.tensor(float("inf"))}), "must be a finite float"),
    Broken(logs(lambda loss, self, views: {"loss_b": torch.ones(())}), "'loss_b' of the loss has no gradient"),
    Broken(logs(lambda loss, self, views: {"perplexity": loss.exp()}), "'perplexity' of the loss is only logged"),
    Broken(Idle, "a gradient must reach every trainable parameter.*predictor.weight, predictor.bias"),
    Broken(logs(lambda loss, self, views: {"loss": 0 * loss}), "the gradient of every parameter is zero"),
    Broken(Picky, "must not reject 2 views and a batch of 4, which loss takes: ConfigError"),
    Broken(Exact, "must work under bfloat16 autocast: TypeError: float32 only"),
    Broken(Overflows, "must be finite under bfloat16 autocast, got inf"),
    Broken(
        changed(Sound, features=lambda self, images: Sound.features(self, images)[:, :3]),
        "the features must have shape (4, 6), got (4, 3)",
    ),
    Broken(
        changed(Sound, load_state_dict=lambda self: None), "must load into a method that has not trained: TypeError"
    ),
    Broken(Rescales, "before_step changes neck.*, which moved_before_step must name"),
    Broken(Remembers, "with its state dict loaded must give exactly the next loss, but not so loss"),
]
