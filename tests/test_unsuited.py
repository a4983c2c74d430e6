"""What MMEngine and PyTorch register and a run cannot use is rejected with its reason, and not listed."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from selfsup.cli.main import main
from selfsup.config import load_config
from selfsup.errors import ConfigError, RegistryError
from selfsup.planning import describe
from selfsup.registry import BACKBONES, HOOKS, KINDS, METHODS, OPTIMIZERS
from selfsup.unsuited import REASONS
from tests.config.small import RECIPE, write


@pytest.mark.parametrize("path", REASONS)
def test_each_is_a_registered_class_that_no_registry_gives_or_lists(path: str) -> None:
    module, _, name = path.rpartition(".")
    component = getattr(import_module(module), name)
    (registry,) = [registry for registry in KINDS.values() if registry.get(name) is component]
    assert name not in registry.names()
    with pytest.raises(RegistryError) as caught:
        registry.find(name)
    assert str(caught.value) == f"{registry.name} {name!r} cannot be used here: {REASONS[path]}"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        (
            "optim_wrapper.optimizer",
            {"type": "LBFGS", "lr": 0.1},
            "optim_wrapper.optimizer.type: optimizer 'LBFGS' cannot be used here: it computes the loss several times "
            "per update, and a step here computes it once",
        ),
        (
            "optim_wrapper.optimizer",
            {"type": "SparseAdam"},
            "optim_wrapper.optimizer.type: optimizer 'SparseAdam' cannot be used here: it takes sparse gradients, and "
            "those of networks for images are dense; use Adam",
        ),
        (
            "custom_hooks",
            [{"type": "EarlyStoppingHook", "monitor": "loss"}],
            "custom_hooks.0.type: hook 'EarlyStoppingHook' cannot be used here: it waits for the scores of MMEngine's "
            "validation loop, which is never run here",
        ),
    ],
)
def test_it_is_told_with_its_place(tmp_path: Path, option: str, value: Any, said: str) -> None:
    path = write(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {option: value})
    assert str(caught.value) == f"{path} has 1 problem:\n  {said}"


def test_the_class_itself_in_a_config_file_is_rejected_too(tmp_path: Path) -> None:
    path = write(tmp_path, f"from torch.optim import LBFGS\n{RECIPE}optim_wrapper['optimizer'] = dict(type=LBFGS)\n")
    with pytest.raises(ConfigError, match=r"cannot be used here: it computes the loss several times per update"):
        load_config(path)


def test_showing_one_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "LBFGS"]) != 0
    assert "optimizer 'LBFGS' cannot be used here: it computes the loss several times" in capsys.readouterr().err


def test_what_is_not_of_the_kind_it_is_registered_as_is_rejected_when_it_is_built(tmp_path: Path) -> None:
    class Bystander:
        pass

    for registry, base, place, options in (
        (HOOKS, "mmengine.hooks.Hook", "custom_hooks.0", {"custom_hooks": [{"type": "Bystander"}]}),
        (BACKBONES, "torch.nn.Module", "model.backbone", {"model.backbone": {"type": "Bystander"}}),
    ):
        registry.register_module(name="Bystander")(Bystander)
        try:
            config = load_config(write(tmp_path), options)
            with pytest.raises(ConfigError) as caught:
                describe(config)
            assert str(caught.value) == f"{place}.type: must be made from {base} to be a {registry.name}, got Bystander"
        finally:
            del registry.module_dict["Bystander"]


def test_a_function_may_be_registered_as_long_as_it_builds_the_kind() -> None:
    def line(out_dim: int) -> nn.Module:
        return nn.Linear(1, out_dim)

    BACKBONES.register_module(name="line")(line)
    try:
        assert BACKBONES.build({"type": "line", "out_dim": 2}).out_features == 2
    finally:
        del BACKBONES.module_dict["line"]


def test_what_a_stranger_asserts_about_its_arguments_is_an_error_of_the_config() -> None:
    class Choosy(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            if depth % 2:
                raise AssertionError("depth must be even")

    METHODS.register_module(name="Choosy")(Choosy)
    try:
        with pytest.raises(ConfigError) as caught:
            METHODS.build({"type": "Choosy", "depth": 3})
        assert str(caught.value) == "depth must be even"
    finally:
        del METHODS.module_dict["Choosy"]


def test_what_of_ours_asserts_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OPTIMIZERS.find("LARS").__module__.startswith("selfsup.")

    def broken(self: Any, **given: Any) -> None:
        raise AssertionError("never")

    monkeypatch.setattr(OPTIMIZERS.find("LARS"), "__init__", broken)
    with pytest.raises(AssertionError, match="never"):
        OPTIMIZERS.build({"type": "LARS"})
