"""The kits accept what keeps every rule, and reject what breaks one; every rule is seen to reject."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from torch.nn.utils.parametrizations import weight_norm

from selfsup import testing
from selfsup.ops.dist import all_reduce_sum, world_size
from selfsup.testing.hook import SIMCLR
from tests.contracts.broken_backbones import BROKEN as BACKBONES
from tests.contracts.broken_backbones import FEATURE_MAPS, ONE_MAP, random_constant
from tests.contracts.broken_evaluators import EVALUATORS, TASK, TASKS, Mean
from tests.contracts.broken_hooks import HOOKS, at_the_end
from tests.contracts.broken_methods import METHODS, Center, Idle, StillTeacher
from tests.contracts.broken_parts import LOSSES, NECKS
from tests.contracts.broken_sources import SOURCES
from tests.contracts.broken_transforms import TRANSFORMS
from tests.contracts.examples import rows
from tests.contracts.rejection import Broken, changed, rejection, rules
from tests.contracts.sound import Darken, Distance, Images, Neck, Net, Sound, TwoCrops
from tests.evaluation.pictures import SMALL


def check_evaluator(evaluator: Mean) -> None:
    testing.check_evaluator(evaluator, TASK, input_contract=SMALL)


def check_backbone(backbone: Net, **options: object) -> None:
    testing.check_backbone(backbone, **{**ONE_MAP, **options})


BROKEN: dict[Callable[..., None], list[Broken]] = {
    check_backbone: BACKBONES + FEATURE_MAPS,
    testing.check_neck: NECKS,
    testing.check_loss: LOSSES,
    testing.check_method: METHODS,
    testing.check_transform: TRANSFORMS,
    testing.check_hook: HOOKS,
    testing.check_source: SOURCES,
    check_evaluator: EVALUATORS,
    testing.check_task: TASKS,
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
    assert said.startswith(f"{type(broken.make()).__name__}: ")
    end = 0
    for part in broken.sentence.split(".*"):
        end = said.find(part, end)
        assert end >= 0, said


def test_every_rule_of_the_kits_is_seen_to_reject() -> None:
    seen = {rejection(check, broken)[1] for check, cases in BROKEN.items() for broken in cases}
    never = [
        f"{file}:{line}"
        for (file, line), lines in rules().items()
        if not any(where == file and number in lines for where, number in seen)
    ]
    assert not never, f"add a component that breaks the rule at {', '.join(never)}"


def test_what_keeps_every_rule_is_accepted() -> None:
    check_backbone(Net())
    testing.check_neck(Neck())
    testing.check_loss(Distance(), rows(4, 3, 0), rows(4, 3, 1))
    testing.check_method(Sound())
    testing.check_transform(Darken(), varies=True)
    testing.check_transform(TwoCrops(), varies=True)
    testing.check_source(Images())
    check_evaluator(Mean())
    testing.check_task(TASK)


def test_a_parametrized_layer_is_accepted_though_it_cannot_be_pickled() -> None:
    method = Sound()
    weight_norm(method.neck.mlp[0])
    testing.check_method(method)


def test_what_its_author_allows_is_accepted() -> None:
    testing.check_method(Idle(), untrained=("predictor.*",))
    testing.check_method(StillTeacher(), teacher_moves=False)
    testing.check_method(Center(), per_process=("center",))
    testing.check_hook(at_the_end(lambda runner: torch.rand(1))(), observes=False)


def test_state_that_is_reduced_over_the_processes_is_accepted() -> None:
    testing.check_method(changed(Center, reduce=lambda self, mean: all_reduce_sum(mean) / world_size())())


class ReadsDeadPrototypes(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        assert 0 <= outputs["dead_prototypes"] <= 1


def test_a_hook_is_checked_with_the_method_whose_outputs_it_reads() -> None:
    swav = {**SIMCLR, "type": "SwAV", "prototypes": {"type": "Prototypes", "num_prototypes": 6}}
    testing.check_hook(ReadsDeadPrototypes(), method={**swav, "loss": {"type": "SwAVLoss"}})
    with pytest.raises(AssertionError, match="KeyError: 'dead_prototypes'"):
        testing.check_hook(ReadsDeadPrototypes())


def test_a_constant_that_another_draws_anew_is_found_where_another_is_given() -> None:
    one, another = random_constant()
    check_backbone(one)
    with pytest.raises(AssertionError, match="RandomConstant: must give the same output once its state dict is loaded"):
        check_backbone(one, another=another)
