"""Batch norm over the batches of several processes, on any device."""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsup.errors import ConfigError
from selfsup.ops.dist import all_reduce_sum, gather, rank, world_size
from selfsup.ops.precision import at_least_float32


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose statistics cover the batches of a group of processes.

    Works on the CPU with gloo and on GPUs with nccl; ``torch.nn.SyncBatchNorm`` rejects the CPU. The processes may
    have batches of different sizes. Parameters, buffers and their names are those of ``nn.BatchNorm*d``. In evaluation
    mode, and in a group of one process, it is ordinary batch norm. While ``track_running_stats`` is switched off in
    training mode the running statistics stay as they are, as recomputed activations need it.

    Args:
        num_features: channels C of inputs of shape (B, C, ...).
        eps: added to the variance.
        momentum: the fraction of the running statistics that a batch replaces; None averages over all batches.
        affine: whether the output is scaled and shifted.
        track_running_stats: whether running statistics are kept.
        group: the processes that share statistics; None for all.
    """

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.group = group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(f"SyncBatchNorm: expected shape (B, {self.num_features}, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalize each channel over the batches of the group.

        Args:
            input: shape (B, C, ...), of any floating type.

        Returns:
            The same shape, type and memory layout.

        Raises:
            ValueError: if the shape does not fit, or the group has only one value per channel.
        """
        if not self.training or world_size() == 1 or dist.get_world_size(self.group) == 1:
            return super().forward(input)
        self._check_input_dim(input)
        if input.is_cuda:
            return self._fused(input)
        output, mean, variance, count = _SyncedNorm.apply(input, self.weight, self.bias, self.eps, self.group)
        if self.track_running_stats:
            self._track(mean, variance * (count / (count - 1)))
        return output

    def _fused(self, input: Tensor) -> Tensor:
        """By torch's own kernels for this, which read each element once; they move the running statistics too."""
        means, variances, share = None, None, 0.0
        if self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            means, variances = self.running_mean, self.running_var
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        return _FusedNorm.apply(input, self.weight, self.bias, means, variances, share, self.eps, self.group)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), share)


