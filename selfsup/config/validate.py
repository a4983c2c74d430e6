"""Everything that is wrong with a config, found before anything is built.

Components are looked up in the registry that belongs to their place (:data:`selfsup.config.recipe.PLACES`) and their
arguments compared with their signatures, so that plugins are checked like our own.
"""

import copy
import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from selfsup.config.annotations import choices, classes, element, fits, spelled
from selfsup.config.default_hooks import doubled, no_default_hook
from selfsup.config.recipe import ALTERNATIVES, AT_LEAST, AT_MOST, PLACES, REGISTRIES, ParamGroup, Place, Recipe
from selfsup.config.signatures import Signature, signature_of
from selfsup.errors import ConfigError, Problem, RegistryError, nearest
from selfsup.registry import Registry, load_plugins, plugin_report


def check(config: Mapping[str, Any], *, added: Collection[str] = ()) -> ConfigError:
    """Check a whole config, as a file has it.

    Args:
        config: plain data.
        added: paths set by ``--cfg-options`` that the file does not have; each must be a known key or argument.

    Returns:
        An error with every problem, in the order of the config, to be raised if there are any.
    """
    walk = _Walk()
    walk.arguments(dict(config), signature_of(Recipe), "", owner="a config", registry=None)
    for name, alternatives in ALTERNATIVES.items():
        section = config.get(name)
        if isinstance(section, dict) and sum(section.get(key) is not None for key in alternatives) != 1:
            walk.report(name, f"must give exactly one of {' and '.join(alternatives)} (the other None)", section)
    for path in {**AT_LEAST, **AT_MOST}:
        number = _at(config, path)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            if number < AT_LEAST.get(path, number):
                walk.report(path, f"must be >= {AT_LEAST[path]}", number)
            if number > AT_MOST.get(path, number):
                walk.report(path, f"must be <= {AT_MOST[path]}", number)
    walk.problems += doubled(config)
    for path in sorted(set(added) - walk.recognized):
        if not any(f"{path}.".startswith(f"{problem.path}.") for problem in walk.problems):
            parent, _, name = path.rpartition(".")
            known = [str(key) for key in _at(config, parent) or () if f"{parent}.{key}" not in added]
            message = "does not exist in the config, and nothing there is known to take it"
            walk.report(path, message, expected=nearest(name, known))
    return ConfigError(*walk.problems, note=walk.note)


def find_problems(config: Mapping[str, Any], *, added: Collection[str] = ()) -> list[Problem]:
    """Every problem of a config; see :func:`check`."""
    return check(config, added=added).problems


