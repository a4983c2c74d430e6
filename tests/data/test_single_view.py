"""The one view of supervised training and of BiT."""

import pytest

from selfsup.data.transforms import ColorJitter, RandomHorizontalFlip, RandomResizedCrop
from selfsup.data.views.single_view import BiTViews, SupervisedViews
from selfsup.errors import ConfigError


def test_supervised_and_bit_take_the_steps_of_their_code() -> None:
    (supervised,) = SupervisedViews().pipelines
    assert supervised.count == 1
    assert supervised.transforms == (
        RandomResizedCrop(224, (0.08, 1.0), interpolation="bilinear", attempts=10),
        RandomHorizontalFlip(0.5),
        ColorJitter(0.4, 0.4, saturation=0.4, hue=0.4, p=1.0),
    )
    assert SupervisedViews(jitter=0).pipelines[0].transforms == supervised.transforms[:2]
    (bit,) = BiTViews().pipelines
    assert bit.count == 1
    assert bit.transforms == (
        RandomResizedCrop(224, (0.05, 1.0), ratio=(0.75, 1.33), interpolation="bilinear", attempts=100),
        RandomHorizontalFlip(0.5),
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SupervisedViews(jitter=0.6), r"jitter: must be in \[0, 0.5\], got 0.6"),
        (lambda: SupervisedViews(jitter=-0.1), r"jitter: must be in \[0, 0.5\], got -0.1"),
        (lambda: BiTViews(0), "size: must be > 0, got 0"),
    ],
)
def test_arguments_that_do_not_fit_are_rejected(build, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
