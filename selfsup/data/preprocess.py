"""From uint8 views to what a backbone reads, on the backbone's device."""

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError, require
from selfsup.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Preprocess(nn.Module):
    """Scale to [0, 1], subtract the mean, divide by the standard deviation, per channel.

    Views are moved to this module's device while they are still uint8: a quarter of the bytes of float32. The memory
    format is kept, so channels_last views stay so.

    Args:
        mean: per channel, in units of [0, 1]. The default and that of ``std`` are ImageNet's.
        std: per channel, > 0. ``mean=(0, 0, 0), std=(1, 1, 1)`` leaves the range [0, 1], as SimCLR trains.

    Raises:
        ConfigError: if the lengths differ or a standard deviation is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float] = (0.485, 0.456, 0.406), std: Sequence[float] = (0.229, 0.224, 0.225)
    ) -> None:
        super().__init__()
        if not mean or not std or len(mean) != len(std):
            raise ConfigError.at(
                "mean",
                f"mean and std must have one value per channel, got {mean} and {std}",
                expected="where a card has null, whoever trained the weights can say how their input was normalized",
            )
        require(min(std) > 0, "std", "must be > 0", got=std)
        shape = (1, len(mean), 1, 1)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(shape), persistent=False)

    @overload
    def forward(self, views: Tensor) -> Tensor: ...

    @overload
    def forward(self, views: Sequence[Tensor]) -> list[Tensor]: ...

    @torch.no_grad()
    def forward(self, views: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Normalize one batch or each of several.

        Args:
            views: shape (B, C, H, W) each; uint8 in 0..255, or floating point in [0, 1].

        Returns:
            float32 of the same shapes and memory formats; the input is not changed.
        """
        if isinstance(views, Tensor):
            return self._normalize(views)
        return [self._normalize(view) for view in views]

    def _normalize(self, view: Tensor) -> Tensor:
        scale = 255.0 if view.dtype == torch.uint8 else 1.0
        view = view.to(self.mean.device, non_blocking=True)
        pixels = view.to(torch.float32, copy=True)
        return pixels.sub_(self.mean * scale).div_(self.std * scale)

    def extra_repr(self) -> str:
        """The numbers, for ``print(model)``."""
        mean, std = (tuple(round(value, 4) for value in each.flatten().tolist()) for each in (self.mean, self.std))
        return f"mean={mean}, std={std}"
