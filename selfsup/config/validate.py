"""Everything that is wrong with a config, found before anything is built.

Components are looked up in the registry that belongs to their place (:data:`selfsup.config.recipe.PLACES`) and their
arguments compared with their signatures, so that plugins are checked like our own.
"""

import copy
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from selfsup.config.annotations import choices, classes, element, fits, spelled
from selfsup.config.default_hooks import doubled, no_default_hook, with_default_hooks
from selfsup.config.recipe import ALTERNATIVES, AT_LEAST, AT_MOST, PLACES, REGISTRIES, SECTIONS, Place, Recipe
from selfsup.config.signatures import Signature, signature_of
from selfsup.errors import ConfigError, RegistryError, did_you_mean, listing
from selfsup.registry import Registry, load_plugins, plugin_report


def validate(
    config: Mapping[str, Any], *, source: str = "config", added: Collection[str] = (), known: Sequence[str] = ()
) -> None:
    """Check a whole config; where something is wrong, try what is not, so that everything is told at once.

    Args:
        config: what ``read_config`` gives.
        source: the config's file, for the heading of the message.
        added: paths set by ``--cfg-options`` that the file does not have; each must be a known key or argument.
        known: problems found before, to be told with the others.

    Raises:
        ConfigError: listing every problem, each as ``path: what is wrong, what would be right``.
    """
    problems = [*known, *find_problems(config, added=added)]
    if problems:
        from selfsup.planning.trial import try_out

        broken = [problem.partition(": ")[0] for problem in problems]
        sound = fill_defaults({name: section for name, section in config.items() if name not in broken})
        _, rejected = try_out(sound, broken=broken)
        raise ConfigError(listing([*problems, *rejected], source=source))


def validate_component(component: Mapping[str, Any], place: str, *, source: str) -> None:
    """Check one component that comes without a config.

    Args:
        component: its dict.
        place: the key of :data:`~selfsup.config.recipe.PLACES` that it would stand under.
        source: where it comes from, which every message begins with.

    Raises:
        ConfigError: listing every problem.
    """
    walk = _Walk()
    walk.value(dict(component), place, source, annotation=Any, registry=None, fill=False)
    if walk.problems:
        raise ConfigError("\n".join(walk.problems))


def find_problems(config: Mapping[str, Any], *, added: Collection[str] = ()) -> list[str]:
    """Every problem of a config, in the order of the config; see :func:`validate`."""
    walk = _Walk()
    walk.arguments(dict(config), signature_of(Recipe), "", owner="a config", registry=None)
    for name, alternatives in ALTERNATIVES.items():
        section = config.get(name)
        if isinstance(section, dict) and sum(section.get(key) is not None for key in alternatives) != 1:
            walk.report(name, f"must give exactly one of {' and '.join(alternatives)} (the other None), got {section}")
    for path in {**AT_LEAST, **AT_MOST}:
        number = _at(config, path)
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            continue
        if path in AT_LEAST and number < AT_LEAST[path]:
            walk.report(path, f"must be >= {AT_LEAST[path]}, got {number}")
        if path in AT_MOST and number > AT_MOST[path]:
            walk.report(path, f"must be <= {AT_MOST[path]}, got {number}")
    walk.problems += doubled(config)
    for path in added:
        above = tuple(f"{'.'.join(path.split('.')[:depth])}:" for depth in range(1, path.count(".") + 2))
        if path not in walk.recognized and not any(problem.startswith(above) for problem in walk.problems):
            parent, _, name = path.rpartition(".")
            known = [key for key in _at(config, parent) or () if f"{parent}.{key}" not in added]
            near = did_you_mean(name, map(str, known))
            walk.report(path, f"does not exist in the config, and nothing there is known to take it{near}")
    return walk.problems


