"""Everything that is wrong with a config, found before anything is built.

Components are looked up in the registry that belongs to their place (:data:`selfsup.config.recipe.PLACES`) and their
arguments compared with their signatures, so that plugins are checked like our own.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from selfsup.config.annotations import choices, classes, element, fits, spelled
from selfsup.config.changes import plain
from selfsup.config.recipe import ALTERNATIVES, LIMITS, PLACES, REGISTRIES, Place, Recipe
from selfsup.config.signatures import Signature, signature_of
from selfsup.errors import ConfigError, Problem, RegistryError, nearest
from selfsup.registry import Registry, load_plugins


def check(config: Mapping[str, Any]) -> ConfigError:
    """An error with every problem of a config, as a file has it; to be raised if there are any."""
    walk = _Walk()
    walk.arguments(dict(config), signature_of(Recipe), "", owner="a config", registry=None)
    for name, alternatives in ALTERNATIVES.items():
        section = config.get(name)
        if isinstance(section, dict) and sum(section.get(key) is not None for key in alternatives) != 1:
            walk.report(name, f"must give exactly one of {' and '.join(alternatives)} (the other None)", section)
    for path, (least, most) in LIMITS.items():
        number: Any = config
        for key in path.split("."):
            number = number.get(key) if isinstance(number, Mapping) else None
        if isinstance(number, (int, float)) and not isinstance(number, bool) and not least <= number <= most:
            walk.report(path, f"must be >= {least}" if number < least else f"must be <= {most}", number)
    return ConfigError(*walk.problems, note=walk.note)


def find_problems(config: Mapping[str, Any]) -> list[Problem]:
    """Every problem of a config, in its order."""
    return check(config).problems


def validate_component(component: Mapping[str, Any], place: str, *, source: str) -> None:
    """Check one component that comes without a config, as if it stood under the key ``place``.

    Raises:
        ConfigError: with every problem; paths begin with ``source``.
    """
    walk = _Walk()
    walk.value(dict(component), place, source, annotation=Any, registry=None)
    if walk.problems:
        raise ConfigError(*walk.problems, note=walk.note)


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config with every argument that a component was not given at its default, if that is plain data."""
    completed = Recipe.from_dict(config, partial=True).to_dict()
    _Walk(fill=True).arguments(completed, signature_of(Recipe), "", owner="a config", registry=None)
    return completed


class _Walk:
    """One pass over a config, which collects problems, or with ``fill`` puts in the defaults that are left out."""

    def __init__(self, *, fill: bool = False) -> None:
        self.fill = fill
        self.problems: list[Problem] = []
        self.note = ""

    def report(self, path: str, message: str, got: Any = None, expected: str = "") -> None:
        self.problems.append(Problem(path, message, got, expected))

    def arguments(
        self,
        given: dict[str, Any],
        signature: Signature,
        path: str,
        *,
        owner: str,
        registry: Registry | None,
        place: Place | None = None,
    ) -> None:
        """Compare the keys of a section or component with the arguments it takes."""
        annotations = {name: argument.annotation for name, argument in signature.arguments.items()}
        annotations |= dict(place.extra) if place else {}
        inside = f"{path}." if path else ""
        for name, value in given.items():
            if name == "type" and path:
                continue
            if name in annotations:
                self.value(value, name, inside + name, annotation=annotations[name], registry=registry)
            elif not signature.open:
                near = nearest(str(name), annotations, show=20) or "it takes none"
                message = f"is not an argument of {owner}" if path else "is not a key of a config"
                self.report(f"{inside}{name}", message, value, near)
        for name, argument in signature.arguments.items():
            if name in given or (place and name in place.supplied):
                continue
            if argument.required:
                right = f"{owner} needs it ({spelled(argument.annotation)})"
                self.report(inside + name, "is missing", expected=right)
            elif self.fill and argument.default is not None and plain(argument.default) == argument.default:
                given[name] = copy.deepcopy(argument.default)

    def value(self, value: Any, name: str, path: str, *, annotation: Any, registry: Registry | None) -> None:
        """Check one value: a component, a section, a list of either, or plain data against its annotation."""
        place = PLACES.get(name)
        if isinstance(value, dict) and place and place.named:
            for key, item in value.items():
                self.member(key, item, place, f"{path}.{key}")
        elif isinstance(value, dict) and (place or "type" in value):
            self.component(value, place, path, registry=place.registry if place else registry)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in value):
            for index, item in enumerate(value):
                self.value(item, name, f"{path}.{index}", annotation=element(annotation), registry=registry)
        elif not fits(value, annotation):
            near = nearest(value, choices(annotation)) if isinstance(value, str) else ""
            self.report(path, f"must be {spelled(annotation)}", value, near if near.startswith("did") else "")
        elif isinstance(value, dict) and (kinds := classes(annotation)):
            self.arguments(value, signature_of(kinds[0]), path, owner=kinds[0].__name__, registry=registry)
        elif isinstance(value, dict):  # free data, which may hold components
            for key, item in value.items():
                if isinstance(item, (dict, list, tuple)):
                    self.value(item, str(key), f"{path}.{key}", annotation=Any, registry=registry)

    def member(self, name: str, item: Any, place: Place, path: str) -> None:
        """Check one of a dict of components; some places know their names."""
        if place.members is not None:
            if name not in place.members:
                right = f"{nearest(name, place.members)}; other hooks go into custom_hooks"
                self.report(path, "is no hook of every run", expected=right)
                return
            place = place.members[name]
        if isinstance(item, dict):
            self.component(item, place, path, registry=place.registry)
        elif item is not None:
            self.report(path, "must be a dict with a 'type'", item)

    def component(self, value: dict[str, Any], place: Place | None, path: str, *, registry: Registry | None) -> None:
        """Check a dict that describes a component: its ``type`` by the registry, the rest by the signature."""
        kind = value.get("type", place.default_type if place else None)
        if kind is None:
            names = [] if registry is None else registry.names()
            self.report(f"{path}.type", "is missing, which names the component to build", expected=nearest("", names))
            return
        if self.fill:
            value["type"] = kind
        component = self.find(kind, f"{path}.type", registry, elsewhere=place is None)
        if component is None:
            for name, item in value.items():  # what is inside may be wrong too
                if name in PLACES:
                    self.value(item, name, f"{path}.{name}", annotation=Any, registry=registry)
            return
        owner = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        if place and not all(hasattr(component, name) for name in place.needs):
            right = f"use {place.default_type}" if place.default_type else ""
            self.report(f"{path}.type", f"{owner} is not one of ours, nor made from one", expected=right)
            return
        self.arguments(value, signature_of(component), path, owner=owner, registry=registry, place=place)

    def find(self, kind: Any, path: str, registry: Registry | None, *, elsewhere: bool) -> Callable[..., Any] | None:
        """The component called ``kind``: from its own registry or, in places no schema names, from any."""
        if not isinstance(kind, str):
            if callable(kind):
                return kind
            self.report(path, "must be a registered name", kind)
            return None
        if elsewhere:  # free data, in which any registry's components may be
            load_plugins()
            candidates = [*([] if registry is None else [registry]), *REGISTRIES]
            registry = next((each for each in candidates if each.get(kind) is not None), candidates[0])
        try:
            return (REGISTRIES[0] if registry is None else registry).find(kind)
        except RegistryError as error:
            error.under(path)
            self.problems += error.problems
            self.note = self.note or error.note
            return None
