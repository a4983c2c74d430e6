import pytest

from selfsup.errors import ConfigError
from selfsup.transfer.bit_rule import hyper_rule
from tests.reference import record


def test_schedule_mixup_and_rates_are_those_of_the_official_code() -> None:
    expected = record("bit/hyperrule")["expected"]
    for size, wanted in expected.items():
        rule = hyper_rule(int(size), 224, 224)
        assert [rule.warmup_steps, *rule.drops, rule.steps] == wanted["schedule"], size
        assert rule.mixup_alpha == wanted["mixup"], size
        for step, rate in wanted["lr"].items():
            if rate is None:
                with pytest.raises(ValueError, match=rf"must be in \[0, {rule.steps:,}\), got {int(step):,}"):
                    rule.lr(int(step))
            else:
                assert rule.lr(int(step)) == pytest.approx(rate, rel=0, abs=1e-15), (size, step)


def test_resolutions_are_those_of_code_and_paper() -> None:
    rules = record("bit/resolution")
    for name, options in {
        "code": {},
        "paper": {"source": "paper"},
        "paper_r152x4": {"source": "paper", "largest_network": True},
    }.items():
        found = [hyper_rule(1000, *size, **options) for size in rules["input"]["hw"]]
        assert [[rule.resize, rule.crop] for rule in found] == rules["expected"][name], name
    assert hyper_rule(1000, 224, 224, largest_network=True) == hyper_rule(1000, 224, 224)


def test_a_small_task_is_lowered_where_each_source_says() -> None:
    wanted = record("bit/lr_drop_small")["expected"]
    rule = hyper_rule(1000, 224, 224)
    lower = [step for step in range(rule.warmup_steps + 1, rule.steps) if rule.lr(step) < rule.lr(step - 1)]
    assert lower == wanted["code_first_lower_steps"]
    assert list(hyper_rule(1000, 224, 224, "paper").drops) == wanted["paper_steps"]
    for size in (20_000, 500_000):
        assert hyper_rule(size, 224, 224, "paper").drops == hyper_rule(size, 224, 224).drops


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 224, 224), "num_examples: must be > 0, got 0"),
        ((10, -1, 224), "height: must be > 0, got -1"),
        ((10, 224, 0), "width: must be > 0, got 0"),
        ((10, 224, 224, "papre"), "source: unknown source 'papre'; did you mean 'paper'?"),
    ],
)
def test_senseless_tasks_are_rejected(arguments: tuple, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hyper_rule(*arguments)
    assert str(caught.value) == f"hyper_rule.{message}"
    with pytest.raises(ConfigError, match=r"hyper_rule\.base_lr: must be > 0, got 0"):
        hyper_rule(10, 224, 224, base_lr=0)
