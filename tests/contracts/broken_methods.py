"""Methods that each break one promise."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError
from selfsup.methods import Progress
from tests.contracts.rejection import Broken
from tests.contracts.sound import Sound

Parts = dict[str, Any]
LABELS = torch.tensor([2, 0, 1, 1])


class MisspeltEntry(Sound):
    entry_points = ("scores",)


class MisspeltPart(Sound):
    fresh_parts = ("clasifier",)


class TrainedTeacher(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(self.backbone)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"] + self.teacher(views[0]).mean()}


class Unprepared(Sound):
    def before_step(self, progress: Progress) -> None:
        raise KeyError("momentum")


class TwoEpochs(Sound):
    def after_step(self, progress: Progress) -> None:
        self.rate = [0.1, 0.01][progress.epoch]


class SeedsAfterSteps(Sound):
    def after_step(self, progress: Progress) -> None:
        torch.manual_seed(progress.step)


class OneView(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        (view,) = views
        return super().loss([view, view])


class Bare(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Any:
        return super().loss(views)["loss"]


class NoLoss(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"objective": super().loss(views)["loss"]}


class Vector(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"], "features_mean": views[0].mean((1, 2, 3))}


class Whole(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"], "images": torch.tensor(len(views[0]))}


class Infinite(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"], "ratio": torch.tensor(float("inf"))}


class Hoards(Sound):
    """What is logged keeps the graph of its step."""

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        loss = super().loss(views)["loss"]
        return {"loss": loss, "perplexity": loss.exp()}


class NoGraph(Sound):
    @torch.no_grad()
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return super().loss(views)


class Settles(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        self.backbone.eval()
        return super().loss(views)


class Normalizes(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        views[0].sub_(0.5)
        return super().loss(views)


class Relabels(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        if labels is not None:
            labels.zero_()
        return super().loss(views)


class Idle(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.predictor = nn.Linear(4, 4)


class LearnsNothing(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": 0 * super().loss(views)["loss"]}


class OneBatch(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return super().loss([view.view(4, 3, 32, 32) for view in views])


class Picky(Sound):
    def check_batch(self, per_process: int, processes: int) -> None:
        if per_process % 8:
            raise ConfigError(f"model.queue_length: must be a multiple of {per_process}, got 8; the nearest is 0")


class Miscounts(Sound):
    def check_num_views(self, num_views: int) -> None:
        if num_views != 3:
            raise ConfigError(f"train_dataloader.views: Miscounts needs 3 views, got {num_views}")


class Weighs(Sound):
    """Looks at weights where there may be none."""

    def check_batch(self, per_process: int, processes: int) -> None:
        if processes > 1:
            float(self.backbone.conv.weight.sum())


class Exact(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        if torch.is_autocast_enabled("cpu"):
            raise TypeError("float32 only")
        return super().loss(views)


class Overflows(Sound):
    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> Parts:
        return {"loss": super().loss(views)["loss"] * (float("inf") if torch.is_autocast_enabled("cpu") else 1.0)}


class Narrow(Sound):
    def features(self, images: Tensor) -> Tensor:
        return super().features(images)[:, :3]


class Unpicklable(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.rule = lambda step: step


class Unloadable(Sound):
    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        raise KeyError("queue")


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
    Broken(int, "must be a selfsup.methods.Method"),
    Broken(lambda: nn.Linear(3, 3), "must be a selfsup.methods.Method"),
    Broken(MisspeltEntry, "entry_points must be names of its methods, but it has no scores"),
    Broken(
        MisspeltPart,
        "fresh_parts must be names of its parts, or a run cannot begin with another method's weights; it has no clasif",
    ),
    Broken(
        TrainedTeacher,
        "a teacher follows and is not trained: requires_grad must be off, but is on for teacher.conv.weight, teacher.",
    ),
    Broken(Unprepared, "before_step(progress) must not raise, but does in epoch 0: KeyError: 'momentum'"),
    Broken(TwoEpochs, "after_step(progress) must not raise, but does in epoch 2: IndexError: "),
    Broken(SeedsAfterSteps, "must not seed a global random generator, but after a step PyTorch's is in the same state"),
    Broken(OneView, "loss(views, labels) must take the views: ValueError: "),
    Broken(Bare, "loss must return a dict, got Tensor"),
    Broken(NoLoss, "loss must return an entry whose name starts with 'loss', got ['objective']"),
    Broken(Vector, "'features_mean' of the loss must be a tensor of shape (), got (4,)"),
    Broken(Whole, "'images' of the loss must be floating point, got torch.int64"),
    Broken(Infinite, "'ratio' of the loss must be finite, got inf"),
    Broken(Hoards, "'perplexity' of the loss is only logged and must be detached, or the graph of every step stays "),
    Broken(NoGraph, "the loss must have a gradient, but loss has none: detached, or computed under torch.no_grad()"),
    Broken(Settles, "loss must leave the training flags as they were, but not of backbone, backbone.conv, backbone.bn"),
    Broken(Normalizes, "must not write to the views"),
    Broken(Relabels, "must not write to the labels", options={"labels": LABELS}),
    Broken(
        Idle,
        "a gradient must reach every trainable parameter in training, or several processes wait for each other for "
        "ever; none reaches predictor.weight, predictor.bias",
    ),
    Broken(LearnsNothing, "nothing is learnt in training: the gradient of every parameter is zero"),
    Broken(
        Sound,
        "no gradient should reach neck.mlp.3.weight, neck.mlp.3.bias, named as untrained, but one does",
        options={"untrained": ("neck.mlp.3.*",)},
    ),
    Broken(OneBatch, "must take a batch of 8 as well as one of 4: RuntimeError: "),
    Broken(Picky, "check_batch(4, 1) must not reject a batch that loss takes: ConfigError: model.queue_length: "),
    Broken(
        Miscounts,
        "check_num_views(2) must not reject the views that loss takes: ConfigError: train_dataloader.views: Miscounts ",
    ),
    Broken(Weighs, "check_batch(5, 3) must raise nothing but a ConfigError, without weights or process group: "),
    Broken(Exact, "must work under bfloat16 autocast: TypeError: float32 only"),
    Broken(Overflows, "the loss must be finite under bfloat16 autocast, got inf"),
    Broken(Narrow, "the features in training mode must have shape (4, 6), got (4, 3)"),
    Broken(Unpicklable, "must survive pickle, as worker processes need; define its parts at the top of a module: "),
    Broken(Unloadable, "its state dict must load into a method that has not trained: KeyError: 'queue'"),
    Broken(
        Remembers,
        "after 3 steps, one that has not trained, with its state dict loaded, must give exactly the next loss; 'loss' ",
    ),
]
