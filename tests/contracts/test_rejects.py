"""The kits accept what keeps every promise, and reject what breaks one, naming it; every promise is seen to reject."""

from collections.abc import Callable

import pytest
import torch

from selfsup import testing
from tests.contracts.broken_backbones import BROKEN as BACKBONES
from tests.contracts.broken_backbones import ONE_MAP, random_constant
from tests.contracts.broken_feature_maps import FEATURE_MAPS
from tests.contracts.broken_methods import METHODS, Idle
from tests.contracts.broken_observers import HOOKS, Meddles
from tests.contracts.broken_parts import LOSSES, NECKS
from tests.contracts.broken_transforms import TRANSFORMS
from tests.contracts.examples import rows
from tests.contracts.rejection import Broken, promises, rejection
from tests.contracts.sound import Darken, Distance, Neck, Net, Sound, TwoCrops


def check_backbone(backbone: Net, **options: object) -> None:
    testing.check_backbone(backbone, **{**ONE_MAP, **options})


BROKEN: dict[Callable[..., None], list[Broken]] = {
    check_backbone: BACKBONES + FEATURE_MAPS,
    testing.check_neck: NECKS,
    testing.check_loss: LOSSES,
    testing.check_method: METHODS,
    testing.check_transform: TRANSFORMS,
    testing.check_hook: HOOKS,
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        pytest.param(check, broken, id=f"{check.__name__}-{broken.sentence[:40]}")
        for check, cases in BROKEN.items()
        for broken in cases
    ],
)
def test_a_broken_component_is_rejected(check: Callable[..., None], broken: Broken) -> None:
    said, _ = rejection(check, broken)
    name = type(broken.make()).__name__
    assert said.startswith(f"{name}: {broken.sentence}")


def test_every_promise_of_the_kits_is_seen_to_reject() -> None:
    seen = {rejection(check, broken)[1] for check, cases in BROKEN.items() for broken in cases}
    never = [
        f"{file}:{line}"
        for (file, line), lines in promises().items()
        if not any(where == file and number in lines for where, number in seen)
    ]
    assert not never, f"add a component that breaks the promise at {', '.join(never)}"


def test_what_keeps_every_promise_is_accepted() -> None:
    check_backbone(Net())
    testing.check_neck(Neck())
    testing.check_loss(Distance(), rows(4, 3, 0), rows(4, 3, 1))
    testing.check_method(Sound())
    testing.check_transform(Darken(), varies=True)
    testing.check_transform(TwoCrops(), varies=True)


def test_what_its_author_allows_is_accepted() -> None:
    testing.check_method(Idle(), untrained=("predictor.*",))
    testing.check_hook(Meddles(), observes=False)


def test_a_constant_that_another_draws_anew_is_found_where_another_is_given() -> None:
    one, another = random_constant()
    check_backbone(one)
    with pytest.raises(AssertionError, match="RandomConstant: must give the same output once its state dict is loaded"):
        check_backbone(one, another=another)
