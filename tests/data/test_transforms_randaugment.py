import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment as Theirs
from torchvision.transforms.autoaugment import _apply_op

from selfsup.data.transforms.randaugment import OPERATIONS, RandAugment, apply, strength

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_operations_and_their_strengths_are_torchvisions(magnitude: int) -> None:
    space = Theirs()._augmentation_space(31, (24, 20))
    theirs = {"".join(part.lower() for part in name): name for name in space}
    for name in OPERATIONS:
        called = theirs[name.replace("_", "")]
        levels, signed = space[called]
        amount = float(levels[magnitude]) if levels.ndim else 0.0
        assert strength(name, magnitude, 24, 20) == pytest.approx(amount, abs=1e-4), name
        for sign in (1.0, -1.0) if signed else (1.0,):
            pixels = torch.from_numpy(IMAGE).permute(2, 0, 1)
            expected = _apply_op(pixels, called, sign * amount, InterpolationMode.NEAREST, [0.0])
            assert np.array_equal(apply(IMAGE, name, sign * amount), expected.permute(1, 2, 0).numpy()), name


def test_no_operations_leave_the_image_and_each_is_drawn_as_often() -> None:
    rng = np.random.default_rng(0)
    assert RandAugment(0)(IMAGE, rng) is IMAGE
    drawn = {RandAugment(1, 9)(IMAGE, rng).tobytes() for _ in range(300)}
    assert len(drawn) == 23  # the image itself, 9 with a sign, 4 without
