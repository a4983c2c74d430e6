"""Each component does what its kind must, and does what something else says it should."""

from pathlib import Path

import example_plugin
import numpy as np
import torch
from example_plugin import AlignUniformLoss, ConvMixer, NearestMean, Posterize, WeightNormHook
from example_plugin.evaluator import Means
from PIL import Image, ImageOps
from sklearn.neighbors import NearestCentroid

from selfsup.config import load_config
from selfsup.data import InputContract, Scenes
from selfsup.evaluation import Task
from selfsup.planning import describe
from selfsup.testing import check_backbone, check_evaluator, check_hook, check_loss, check_transform

CONFIG = Path(example_plugin.__file__).parent / "configs" / "align_uniform_scenes.py"


def rows(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_backbone_keeps_its_promises() -> None:
    torch.manual_seed(0)
    check_backbone(ConvMixer(16, 2, patch=4, kernel=5), sizes=(32, 48), strides=None)


def test_the_backbone_has_the_papers_parameters() -> None:
    width, depth, patch, kernel = 1536, 20, 7, 9  # 51.6 million with the classifier of 1,000 classes in table 1
    expected = (3 * patch**2 + 3) * width + depth * (kernel**2 + width + 6) * width
    with torch.device("meta"):
        backbone = ConvMixer(width, depth, patch=patch, kernel=kernel)
    counted = sum(parameter.numel() for parameter in backbone.parameters())
    assert counted == expected
    assert abs(counted + 1000 * (width + 1) - 51.6e6) < 0.05e6


def test_the_loss_keeps_its_promises() -> None:
    check_loss(AlignUniformLoss(), rows(6, 4).float(), rows(6, 4, seed=1).float(), smallest_batch=2)


def test_the_loss_is_that_of_the_paper() -> None:
    a, b = rows(5, 3), rows(5, 3, seed=1)
    unit = [np.array([row / np.linalg.norm(row) for row in z.numpy()]) for z in (a, b)]
    align = np.mean([np.linalg.norm(x - y) ** 2 for x, y in zip(*unit, strict=True)])
    uniform = [
        np.log(np.mean([np.exp(-2 * np.linalg.norm(z[i] - z[j]) ** 2) for i in range(5) for j in range(i)]))
        for z in unit
    ]
    expected = torch.tensor(align + 0.5 * np.mean(uniform))
    torch.testing.assert_close(AlignUniformLoss(0.5)(a, b), expected, rtol=1e-12, atol=0)


def test_the_transform_keeps_its_promises() -> None:
    check_transform(Posterize(3, p=0.5))


def test_the_transform_does_as_pillow() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for bits in range(1, 9):
        expected = np.asarray(ImageOps.posterize(Image.fromarray(image), bits))
        np.testing.assert_array_equal(Posterize(bits, p=1.0)(image, np.random.default_rng(0)), expected)


def test_the_hook_keeps_its_promises() -> None:
    check_hook(WeightNormHook(every_steps=1))


def test_the_evaluator_keeps_its_promises() -> None:
    train, test = (Scenes(split, 16, variants=1) for split in ("val", "test"))
    check_evaluator(NearestMean(), Task(train=train, test=test), input_contract=InputContract(size=16, resize="none"))


def test_the_evaluator_does_as_scikit_learn() -> None:
    train, test = rows(60, 5), rows(40, 5, seed=1)
    labels = torch.arange(60) % 4
    expected = NearestCentroid().fit(train.numpy(), labels.numpy()).predict(test.numpy())
    np.testing.assert_array_equal(Means(train, labels)(test).numpy(), expected)


def test_the_config_describes_a_run_with_them() -> None:
    plan = describe(load_config(CONFIG))
    assert plan.parameters["backbone"] == sum(p.numel() for p in ConvMixer(128, 4, patch=4, kernel=5).parameters())
