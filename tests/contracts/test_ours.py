"""Every component of ours keeps the promises of its kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup import testing
from selfsup.registry import KINDS
from tests.contracts.examples import ELSEWHERE, EXAMPLES

CHECKS: dict[str, Callable[..., None]] = {
    "backbones": testing.check_backbone,
    "necks": testing.check_neck,
    "methods": testing.check_method,
    "transforms": testing.check_transform,
    "evaluators": testing.check_evaluator,
    "hooks": testing.check_hook,
}


def registered(kind: str) -> list[str]:
    """The names of ours; other tests and plugins may have registered some of theirs."""
    registry = KINDS[kind]
    ours = [name for name in registry.names(inherited=False) if registry.get(name).__module__.startswith("selfsup.")]
    return [name for name in ours if name not in ELSEWHERE.get(kind, {})]


CASES = [(kind, name) for kind in EXAMPLES for name in registered(kind)]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_it_keeps_the_promises_of_its_kind(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in EXAMPLES[kind], f"add a line for {name!r} to tests/contracts/examples.py"
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES[kind][name]
    torch.manual_seed(0)
    component = KINDS[kind].build({"type": name, **example.arguments})
    if kind == "losses":
        testing.check_loss(component, *example.inputs, **example.options)
    else:
        CHECKS[kind](component, **example.options)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_there_are_no_examples_of_what_is_gone(kind: str) -> None:
    assert set(EXAMPLES[kind]) <= set(registered(kind))


def built(kind: str, name: str) -> Any:
    return KINDS[kind].build({"type": name, **EXAMPLES[kind][name].arguments})


def test_a_kit_leaves_component_and_random_state_as_they_were() -> None:
    torch.manual_seed(0)
    method = built("methods", "SwAV")
    before = {name: value.clone() for name, value in method.state_dict().items()}
    state = torch.random.get_rng_state()
    testing.check_method(method, **EXAMPLES["methods"]["SwAV"].options)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
