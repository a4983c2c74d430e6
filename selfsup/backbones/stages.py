"""Which of a backbone's tensors belong to the stem, and which to each of its four stages."""

import re
from collections.abc import Iterator

from torch import nn

from selfsup.backbones.base import NUM_STAGES, quarter
from selfsup.backbones.timm import Timm, timm_stage
from selfsup.errors import ConfigError

_NUMBERED = re.compile(r"(?:layer|stage|s)([1-4])")


def stage_parts(backbone: nn.Module) -> list[list[str]]:
    """Names of the submodules and tensors that each stage consists of, none twice.

    The stem is all that comes before the first stage; what comes after a stage and is in none, such as a last norm,
    belongs to that stage.

    Args:
        backbone: with children called ``layer1`` to ``layer4``, ``stage1`` to or ``s1`` to, or a row ``blocks`` whose
            quarters are the stages; or one of timm's.

    Returns:
        Five lists: the stem's, then those of stages 1 to 4.

    Raises:
        ConfigError: if the network has no such stages.
    """
    stage_of = tensor_stages(backbone)
    parts: list[list[str]] = [[] for _ in range(NUM_STAGES + 1)]

    def sort(module: nn.Module, name: str) -> None:
        start = f"{name}." if name else ""
        inside = {stage for tensor, stage in stage_of.items() if tensor.startswith(start)}
        if len(inside) == 1:
            parts[inside.pop()].append(name)
            return
        for tensor in (*module._parameters, *module._buffers):
            if start + tensor in stage_of:
                parts[stage_of[start + tensor]].append(start + tensor)
        for child, part in module.named_children():
            sort(part, start + child)

    sort(backbone, "")
    return parts


def tensor_stages(backbone: nn.Module) -> dict[str, int]:
    """The stage of every parameter and buffer by its name, 0 for the stem; see :func:`stage_parts`."""
    of_block = {id(block): number for number, blocks in _stages(backbone) for block in blocks}
    in_blocks: dict[str, int] = {}
    for name, module in backbone.named_modules():
        if (number := of_block.get(id(module))) is not None:
            in_blocks |= {f"{name}.{tensor}": number for tensor in module.state_dict()}
    found, latest = {}, 0
    for tensor in backbone.state_dict():
        latest = max(latest, in_blocks.get(tensor, 0))
        found[tensor] = in_blocks.get(tensor, latest)
    return found


def freeze_stages(backbone: nn.Module, up_to: int) -> list[nn.Module]:
    """Take the gradients of the stem and of stages 1 to ``up_to`` away.

    Returns:
        Their submodules, which the caller keeps in eval mode, so that running statistics stay too.

    Raises:
        ConfigError: if there is no such stage.
    """
    if up_to not in range(NUM_STAGES + 1):
        raise ConfigError.at("frozen_stages", "must be 0 (the stem alone) to 4 (the whole backbone)", got=up_to)
    modules = []
    named, tensors = dict(backbone.named_modules()), dict(backbone.named_parameters())
    for name in (name for part in stage_parts(backbone)[: up_to + 1] for name in part):
        if name in named:
            modules.append(named[name].requires_grad_(False))
        elif name in tensors:
            tensors[name].requires_grad_(False)
    return modules


def _stages(backbone: nn.Module) -> Iterator[tuple[int, list[nn.Module]]]:
    if isinstance(backbone, Timm):
        for number in range(1, NUM_STAGES + 1):
            blocks = timm_stage(backbone.model, number)
            yield number, [part for block in blocks for part in (block if isinstance(block, tuple) else (block,))]
        return
    children = dict(backbone.named_children())
    numbered = {int(match[1]): part for name, part in children.items() if (match := _NUMBERED.fullmatch(name))}
    if len(numbered) == NUM_STAGES:
        yield from ((number, [part]) for number, part in numbered.items())
        return
    row = children.get("blocks")
    if not isinstance(row, nn.Sequential | nn.ModuleList) or len(row) < NUM_STAGES:
        raise ConfigError.at(
            "backbone",
            f"{type(backbone).__name__} has no stages that are known",
            expected="children layer1 to layer4, or a row called blocks",
        )
    for number in range(1, NUM_STAGES + 1):
        yield number, list(row)[quarter(number, len(row))]
