"""What the rest of the toolkit asks of a backbone."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

from torch import Tensor

from selfsup.errors import ConfigError

NUM_STAGES = 4
STRIDES = (4, 8, 16, 32)  # of the maps that detectors ask for


@runtime_checkable
class Backbone(Protocol):
    """A network from images to one vector each.

    Where weights are loaded, arguments that decide about features and show in no tensor must agree with those that the
    weights were trained with. A class may say which these are by a method ``not_in_weights``, which returns their
    values by name; of one that does not, names and shapes of tensors decide alone.

    Attributes:
        out_dim: length of that vector, known without a forward pass.
    """

    out_dim: int

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, out_dim), of images of shape (B, 3, H, W)."""

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """Maps before pooling, at strides 4, 8, 16 and 32 where the stem is ImageNet's."""


def check_stages(stages: Collection[int]) -> frozenset[int]:
    """The stage numbers of ``checkpoint_stages`` as a set.

    Args:
        stages: numbers of the stages, the first is 1.

    Raises:
        ConfigError: if a number is not one of 1..4.
    """
    wrong = [stage for stage in stages if stage not in range(1, NUM_STAGES + 1)]
    if wrong:
        raise ConfigError.at("checkpoint_stages", "must be among 1, 2, 3, 4", got=wrong[0])
    return frozenset(stages)


def quarter(number: int, depth: int) -> slice:
    """Which of ``depth`` blocks are stage ``number``, from 1, of a network that has no other stages."""
    return slice((number - 1) * depth // NUM_STAGES, number * depth // NUM_STAGES)
