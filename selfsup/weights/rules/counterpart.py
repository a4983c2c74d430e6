"""Our backbones as other libraries have them: what every family needs for it. The families' own parts are in theirs."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, device, nn

from selfsup.weights.rules.architecture import Architecture, identify
from selfsup.weights.rules.rule import Rule, renamed

SAME_NAMES = (Rule(r"(.+)", r"\1"),)


@dataclass(frozen=True)
class Counterpart:
    """A library's network like one of ours.

    Args:
        model: without classifier, not loaded yet.
        code: makes it.
        rules: our names to the library's.
    """

    model: nn.Module
    code: str
    rules: tuple[Rule, ...] = SAME_NAMES


Build = Callable[[Architecture, Any], Counterpart | None]
"""Makes the counterpart of a backbone; None if the library has none."""


def from_timm(names: tuple[str, ...], rules: tuple[Rule, ...] = SAME_NAMES, inward: tuple[Rule, ...] = ()) -> Build:
    """The first of timm's models that has the architecture.

    Args:
        names: of the models.
        rules: our names to timm's.
        inward: timm's names to ours, where they differ.
    """

    def described(model: nn.Module) -> Architecture | None:
        tensors: dict[str, Tensor] = model.state_dict()
        return identify(renamed(tensors, inward) if inward else tensors)

    def build(architecture: Architecture, backbone: Any) -> Counterpart | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm imports what torch deprecates
            import timm

            pooling: dict[str, Any] = (
                {"global_pool": "avg", "fc_norm": False} if getattr(backbone, "pool", None) == "mean" else {}
            )
            for name in names:
                with device("meta"):
                    empty = timm.create_model(name, num_classes=0)
                if described(empty) == architecture and num_heads(empty) == num_heads(backbone):
                    model = timm.create_model(name, num_classes=0, **pooling)
                    return Counterpart(model, timm_code(name, pooling), rules)
        return None

    return build


def timm_itself(backbone: Any) -> Counterpart:
    """The network that the backbone called Timm holds."""
    import timm

    model = timm.create_model(backbone.name, num_classes=0, **backbone.model_args)
    return Counterpart(model, timm_code(backbone.name, backbone.model_args), (Rule(r"model\.(.+)", r"\1"),))


def timm_code(name: str, arguments: dict[str, Any]) -> str:
    """The call that makes a network of timm without classifier."""
    stated = "".join(f", {key}={value!r}" for key, value in arguments.items())
    return f"model = timm.create_model({name!r}, num_classes=0{stated})"


def num_heads(model: Any) -> int | None:
    """Attention heads of a ViT, which its tensors do not show."""
    blocks = getattr(model, "blocks", None)
    return None if blocks is None else blocks[0].attn.num_heads
