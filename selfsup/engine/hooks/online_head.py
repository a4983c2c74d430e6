"""SimCLR's online linear head: how well the classes are told apart, while the backbone learns without them."""

import math
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from selfsup.errors import require
from selfsup.ops.dist import all_reduce_sum
from selfsup.registry import HOOKS


@HOOKS.register_module()
class OnlineHeadHook(Hook):
    """Train a linear classifier on the features that the training computes anyway; the backbone learns nothing of it.

    Writes ``online_head/top1`` and ``online_head/loss`` of the training views to the metrics log, each batch measured
    before the head learns from it: cheap, and lower than the solved probes, which see images without augmentation. The
    head learns by SGD with momentum 0.9, its steps divided by the mean squared length of the features, so that one
    learning rate fits all backbones; the rate falls to zero along a cosine. It draws no random numbers, gets its
    features detached from the graph, and averages its gradients over the processes. Unlabelled images do not count.
    It is no part of the checkpoint: a resumed run starts with a new head, and says so.

    Args:
        lr: at the start, > 0.
        every_steps: optimizer updates between two lines of the log, > 0.

    Raises:
        ConfigError: if a number is not positive.

    Source: Chen et al. 2020, arXiv:2002.05709, appendix B.7 and tf2/run.py of its code; there without the division.
    """

    priority = "LOW"

    def __init__(self, *, lr: float = 1.0, every_steps: int = 50) -> None:
        require(lr > 0, "lr", "must be > 0", got=lr)
        require(every_steps >= 1, "every_steps", "must be > 0", got=every_steps)
        self.lr = lr
        self.every_steps = every_steps
        self._labels: Any = None  # of all images
        self._classes = 0
        self._handle: Any = None
        self._features: list[Tensor] = []
        self._head: Tensor | None = None  # (C, D + 1), the last column the bias
        self._speed: Tensor | None = None
        self._sums: Tensor | None = None  # images, right ones, loss

    def before_train(self, runner: Any) -> None:
        """Look at the labels, and listen to the backbone."""
        labels, classes = (getattr(runner.train_images, name, None) for name in ("labels", "classes"))
        if labels is None or classes is None or hasattr(labels, "row") or len(classes) < 2:
            runner.logger.info("online head: left out, the images have no labels of two classes or more")
            return
        if runner.iter > 0:
            runner.logger.info(f"online head: starts anew at step {runner.iter}; it is no part of a checkpoint")
        self._labels, self._classes = labels, len(classes)
        self._head = self._speed = self._sums = None
        self._handle = runner.method.representation.register_forward_hook(self._listen)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Forget the features of other steps."""
        self._features.clear()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:  # type: ignore[no-untyped-def]
        """Measure the head on this step's features, then let it learn."""
        if self._handle is None:
            return
        features, labels = self._batch(data_batch or [])
        self._features.clear()
        if features is None:
            runner.logger.warning("online head: left out, the step's features do not belong to its labels")
            self._stop()
            return
        if not math.isfinite(outputs["loss"]):  # the update was left out, and these features may be no numbers
            return
        self._learn(features, labels, lr=self.lr * (1 + math.cos(math.pi * runner.progress.fraction)) / 2)
        if (runner.iter + 1) % self.every_steps == 0 and self._sums is not None:
            count, right, loss = self._sums.tolist()
            if count:
                numbers = {"online_head/top1": right / count, "online_head/loss": loss / count}
                runner.metrics_log.write(runner.iter + 1, numbers)
            self._sums.zero_()

    def after_train(self, runner: Any) -> None:
        """Stop listening."""
        self._stop()

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.remove()
        self._handle = None

    def _listen(self, module: nn.Module, _: Any, output: Any) -> None:
        if module.training and isinstance(output, Tensor):
            self._features.append(output.detach())

    def _batch(self, micro_batches: list[Any]) -> tuple[Tensor | None, Tensor]:
        """Features of the step, (B, D), and their labels: of each micro-batch the backbone's first call.

        Views of equal size go through the backbone together, one after the other.
        """
        features, labels = [], []
        calls = len(self._features) // max(1, len(micro_batches))
        for number, batch in enumerate(micro_batches):
            given = torch.as_tensor(np.asarray(self._labels[batch["index"].numpy()]))
            if not calls or len(self._features[number * calls]) % len(given):
                return None, torch.empty(0)
            found = self._features[number * calls]
            features.append(found.float())
            labels.append(given.repeat(len(found) // len(given)).to(found.device))
        return (torch.cat(features), torch.cat(labels)) if features else (None, torch.empty(0))

    @torch.no_grad()
    def _learn(self, features: Tensor, labels: Tensor, *, lr: float) -> None:
        features, labels = features[labels >= 0], labels[labels >= 0]
        inputs = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        if self._head is None or self._speed is None or self._sums is None:
            self._head, self._speed = (inputs.new_zeros(self._classes, inputs.shape[1]) for _ in range(2))
            self._sums = torch.zeros(3, dtype=torch.float64)
        log_probabilities = (inputs @ self._head.T).log_softmax(dim=1)
        right = (log_probabilities.argmax(dim=1) == labels).sum()
        loss = -log_probabilities.gather(1, labels[:, None]).sum()
        error = log_probabilities.exp().scatter_add_(1, labels[:, None], -torch.ones_like(inputs[:, :1]))
        numbers = torch.stack([inputs.new_tensor(float(len(labels))), right.float(), loss, inputs.square().sum()])
        gradient, numbers = all_reduce_sum(error.T @ inputs), all_reduce_sum(numbers)
        self._sums += numbers[:3].double().cpu()
        length = numbers[3].clamp_min(1e-12)  # sum of squared lengths: the mean gradient over the mean squared length
        self._speed.mul_(0.9).add_(gradient / length)
        self._head -= lr * self._speed