def _at(config: Any, path: str) -> Any:
    """What stands at a dotted path; None if nothing does."""
    for key in path.split("."):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def fill_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a valid config with every argument that was left out at its default, where that is plain data.

    Defaults of None stay left out, in sections and components alike: there they mean "not given".
    """
    walk = _Walk()
    completed = copy.deepcopy(dict(config))
    completed["evaluators"] = {
        name: evaluator for name, evaluator in (completed.get("evaluators") or {}).items() if evaluator is not None
    }
    completed["default_hooks"] = with_default_hooks(completed.get("default_hooks"))
    walk.arguments(completed, signature_of(Recipe), "", owner="a config", registry=None, fill=True)
    return completed


class _Walk:
    """One pass over a config; it follows the config's structure and remembers what it saw.

    ``problems`` are the messages so far, ``recognized`` the paths that some section or component is known to take.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.recognized: set[str] = set()

    def report(self, path: str, message: str) -> None:
        self.problems.append(f"{path}: {message}")

    def arguments(
        self,
        given: dict[str, Any],
        signature: Signature,
        path: str,
        *,
        owner: str,
        registry: Registry | None,
        place: Place | None = None,
        fill: bool = False,
    ) -> None:
        """Compare the keys of a section or component with the arguments it takes."""
        if fill and registry is None:  # in sections None stands for "not given"
            for name in [name for name, value in given.items() if value is None]:
                del given[name]
        supplied = place.supplied if place else ()
        extra = dict(place.extra) if place else {}
        for name, value in given.items():
            here = f"{path}.{name}" if path else str(name)
            if name == "type" and path:
                continue
            if name in extra or name in signature.arguments:
                self.recognized.add(here)
                annotation = extra[name] if name in extra else signature.arguments[name].annotation
                self.value(value, str(name), here, annotation=annotation, registry=registry, fill=fill)
            elif not signature.open:
                near = did_you_mean(str(name), [*signature.arguments, *extra], show=20) or "; it takes none"
                what = "is not a key of" if owner.startswith(("a ", "an ")) else "is not an argument of"
                if not path and not near.startswith("; did"):
                    near = "; nothing in the file uses it, so it is taken for a misspelt key" + near
                self.report(here, f"{what} {owner}, got {_short(value)}{near}")
        for name, argument in signature.arguments.items():
            if name in given or name in supplied:
                continue
            here = f"{path}.{name}" if path else name
            if argument.required:
                self.report(here, f"is missing; {owner} needs it ({spelled(argument.annotation)})")
            elif fill and argument.default is not None and _is_plain(argument.default):
                given[name] = copy.deepcopy(argument.default)

    def value(
        self, value: Any, name: str, path: str, *, annotation: Any, registry: Registry | None, fill: bool
    ) -> None:
        """Check one value: a component, a section, a list of either, or plain data against its annotation."""
        place = PLACES.get(name)
        if isinstance(value, dict) and not (place and place.named):
            self.mapping(value, name, path, annotation=annotation, registry=registry, fill=fill)
        elif isinstance(value, dict) and place:
            for key, item in value.items():
                chosen = self.member(key, item, place, f"{path}.{key}")
                if chosen is None:
                    continue
                if isinstance(item, dict):
                    self.component(item, chosen, f"{path}.{key}", registry=place.registry, fill=fill)
                elif item is not None:
                    self.report(f"{path}.{key}", f"must be a dict with a 'type', got {_short(item)}")
        elif isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in value):
            for index, item in enumerate(value):
                item_path = f"{path}.{index}"
                self.recognized.add(item_path)
                self.value(item, name, item_path, annotation=element(annotation), registry=registry, fill=fill)
        elif not fits(value, annotation):
            near = did_you_mean(value, choices(annotation)) if isinstance(value, str) and choices(annotation) else ""
            near = near if near.startswith("; did") else ""
            self.report(path, f"must be {spelled(annotation)}, got {_short(value)}{near}")

    def member(self, name: str, item: Any, place: Place, path: str) -> Place | None:
        """What belongs under a name of a dict of components; None where the place knows its names and this is none."""
        if place.members is None:
            return place
        if name not in place.members:
            self.report(path, no_default_hook(name))
            return None
        self.recognized.add(path)
        default = place.members[name]
        replaced = isinstance(item, dict) and item.get("type", default.type) != default.type
        return dataclasses.replace(
            place, default_type=default.type, supplied=() if replaced else (*place.supplied, *default.takes)
        )

    def mapping(
        self, value: dict[str, Any], name: str, path: str, *, annotation: Any, registry: Registry | None, fill: bool
    ) -> None:
        """Check a dict: a component if it has a ``type`` or stands where one belongs, a section, or free data."""
        place = PLACES.get(name)
        if name in SECTIONS:
            section = SECTIONS[name]
            self.arguments(value, signature_of(section), path, owner=_a(name), registry=None, fill=fill)
        elif "type" in value or place:
            self.component(value, place, path, registry=place.registry if place else registry, fill=fill)
        elif not fits(value, annotation):
            self.report(path, f"must be {spelled(annotation)}, got {_short(value)}")
        elif described := classes(annotation):
            self.arguments(
                value, signature_of(described[0]), path, owner=described[0].__name__, registry=registry, fill=fill
            )
        else:
            for key, item in value.items():
                if isinstance(item, (dict, list, tuple)):
                    self.value(item, str(key), f"{path}.{key}", annotation=Any, registry=registry, fill=fill)

    def component(
        self, value: dict[str, Any], place: Place | None, path: str, *, registry: Registry | None, fill: bool
    ) -> None:
        """Check a dict that describes a component: its ``type`` by the registry, the rest by the signature."""
        kind = value.get("type")
        if kind is None and place and place.default_type:
            kind = place.default_type
            if fill:
                value["type"] = kind
        if kind is None:
            names = [] if registry is None else registry.names()
            self.report(f"{path}.type", f"is missing; it names the component to build{did_you_mean('', names)}")
            return
        self.recognized.add(f"{path}.type")
        component = self.find(kind, path, registry, elsewhere=place is None)
        if component is None:
            for name, item in value.items():  # what is inside may be wrong too
                if name in PLACES:
                    self.value(item, name, f"{path}.{name}", annotation=Any, registry=registry, fill=fill)
            return
        owner = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        absent = [name for name in place.needs if not hasattr(component, name)] if place else []
        if place and absent:
            right = f"use {place.default_type}" if place.default_type else f"it has no {' and no '.join(absent)}"
            self.report(f"{path}.type", f"{owner} is not one of ours, nor made from one; {right}")
            return
        signature = signature_of(component)
        self.arguments(value, signature, path, owner=owner, registry=registry, place=place, fill=fill)

    def find(self, kind: Any, path: str, registry: Registry | None, *, elsewhere: bool) -> Callable[..., Any] | None:
        """The component called ``kind``: from its own registry or, in places no schema names, from any."""
        if not isinstance(kind, str):
            if callable(kind):
                return kind
            self.report(f"{path}.type", f"must be a registered name, got {_short(kind)}")
            return None
        if elsewhere:
            candidates = ([] if registry is None else [registry]) + list(REGISTRIES)
            if all(candidate.get(kind) is None for candidate in candidates):
                load_plugins()
            for candidate in candidates:
                if candidate.get(kind) is not None:
                    return candidate.find(kind)
        try:
            return (REGISTRIES[0] if registry is None else registry).find(kind)
        except RegistryError as error:
            if registry is None:
                names = [name for candidate in REGISTRIES for name in candidate.names()]
                near = did_you_mean(kind, names)
                self.report(f"{path}.type", f"no component is called {kind!r}{near}{plugin_report()}")
            else:
                self.report(f"{path}.type", str(error))
            return None


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (bool, int, float, str))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
