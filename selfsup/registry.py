"""The registries: names in configs to the classes they stand for.

A registry imports the rooms named in its ``locations`` on the first look-up, and plugins on the first miss; nothing is
registered by ``import selfsup``.
"""

import inspect
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from mmengine import registry as mmengine_registries

from selfsup.errors import ConfigError, RegistryError, did_you_mean
from selfsup.plugins import Plugin, being_imported, importing, installed_plugins, provider_of

SCOPE = "selfsup"


class Registry(mmengine_registries.Registry):
    """An MMEngine registry that answers an unknown name with the nearest known one.

    Args:
        name: what the registry holds, in the singular; used in error messages.
        parent: an MMEngine registry whose entries are reachable too.
        locations: modules whose import registers our components.
    """

    def __init__(
        self, name: str, *, parent: mmengine_registries.Registry | None = None, locations: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name, build_func=_build_component, parent=parent, scope=SCOPE, locations=list(locations))
        self._offers: dict[str, Plugin] = {}
        self._contested: dict[str, str] = {}

    def find(self, name: str) -> Any:
        """The component registered as ``name``.

        Raises:
            RegistryError: if neither we, nor MMEngine, nor a plugin knows the name, or two plugins claim it.
        """
        found = self._look_up(name)
        if found is None:
            load_plugins()
            found = self._look_up(name)
        if found is None:
            raise RegistryError(f"no {self.name} is called {name!r}{did_you_mean(name, self.names())}{plugin_report()}")
        if name in self._contested:
            raise RegistryError(self._contested[name])
        return found

    def _look_up(self, name: str) -> Any:
        """The component, registered or given by its full dotted path; None if there is none."""
        self.import_from_location()
        try:
            found = self.get(name)
        except Exception as error:  # whatever the module of a dotted path raises is explained
            if "." not in name:
                raise
            cause = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
            raise RegistryError(f"{self.name} {name!r} cannot be imported: {type(cause).__name__}: {cause}") from cause
        return None if inspect.ismodule(found) else found

    def names(self, *, inherited: bool = True) -> list[str]:
        """Every name that can be built.

        Args:
            inherited: with those of MMEngine; without, only ours and those of plugins that are imported already.
        """
        self.import_from_location()
        names = set(self.module_dict)
        parent = self.parent if inherited else None
        while parent is not None:
            names |= set(parent.module_dict)
            parent = parent.parent
        return sorted(names)

    def _register_module(
        self, module: Any, module_name: str | Sequence[str] | None = None, force: bool = False
    ) -> None:
        """Called by ``register_module``; a name belongs to whoever had it first, and ours come before everybody's.

        The same class of the same module or file takes its own place again (a module reloaded, a cell run twice).
        ``force`` takes a name away, but not for a plugin: what a name means would depend on whether something else had
        been looked up before.

        Raises:
            RegistryError: if the name is taken, with both places.
        """
        names = [module_name or module.__name__] if module_name is None or isinstance(module_name, str) else module_name
        plugin = being_imported()
        if not _is_ours(module):
            self.import_from_location()
        for name in names:
            holder = self._holder(name, module)
            if holder is None or _same_source(holder, module) or (force and plugin is None):
                continue
            first, second = (provider_of(component) for component in (holder, module))
            message = (
                f"{self.name} {name!r} is registered twice: by {first.place} ({first.origin}) "
                f"and by {second.place} ({second.origin}); rename one of them"
            )
            if plugin is not None and name in self._offers:
                self._contested[name] = message
            raise RegistryError(message)
        super()._register_module(module, list(names), force=True)
        if plugin is not None and not _is_ours(module):  # ours may be imported on its way
            self._offers |= dict.fromkeys(names, plugin)

    def _holder(self, name: str, module: Any) -> Any:
        """Who has the name already; what MMEngine calls so may be replaced by us alone."""
        holder = self.module_dict.get(name)
        parent = None if _is_ours(module) else self.parent
        while holder is None and parent is not None:
            holder, parent = parent.module_dict.get(name), parent.parent
        return holder

    def _withdraw(self, plugin: Plugin) -> None:
        """Forget what a plugin has registered: half of a package must not pass for the whole."""
        own_package = plugin.module.partition(".")[0]  # a package it imports on its way stays as it is
        for name, offered_by in list(self._offers.items()):
            if offered_by == plugin and _top_package(self._module_dict[name]) == own_package:
                del self._offers[name], self._module_dict[name]


def _top_package(component: Any) -> str:
    return str(getattr(component, "__module__", "")).partition(".")[0]


def _is_ours(component: Any) -> bool:
    return _top_package(component) == SCOPE


