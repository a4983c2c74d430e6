"""Which parameters of a method are trained, with which weight decay, and which are frozen."""

from torch import nn

from selfsup.config.recipe import Recipe
from selfsup.engine.build import build_optim_wrapper


def parameter_rows(method: nn.Module, recipe: Recipe) -> list[tuple[str, str]]:
    """What the optimizer does with the parameters, as labels and texts of a table.

    Args:
        method: of the recipe; it may be on the meta device.
        recipe: whose optimizer, ``param_groups`` and ``freeze`` are looked at.
    """
    wrapper = build_optim_wrapper(recipe, method)
    names = {parameter: name for name, parameter in method.named_parameters()}
    decays: dict[float, list[nn.Parameter]] = {}
    for group in wrapper.optimizer.param_groups:
        decays.setdefault(group.get("weight_decay", 0), []).extend(group["params"])
    scheduled = any(schedule.get("param_name") == "weight_decay" for schedule in recipe.schedules.values())
    rows = []
    for decay, parameters in sorted(decays.items(), reverse=True):
        label = f"weight decay {decay:g}{' at first' if scheduled and decay else ''}"
        examples = ", ".join(names[parameter] for parameter in parameters[:2])
        rows.append((label, f"{_counted(parameters)}: {examples}{', ...' if len(parameters) > 2 else ''}"))
    for part, (length, unit) in wrapper.freeze.items():
        parameters = [parameter for parameter, name in names.items() if part in name and parameter.requires_grad]
        counted = unit[:-1] if length == 1 else unit
        rows.append((f"frozen for {length:g} {counted}", f"{_counted(parameters)} with {part!r} in their name"))
    if resting := {parameter: name for parameter, name in names.items() if not parameter.requires_grad}:
        parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in resting.values()))
        rows.append(("no gradient", f"{_counted(list(resting))}, in {parts}"))
    return rows


def _counted(parameters: list[nn.Parameter]) -> str:
    count = sum(parameter.numel() for parameter in parameters)
    return f"{count:,} parameters in {len(parameters)} tensor{'' if len(parameters) == 1 else 's'}"
