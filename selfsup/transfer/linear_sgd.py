"""A linear classifier on frozen features, trained with augmentation as the papers do it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsup.config import Recipe
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError, require
from selfsup.evaluation.head import Head
from selfsup.evaluation.representation import Classifier
from selfsup.transfer.fine_tune import QUIET, FineTune
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.start import Start
from selfsup.transfer.transfer import Settled, Transfer, accumulated, batch_for, shown, stated


class LinearSGD(Transfer):
    """Train linear classifiers on a trunk that does not change, in eval mode.

    Several rates, and several layers, share one pass of the trunk; the head that is best on ``val`` counts, or where
    there is no ``val`` that of the first layer whose rate is nearest to the optimizer's. Papers' own settings are in
    ``configs/transfer``; the defaults here are for images of one's own.

    Args:
        epochs: passes over the images.
        steps: optimizer updates instead.
        batch_size: at the most; half the images where there are fewer.
        micro_batch: images at a time on each process, at the most, which are accumulated to the batch; None for all.
        optimizer: dict from OPTIMIZERS.
        scheduler: dict from PARAM_SCHEDULERS; None for a cosine.
        rates: factors on the learning rate, a head for each.
        layers: see :class:`~selfsup.methods.LinearHeads`.
        bn: batch norm before each classifier, which makes rates mean the same on any features.
        size: side of the images in pixels; None for the weights'.
        scale: share of the area that crops keep; None by the size.
        jitter: of the colors; 0 for crops and flips alone.
        before: transforms that come first.
        precision: of the forward pass.
        num_workers: processes that decode.
        seed: of the run.
    """

    name = "linear"

    def __init__(
        self,
        *,
        epochs: int = 100,
        steps: int | None = None,
        batch_size: int = 256,
        micro_batch: int | None = None,
        optimizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | None = None,
        rates: Sequence[float] = (0.1, 0.3, 1.0, 3.0),
        layers: Sequence[str] = ("pooled",),
        bn: bool = True,
        size: int | None = None,
        scale: tuple[float, float] | None = None,
        jitter: float = 0.0,
        before: tuple[Mapping[str, Any], ...] = (),
        precision: str = "auto",
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        require(micro_batch is None or micro_batch >= 1, "micro_batch", "must be >= 1", got=micro_batch)
        require(rates, "rates", "must name at least one rate, got none")
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.micro_batch = micro_batch
        self.optimizer = optimizer or {"type": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True}
        self.scheduler = scheduler
        self.rates = tuple(rates)
        self.layers = tuple(layers)
        self.bn = bn
        self.size = size
        self.precision = precision
        self.num_workers = num_workers
        self.seed = seed
        self._augmentation = FineTune(scale=scale, jitter=jitter, before=before)

    def recipe(self, start: Start, data: Labelled) -> Recipe:
        """See :class:`~selfsup.transfer.transfer.Transfer`."""
        images, contract = len(data.source), shown(start, self.size)
        if contract.size is None:
            raise ConfigError.at("size", "the card does not say how large images are shown", expected="give size")
        batch = batch_for(images, self.batch_size)
        micro, accumulate = accumulated(batch, self.micro_batch)
        copies, count = len(self.rates), len(self.rates) * len(self.layers)
        groups = [
            {"match": f"heads.{number}.*", "lr_scale": self.rates[number % copies]}
            for number in range(count)
            if self.rates[number % copies] != 1
        ]
        config: dict[str, Any] = {
            "model": {
                "type": "LinearHeads",
                "backbone": start.backbone,
                "num_classes": len(data.classes),
                "loss": {"type": "CrossEntropyLoss"},
                "layers": self.layers,
                "copies": copies,
                "bn": self.bn,
                "image_size": contract.size,
                "preprocess": start.normalization,
            },
            "train_dataloader": {
                "batch_size": micro,
                "dataset": data.train,
                "views": self._augmentation.views(contract.size, contract.interpolation or "bilinear"),
                **({} if self.num_workers is None else {"num_workers": self.num_workers}),
            },
            "optim_wrapper": {
                "precision": self.precision,
                "optimizer": dict(self.optimizer),
                **({"param_groups": groups} if groups else {}),
                **({} if accumulate == 1 else {"accumulative_counts": accumulate}),
            },
            "param_scheduler": dict(self.scheduler or {"type": "WarmupCosine"}),
            "train_cfg": {"max_steps": self.steps or max(1, self.epochs * (images // batch))},
            "tasks": {data.name: data.task_section()},
            "default_hooks": {"evaluate": None, **QUIET},
            "input_contract": stated(contract),
            "recipe": self.name,
            "seed": self.seed,
        }
        if start.file is not None:
            config["load_from"] = str(start.file)
        return Recipe.from_dict(config | {"split": None})

    def settle(self, method: Any, runner: Runner, data: Labelled) -> Settled:
        """The head that is best on ``val``, its batch norm folded into its linear layer."""
        scores: list[float] = []
        if data.val is not None:
            watched = data.task().watch()
            trunk = Classifier(method.backbone, runner.input_contract, head=method.heads[0], classes=data.classes)
            layers = list(dict.fromkeys(method.head_layers))
            at: dict[str, Any] = dict(zip(layers, trunk.at_layers(layers), strict=True))
            for head, layer in zip(method.heads, method.head_layers, strict=True):
                at[layer].head = head
                scores.append(Head().evaluate(at[layer], watched).scores["top1"].value)
        method.chosen = scores.index(max(scores)) if scores else self.rates.index(min(self.rates, key=_from_one))
        layer = method.head_layers[method.chosen]
        chosen = {"rate": self.rates[method.chosen % len(self.rates)], "layer_of_head": layer}
        by = "val" if scores else "last step"
        val = scores[method.chosen] if scores else None
        return Settled(folded(method.head), runner.total_steps, by, layer=layer, val=val, chosen=chosen)


def _from_one(rate: float) -> float:
    return abs(rate - 1)


@torch.no_grad()
def folded(head: nn.Sequential) -> nn.Sequential:
    """A batch norm in eval mode and a linear layer as one linear layer."""
    linear: Any = head[-1]
    norm: Any = next((part for part in head if isinstance(part, _BatchNorm)), None)
    if norm is None:
        return head
    scale = (norm.running_var + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight)
    shift = (0.0 if norm.bias is None else norm.bias) - norm.running_mean * scale
    places = linear.in_features // norm.num_features  # a channel's lie together in what was flattened
    scale, shift = scale.repeat_interleave(places), shift.repeat_interleave(places)
    one = nn.Linear(linear.in_features, linear.out_features).to(linear.weight)
    one.weight.copy_(linear.weight * scale)
    one.bias.copy_(linear.bias + linear.weight @ shift)
    return nn.Sequential(one)