def _same_source(a: Any, b: Any) -> bool:
    if getattr(a, "__qualname__", a) != getattr(b, "__qualname__", b):
        return False
    first, second = provider_of(a), provider_of(b)
    return first.module == second.module or (bool(first.file) and first.file == second.file)


@cache
def load_plugins() -> dict[Plugin, BaseException | None]:
    """Import every installed plugin once.

    Returns:
        What each plugin's import raised, None where all went well: a broken plugin must not take down runs that do not
        need it, and must be named in those that might.
    """
    outcome: dict[Plugin, BaseException | None] = {}
    for plugin in installed_plugins():
        outcome[plugin] = None
        try:
            with importing(plugin):
                import_module(plugin.module)
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises is reported where it matters
            outcome[plugin] = error
            for registry in KINDS.values():
                registry._withdraw(plugin)
    return outcome


def plugin_report() -> str:
    """The end of a message about a name that nobody knows: which plugins were asked, and which could not be."""
    outcome = load_plugins()
    lines = [
        f"\n  plugin {plugin} could not be imported: {type(error).__name__}: {error}"
        for plugin, error in outcome.items()
        if error is not None
    ]
    asked = [str(plugin) for plugin, error in outcome.items() if error is None]
    if asked:
        lines.append(f"\n  no such name in the installed plugins: {', '.join(asked)}")
    return "".join(lines)


def _build_component(config: Any, *, registry: Registry, **context: Any) -> Any:
    """Build a component from its dict; an object that is built already passes through untouched.

    Args:
        config: a dict with a ``type``, or a built object.
        registry: where to look the type up.
        context: arguments known only to the builder, used where the config does not give them.

    Raises:
        ConfigError: if the dict has no ``type`` or its arguments do not fit the component's signature.
        RegistryError: if the type is unknown.
    """
    if not isinstance(config, dict):
        return config
    arguments: dict[str, Any] = {**context, **config}
    kind = arguments.pop("type", None)
    if kind is None:
        raise ConfigError(f"{registry.name}: the dict has no 'type', got keys {sorted(config)}")
    component = registry.find(kind) if isinstance(kind, str) else kind
    try:
        inspect.signature(component).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{registry.name} {getattr(component, '__name__', kind)}: {error}") from None
    return component(**arguments)


BACKBONES = Registry("backbone", locations=("selfsup.backbones",))
NECKS = Registry("neck", locations=("selfsup.necks", "selfsup.methods"))  # a part that one method alone has may be
LOSSES = Registry("loss", locations=("selfsup.losses", "selfsup.methods"))  # defined in that method's file
EVALUATORS = Registry("evaluator", locations=("selfsup.evaluation",))

METHODS = Registry("method", parent=mmengine_registries.MODELS, locations=("selfsup.methods",))
DATASETS = Registry("dataset", parent=mmengine_registries.DATASETS, locations=("selfsup.data",))
TRANSFORMS = Registry("transform", parent=mmengine_registries.TRANSFORMS, locations=("selfsup.data",))
HOOKS = Registry(
    "hook", parent=mmengine_registries.HOOKS, locations=("mmengine.hooks", "selfsup.engine", "selfsup.report")
)
OPTIMIZERS = Registry(
    "optimizer", parent=mmengine_registries.OPTIMIZERS, locations=("mmengine.optim", "selfsup.engine")
)
OPTIM_WRAPPERS = Registry("optim_wrapper", parent=mmengine_registries.OPTIM_WRAPPERS, locations=("selfsup.engine",))
PARAM_SCHEDULERS = Registry(
    "parameter scheduler", parent=mmengine_registries.PARAM_SCHEDULERS, locations=("mmengine.optim", "selfsup.engine")
)
RUNNERS = Registry("runner", parent=mmengine_registries.RUNNERS, locations=("selfsup.engine",))

KINDS: dict[str, Registry] = {
    "methods": METHODS,
    "backbones": BACKBONES,
    "necks": NECKS,
    "losses": LOSSES,
    "datasets": DATASETS,
    "transforms": TRANSFORMS,
    "evaluators": EVALUATORS,
    "hooks": HOOKS,
    "optimizers": OPTIMIZERS,
    "optim_wrappers": OPTIM_WRAPPERS,
    "schedules": PARAM_SCHEDULERS,
    "runners": RUNNERS,
}
"""Every registry, by the plural of what it holds."""

for _name, _root in vars(mmengine_registries).items():  # MMEngine warns about every root without a child of our scope
    if isinstance(_root, mmengine_registries.Registry) and SCOPE not in _root.children:
        mmengine_registries.Registry(_root.name, parent=_root, scope=SCOPE)
