"""BiT-HyperRule: how a pretrained network is fine-tuned, from the size of the task and of its images alone."""

from dataclasses import dataclass
from typing import Literal, get_args

from selfsup.errors import ConfigError, nearest

Source = Literal["code", "paper"]


@dataclass(frozen=True)
class HyperRule:
    """What the rule says for a task.

    The rest is the same for all: batches of 512, SGD with momentum 0.9, no weight decay, no dropout, and a classifier
    that starts at zero.

    Args:
        steps: optimizer updates in all.
        warmup_steps: length of the linear warm-up, which begins at 0: the first update changes nothing.
        drops: the rate falls to a tenth one update after each of these.
        mixup_alpha: of the Beta distribution that MixUp draws a share from, once per update; 0 for no MixUp.
        resize: side in pixels that training images are resized to, whatever their shape.
        crop: side of the random crop taken of them, and of test images, which are resized to it whole.
        base_lr: learning rate after the warm-up.
    """

    steps: int
    warmup_steps: int
    drops: tuple[int, ...]
    mixup_alpha: float
    resize: int
    crop: int
    base_lr: float

    def lr(self, step: int) -> float:
        """The learning rate of an update.

        Args:
            step: updates done, in [0, steps).

        Raises:
            ValueError: if the step is not one of the run's.
        """
        if not 0 <= step < self.steps:
            raise ValueError(f"HyperRule.lr: step must be in [0, {self.steps:,}), got {step:,}")
        if step < self.warmup_steps:
            return self.base_lr * step / self.warmup_steps
        return self.base_lr * 0.1 ** sum(drop < step for drop in self.drops)


def hyper_rule(
    num_examples: int,
    height: int,
    width: int,
    source: Source = "code",
    *,
    largest_network: bool = False,
    base_lr: float = 0.003,
) -> HyperRule:
    """The rule for a task.

    Paper and code differ. The paper lowers the rate of a small task after 150, 300 and 450 updates, 30, 60 and 90 % of
    the run, the code after 200, 300 and 400; the paper shows images of usual size at 384 pixels, and at 480 to R152x4
    alone, the code at 480 to every network, and so came to the numbers of its README. The warm-up is the code's.

    Args:
        num_examples: training images, after a few-shot draw, > 0.
        height: of the task's images, in pixels, > 0.
        width: likewise. Below an area of 96 x 96 they count as small.
        source: whose numbers to take, ``'code'`` or ``'paper'``.
        largest_network: whether it is R152x4; makes a difference in the paper only.
        base_lr: learning rate after the warm-up, > 0.

    Raises:
        ConfigError: if a number is not positive, or the source is neither.

    Source: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3; google-research/big_transfer bit_hyperrule.py.
    """
    if source not in get_args(Source):
        raise ConfigError.at(
            "hyper_rule.source", f"unknown source {source!r}", expected=nearest(source, get_args(Source))
        )
    numbers = {"num_examples": num_examples, "height": height, "width": width, "base_lr": base_lr}
    for name, number in numbers.items():
        if not number > 0:
            raise ConfigError.at(f"hyper_rule.{name}", "must be > 0", got=number)
    if num_examples < 20_000:
        steps, warmup_steps, mixup_alpha = 500, 100, 0.0
        drops = (200, 300, 400) if source == "code" else (150, 300, 450)
    elif num_examples < 500_000:
        steps, warmup_steps, drops, mixup_alpha = 10_000, 500, (3_000, 6_000, 9_000), 0.1
    else:
        steps, warmup_steps, drops, mixup_alpha = 20_000, 500, (6_000, 12_000, 18_000), 0.1
    if height * width < 96 * 96:
        resize, crop = 160, 128
    elif source == "code" or largest_network:
        resize, crop = 512, 480
    else:
        resize, crop = 448, 384
    return HyperRule(steps, warmup_steps, drops, mixup_alpha, resize, crop, base_lr)
