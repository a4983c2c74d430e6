"""Every component of ours keeps the rules of its kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup import testing
from selfsup.registry import DATASETS, KINDS
from tests.contracts.examples import ELSEWHERE, EXAMPLES

CHECKS: dict[str, Callable[..., None]] = {
    "backbones": testing.check_backbone,
    "necks": testing.check_neck,
    "methods": testing.check_method,
    "transforms": testing.check_transform,
    "evaluators": testing.check_evaluator,
    "tasks": testing.check_task,
    "hooks": testing.check_hook,
}


def registered(kind: str) -> list[str]:
    """The names of ours; other tests and plugins may have registered some of theirs."""
    registry = KINDS[kind]
    ours = [name for name in registry.names(inherited=False) if registry.get(name).__module__.startswith("selfsup.")]
    return [name for name in ours if name not in ELSEWHERE.get(kind, {})]


NETWORKS = ("backbones", "necks", "methods")
CASES = [(kind, case) for kind, examples in EXAMPLES.items() for case in examples]


def name_of(case: str) -> str:
    return case.partition(",")[0]


def built(kind: str, case: str, *, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    component: Any = KINDS[kind].build({"type": name_of(case), **EXAMPLES[kind][case].arguments})
    if kind == "methods":
        component.before_training(lambda path, module: None)  # a teacher keeps the weights that it was built with
    return component


@pytest.fixture(autouse=True)
def _needs_timm(request: pytest.FixtureRequest) -> None:
    call = getattr(request.node, "callspec", None)
    if call and name_of(call.params.get("case", "")) == "Timm":
        request.getfixturevalue("timm")


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_it_keeps_the_rules_of_its_kind(kind: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example, component = EXAMPLES[kind][case], built(kind, case)
    if kind == "losses":
        testing.check_loss(component, *example.inputs, **example.options)
    else:
        another = {"another": built(kind, case, seed=1)} if kind in NETWORKS else {}
        CHECKS[kind](component, **{**another, **example.options})


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_component_of_ours_has_an_example_and_no_example_is_of_what_is_gone(kind: str) -> None:
    assert sorted({name_of(case) for case in EXAMPLES[kind]}) == sorted(registered(kind)), (
        "add a line to tests/contracts/examples.py"
    )


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, case in CASES if kind in NETWORKS])
def test_it_can_be_built_without_memory_as_a_dry_run_does(kind: str, case: str) -> None:
    with torch.device("meta"):
        network = built(kind, case)
    assert {parameter.device.type for parameter in network.parameters()} <= {"meta"}
    if kind == "backbones":
        features = network(torch.empty(2, 3, 64, 64, device="meta"))
        assert features.shape == (2, network.out_dim)


def test_our_data_sets_keep_the_rules_of_image_sources() -> None:
    scenes = DATASETS.build({"type": "Scenes", "split": "test", "size": 16, "variants": 1})
    testing.check_source(scenes)
    testing.check_source(DATASETS.build({"type": "Subset", "dataset": scenes, "count": 5}))


@pytest.mark.parametrize(("kind", "case"), [("methods", "SimCLR"), ("losses", "SwAVLoss")])
def test_a_kit_leaves_component_and_random_state_as_they_were(kind: str, case: str) -> None:
    component, example = built(kind, case), EXAMPLES[kind][case]
    before = {name: value.clone() for name, value in component.state_dict().items()}
    state = torch.random.get_rng_state()
    check = testing.check_loss if kind == "losses" else CHECKS[kind]
    check(component, *example.inputs, **example.options)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in component.state_dict().items())
    assert all(parameter.grad is None for parameter in component.parameters())
