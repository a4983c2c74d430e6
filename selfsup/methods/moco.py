"""MoCo, versions 1 and 2."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.data.preprocess import Preprocess
from selfsup.errors import ConfigError, require
from selfsup.layers.ring import RingBuffer
from selfsup.layers.update_rows import UpdateRows
from selfsup.methods.base import Method, Progress
from selfsup.methods.batch_checks import check_views
from selfsup.methods.parts import build_loss, build_part
from selfsup.methods.teacher import Teacher, check_momentum, copy_student
from selfsup.ops.dist import broadcast, gather, rank, world_size
from selfsup.ops.similarity import l2_normalize
from selfsup.registry import METHODS, NECKS


@METHODS.register_module()
class MoCo(Method):
    """A view finds its image's key, made by a slowly moving teacher, among the keys of many past batches.

    The first view is the query of the student (the paper's query encoder), the second the key of the teacher (its key
    encoder, or momentum encoder). Versions 1 and 2 differ by config: version 2 has a neck with a hidden layer, another
    temperature, more augmentation and another schedule.

    The queue is a ring of the newest keys of all processes, of unit length; every process holds the same one. It starts
    with random directions, and a batch's keys enter it after they were compared with. Its length must be a multiple of
    the batch of all processes, so that every key stays for the same number of steps. It advances once per optimizer
    step: of several micro-batches the keys enter together, after the last one was compared.

    The teacher follows before each optimizer step's forward passes, with the student's weights after the step before:
    once per optimizer step, whatever number of micro-batches it is made of, and in the first step not at all, as both
    are equal then. That is where the reference code does it.

    Batch norm is meant to be each process's own (leave ``sync_bn`` unset, a run says so otherwise). So that a key does
    not share its batch statistics with its query, the teacher's images are shuffled over the processes and their keys
    are restored in order. On one process nothing is shuffled: the reference code permutes the batch there too, which
    leaves its statistics as they are.

    Args:
        backbone: the encoder, or its dict; the teacher starts as a copy.
        neck: the projection head, or its dict; ``in_dim`` may be left out.
        loss: an :class:`~selfsup.losses.InfoNCELoss`, or its dict.
        queue_length: keys in the queue, over all processes.
        momentum: the fraction of the teacher that an optimizer step keeps, in [0, 1].
        shuffle_bn: whether the teacher's images are shuffled over the processes.
        preprocess: see :class:`~selfsup.methods.base.Method`.

    Raises:
        ConfigError: if the neck does not fit the backbone, or a number is out of its range.

    Source: He et al. 2019, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297; facebookresearch/moco builder.py.
    """

    num_views = 2
    moved_before_step = ("teacher",)

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        neck: nn.Module | dict[str, Any],
        loss: nn.Module | dict[str, Any],
        *,
        queue_length: int = 65_536,
        momentum: float = 0.999,
        shuffle_bn: bool = True,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        require(queue_length >= 1, "queue_length", "must be >= 1", got=queue_length)
        check_momentum("momentum", momentum)
        self.neck = build_part(NECKS, neck, "neck", in_dim=self.backbone.out_dim, source="backbone.out_dim")
        self.teacher = Teacher.copy_of(self.backbone, self.neck)
        self.criterion: nn.Module = build_loss(loss, "loss", ("query", "key", "queue"))
        self.queue = RingBuffer(queue_length, self.neck.out_dim)
        self._entering = UpdateRows()
        self.queue_length = queue_length
        self.momentum = momentum
        self.shuffle_bn = shuffle_bn
        self.own_batch_norm = shuffle_bn

    def after_init_from(self, taken: Collection[str]) -> list[str]:
        """Let the teacher start as a copy of the student now, unless the file had its weights too."""
        return copy_student(self, taken)

    def before_step(self, progress: Progress) -> None:
        """Let the teacher follow."""
        self._entering.begin(progress.micro_batches)
        self.teacher.follow(self.backbone, self.neck, self.momentum)

    def loss(self, views: list[Tensor], labels: Tensor | None = None) -> dict[str, Tensor]:
        """The InfoNCE loss of the first view's queries.

        Args:
            views: two, each of shape (B, 3, h, w): query and key.
            labels: not looked at.

        Returns:
            ``loss``.

        Raises:
            ConfigError: unless there are exactly two views, or if the queue's length is no multiple of the batch of
                all processes.
        """
        check_views(views, needed=self.num_views, exact=True, why="MoCo")
        self.check_batch(len(views[1]) * self._entering.micro_batches, world_size())
        query = self.neck(self.backbone(views[0]))
        keys = self._keys_of_all(views[1])
        loss = self.criterion(query, keys.chunk(world_size())[rank()], self.queue.rows)
        if self.training and (rows := self._entering.add(keys)) is not None:
            self.queue.push(rows)
        return {"loss": loss}

    def check_batch(self, per_process: int, processes: int) -> None:
        """Reject a queue that does not hold whole batches.

        Args:
            per_process: images per process and update.
            processes: how many take part.

        Raises:
            ConfigError: if its length is no multiple of the batch of all processes.
        """
        length, batch = len(self.queue.rows), per_process * processes
        if length % batch == 0:
            return
        below = length - length % batch
        fitting = f"the nearest are {below:,} and {below + batch:,}" if below else f"the nearest is {batch:,}"
        raise ConfigError.at(
            "queue_length",
            f"must be a multiple of the batch of all processes, {batch:,} images",
            got=length,
            expected=fitting,
        )

    @torch.no_grad()
    def _keys_of_all(self, images: Tensor) -> Tensor:
        """The keys of every process's images, ordered by rank, of unit length."""
        if world_size() == 1 or not self.shuffle_bn:
            return gather(l2_normalize(self.teacher(images)))
        everyones = gather(images)
        order = broadcast(torch.randperm(len(everyones)).to(images.device))
        share = everyones[order.chunk(world_size())[rank()]]
        if images.is_contiguous(memory_format=torch.channels_last):
            share = share.contiguous(memory_format=torch.channels_last)
        shuffled = gather(l2_normalize(self.teacher(share)))
        return torch.empty_like(shuffled).index_copy_(0, order, shuffled)