def validate_component(component: Mapping[str, Any], place: str, *, source: str) -> None:
    """Check one component that comes without a config.

    Args:
        component: its dict.
        place: the key of :data:`~selfsup.config.recipe.PLACES` that it would stand under.
        source: where it comes from, which every path begins with.

    Raises:
        ConfigError: with every problem.
    """
    walk = _Walk()
    walk.value(dict(component), place, source, annotation=Any, registry=None)
    if walk.problems:
        raise ConfigError(*walk.problems, note=walk.note)


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config with every argument that a component was not given at its default, where that is plain data.

    Defaults of None stay left out: there they mean "not given".
    """
    completed = Recipe.from_dict(config, partial=True).to_dict()
    _Walk(fill=True).arguments(completed, signature_of(Recipe), "", owner="a config", registry=None)
    return completed


def _at(config: Any, path: str) -> Any:
    """What stands at a dotted path; None if nothing does."""
    for key in path.split("."):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


class _Walk:
    """One pass over a config; it follows the config's structure and remembers what it saw.

    Args:
        fill: put in the defaults that are left out.

    Attributes:
        problems: those found so far.
        note: what is said once after them.
        recognized: paths that some section or component is known to take.
    """

    def __init__(self, *, fill: bool = False) -> None:
        self.fill = fill
        self.problems: list[Problem] = []
        self.note = ""
        self.recognized: set[str] = set()

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
                self.recognized.add(inside + name)
                self.value(value, name, inside + name, annotation=annotations[name], registry=registry)
            elif not signature.open:
                near = nearest(str(name), annotations, show=20) or "it takes none"
                if not path and not near.startswith("did"):
                    near = f"nothing in the file uses it, so it is taken for a misspelt key; {near}"
                message = f"is not an argument of {owner}" if path else "is not a key of a config"
                self.report(f"{inside}{name}", message, value, near)
        for name, argument in signature.arguments.items():
            if name in given or (place and name in place.supplied):
                continue
            if argument.required:
                right = f"{owner} needs it ({spelled(argument.annotation)})"
                self.report(inside + name, "is missing", expected=right)
            elif self.fill and argument.default is not None and _is_plain(argument.default):
                given[name] = copy.deepcopy(argument.default)

    def value(self, value: Any, name: str, path: str, *, annotation: Any, registry: Registry | None) -> None:
        """Check one value: a component, a section, a list of either, or plain data against its annotation."""
        place = PLACES.get(name)
        if isinstance(value, dict) and place and place.named:
            for key, item in value.items():
                self.member(key, item, place, f"{path}.{key}")
        elif isinstance(value, dict):
            self.mapping(value, path, annotation=annotation, registry=registry, place=place)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in value):
            for index, item in enumerate(value):
                self.recognized.add(f"{path}.{index}")
                self.value(item, name, f"{path}.{index}", annotation=element(annotation), registry=registry)
        elif not fits(value, annotation):
            near = nearest(value, choices(annotation)) if isinstance(value, str) else ""
            self.report(path, f"must be {spelled(annotation)}", value, near if near.startswith("did") else "")

    def member(self, name: str, item: Any, place: Place, path: str) -> None:
        """Check one of a dict of components; some places know their names."""
        if place.members is not None:
            if name not in place.members:
                self.problems.append(no_default_hook(path, name))
                return
            self.recognized.add(path)
            default = place.members[name]
            is_default = not isinstance(item, dict) or item.get("type", default.type) == default.type
            supplied = (*place.supplied, *default.takes) if is_default else ()
            place = dataclasses.replace(place, default_type=default.type, supplied=supplied)
        if isinstance(item, dict):
            self.component(item, place, path, registry=place.registry)
        elif item is not None:
            self.report(path, "must be a dict with a 'type'", item)

    def mapping(
        self, value: dict[str, Any], path: str, *, annotation: Any, registry: Registry | None, place: Place | None
    ) -> None:
        """Check a dict: a component if it has a ``type`` or stands where one belongs, a section, or free data."""
        if "type" in value or place:
            self.component(value, place, path, registry=place.registry if place else registry)
        elif not fits(value, annotation):
            self.report(path, f"must be {spelled(annotation)}", value)
        elif described := classes(annotation):
            kind = described[0]
            if kind is ParamGroup and self.fill:
                for name in [name for name, item in value.items() if item is None]:
                    del value[name]
            self.arguments(value, signature_of(kind), path, owner=kind.__name__, registry=registry)
        else:
            for key, item in value.items():
                if isinstance(item, (dict, list, tuple)):
                    self.value(item, str(key), f"{path}.{key}", annotation=Any, registry=registry)

    def component(self, value: dict[str, Any], place: Place | None, path: str, *, registry: Registry | None) -> None:
        """Check a dict that describes a component: its ``type`` by the registry, the rest by the signature."""
        kind = value.get("type", place.default_type if place else None)
        if kind is None:
            names = registry.names() if registry else []
            self.report(f"{path}.type", "is missing, which names the component to build", expected=nearest("", names))
            return
        if self.fill:
            value["type"] = kind
        self.recognized.add(f"{path}.type")
        component = self.find(kind, f"{path}.type", registry, elsewhere=place is None)
        if component is None:
            for name, item in value.items():  # what is inside may be wrong too
                if name in PLACES:
                    self.value(item, name, f"{path}.{name}", annotation=Any, registry=registry)
            return
        owner = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        absent = [name for name in place.needs if not hasattr(component, name)] if place else []
        if place and absent:
            right = f"use {place.default_type}" if place.default_type else f"it has no {' and no '.join(absent)}"
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
        if elsewhere:
            candidates = [*([registry] if registry else []), *REGISTRIES]
            if all(candidate.get(kind) is None for candidate in candidates):
                load_plugins()
            registry = next((candidate for candidate in candidates if candidate.get(kind) is not None), registry)
        try:
            if registry is None:
                names = {name for candidate in REGISTRIES for name in candidate.names()}
                problem = Problem("", f"no component is called {kind!r}", expected=nearest(kind, names))
                raise RegistryError(problem, note=plugin_report(problem.expected))
            return registry.find(kind)
        except RegistryError as error:
            error.under(path)
            self.problems += error.problems
            self.note = self.note or error.note
            return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (bool, int, float, str))
