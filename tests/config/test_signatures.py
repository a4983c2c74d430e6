"""What is read from constructors that hand arguments on, and from how they call themselves."""

from typing import Any

from selfsup.config.signatures import REQUIRED, signature_of
from selfsup.registry import PARAM_SCHEDULERS


class Base:
    def __init__(self, optimizer: Any, param_name: str, *, begin: int = 0, end: int = 9) -> None: ...


def test_what_a_constructor_fills_in_by_position_is_not_asked_for() -> None:
    class Mixin:
        def __init__(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(optimizer, "lr", *args, **kwargs)  # type: ignore[call-arg]

    class OfRates(Mixin, Base): ...

    signature = signature_of(OfRates)
    assert list(signature.arguments) == ["optimizer", "begin", "end"]
    assert not signature.open


def test_a_component_that_takes_anything_is_open() -> None:
    class Anything:
        def __init__(self, **kwargs: Any) -> None: ...

    assert signature_of(Anything).open


def test_what_a_constructor_fills_in_by_name_is_not_asked_for_however_far_above_it_is() -> None:
    class Between(Base):
        def __init__(self, extra: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    class Lowest(Between):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(end=1, param_name="lr", **kwargs)

    assert list(signature_of(Lowest).arguments) == ["extra", "optimizer", "begin"]


def test_an_argument_that_is_changed_on_its_way_stays_one() -> None:
    class Doubling(Base):
        def __init__(self, end: int, **kwargs: Any) -> None:
            super().__init__(end=2 * end, **kwargs)

    arguments = signature_of(Doubling).arguments
    assert list(arguments) == ["end", "optimizer", "param_name", "begin"]
    assert arguments["end"].required


def test_mmengine_s_schedules_of_the_learning_rate_and_of_momentum_know_what_they_move() -> None:
    for name in ("CosineAnnealingLR", "CosineAnnealingMomentum"):
        arguments = signature_of(PARAM_SCHEDULERS.find(name)).arguments
        assert [key for key, argument in arguments.items() if argument.default is REQUIRED] == ["optimizer"]
        assert "param_name" not in arguments
    assert signature_of(PARAM_SCHEDULERS.find("CosineAnnealingParamScheduler")).arguments["param_name"].required