class _SyncedNorm(torch.autograd.Function):
    """The forward pass needs one reduction over the group, the backward pass another."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: dist.ProcessGroup | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = at_least_float32(x)
        dims = _all_but_channels(x)
        local_variance, local_mean = torch.var_mean(exact, dims, correction=0)
        # Sums of x and x^2 in float64: the square of a large mean would swallow the variance in float32.
        local_mean, local_variance = local_mean.double(), local_variance.double()
        local_count = x.numel() // x.shape[1]
        moments = torch.stack([local_mean, local_variance + local_mean.square(), torch.ones_like(local_mean)])
        sums = all_reduce_sum(moments * local_count, group=group)
        count = sums[2, 0]
        mean = sums[0] / count
        variance = (sums[1] / count - mean.square()).clamp_(min=0)
        if x.device.type == "cpu" and count < 2:
            raise ValueError(f"SyncBatchNorm: more than one value per channel is needed, got input {tuple(x.shape)}")
        mean, variance = mean.to(exact.dtype), variance.to(exact.dtype)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.group = eps, group
        ctx.mark_non_differentiable(mean, variance, count)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        exact, gradient = at_least_float32(x), at_least_float32(gradients[0])
        dims = _all_but_channels(x)
        shape = [1, -1] + [1] * (x.ndim - 2)
        inverse_std = (variance + ctx.eps).rsqrt()
        normalized = (exact - mean.view(shape)) * inverse_std.view(shape)
        sums = torch.stack([gradient.sum(dims), (gradient * normalized).sum(dims)])
        means = (all_reduce_sum(sums, group=ctx.group) / count).to(exact.dtype)
        scale = inverse_std if weight is None else inverse_std * weight.to(exact.dtype)
        gradient_x = (gradient - means[0].view(shape) - normalized * means[1].view(shape)) * scale.view(shape)
        gradient_weight = None if weight is None else sums[1].to(weight.dtype)
        gradient_bias = sums[0].to(mean.dtype if weight is None else weight.dtype) if ctx.needs_input_grad[2] else None
        return gradient_x.to(x.dtype), gradient_weight, gradient_bias, None, None


class _FusedNorm(torch.autograd.Function):
    """The same with CUDA kernels: statistics, normalization and both halves of the backward pass are one kernel each.

    Each process sends its mean, inverse deviation and count of every channel; Welford's method puts them together.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_variance: Tensor | None,
        share: float,
        eps: float,
        group: dist.ProcessGroup | None,
    ) -> Tensor:
        x, channels = _dense(x), x.shape[1]
        mean, inverse_std = torch.batch_norm_stats(x, eps)
        count = mean.new_full((1,), x.numel() // channels)
        everyones = gather(torch.cat([mean, inverse_std, count]).unsqueeze(0), group=group)
        means, inverse_stds, counts = everyones.split([channels, channels, 1], dim=1)
        counts = counts.flatten()
        mean, inverse_std = torch.batch_norm_gather_stats_with_counts(
            x, means, inverse_stds, running_mean, running_variance, share, eps, counts
        )
        ctx.save_for_backward(x, weight, mean, inverse_std, counts.to(torch.int32))
        ctx.group = group
        return torch.batch_norm_elemt(x, weight, bias, mean, inverse_std, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std, counts = ctx.saved_tensors
        gradient = _dense(gradients[0], like=x)
        sums, products, gradient_weight, gradient_bias = torch.batch_norm_backward_reduce(
            gradient, x, mean, inverse_std, weight, *ctx.needs_input_grad[:3]
        )
        gradient_x = None
        if ctx.needs_input_grad[0]:
            sums, products = all_reduce_sum(torch.stack([sums, products]), group=ctx.group)
            gradient_x = torch.batch_norm_backward_elemt(gradient, x, mean, inverse_std, weight, sums, products, counts)
        return gradient_x, gradient_weight, gradient_bias, None, None, None, None, None


def _dense(x: Tensor, *, like: Tensor | None = None) -> Tensor:
    """In one of the two layouts that the kernels take."""
    like = x if like is None else like
    is_last = like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)


def convert_sync_bn(module: nn.Module, group_size: int | None = None, *, timeout: timedelta | None = None) -> nn.Module:
    """Replace every ``nn.BatchNorm*d`` by a :class:`SyncBatchNorm` with the same parameters and buffers.

    Every process must call it, for modules of the same structure.

    Args:
        module: changed in place, unless it is itself a batch norm.
        group_size: consecutive processes that share statistics; None for all, as many as there are or more; 1 for none.
        timeout: how long processes of a group wait for each other; None for PyTorch's default.

    Returns:
        The module, or what replaces it.

    Raises:
        ConfigError: if the number of processes is no multiple of ``group_size``.
    """
    processes = world_size()
    if group_size is not None and (group_size < 1 or (processes > group_size and processes % group_size)):
        raise ConfigError.at(
            "sync_bn", f"the number of processes, {processes}, must be a multiple of the group size", got=group_size
        )
    if group_size == 1:
        return module
    group = None
    if group_size is not None and group_size < processes:
        for first in range(0, processes, group_size):  # every process must create every group
            members = list(range(first, first + group_size))
            created = dist.new_group(members, timeout=timeout)
            if rank() in members and isinstance(created, dist.ProcessGroup):
                group = created
    return _convert(module, group)


def _convert(module: nn.Module, group: dist.ProcessGroup | None) -> nn.Module:
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        synced = SyncBatchNorm(
            module.num_features,
            eps=module.eps,
            momentum=module.momentum,
            affine=False,
            track_running_stats=module.track_running_stats,
            group=group,
        )
        synced.affine = module.affine
        for name, parameter in module._parameters.items():
            synced.register_parameter(name, parameter)
        for name, buffer in module._buffers.items():
            synced.register_buffer(name, buffer)
        synced.train(module.training)
        return synced
    for name, child in module.named_children():
        module._modules[name] = _convert(child, group)
    return module


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.ndim) if dim != 1]
