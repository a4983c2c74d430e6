"""The registries: names in configs to the classes they stand for.

A registry imports the rooms named in its ``locations`` on the first look-up, and plugins on the first miss; nothing is
registered by ``import selfsup``.

A name may come with somebody's weights, so it never imports anything by itself and never means more than a component:
it is a registered name, or the dotted path of a class of the right kind in a module that was admitted by the user.
"""

import inspect
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from mmengine import registry as mmengine_registries

from selfsup.errors import ConfigError, Problem, RegistryError, nearest, require, under
from selfsup.plugins import Plugin, being_imported, importing, installed_plugins, provider_of
from selfsup.unsuited import why_unsuited

SCOPE = "selfsup"


class Registry(mmengine_registries.Registry):
    """An MMEngine registry that answers an unknown name with the nearest known one.

    Args:
        name: what the registry holds, in the singular; used in error messages.
        base: the dotted name of the class that every class of this kind is made from; empty if there is none.
        methods: what a class of this kind defines, where no base class says so.
        parent: an MMEngine registry whose entries are reachable too.
        offers_parents: whether those are of use here, so that they are listed.
        locations: modules whose import registers our components.
    """

    def __init__(
        self,
        name: str,
        *,
        base: str = "",
        methods: tuple[str, ...] = (),
        parent: mmengine_registries.Registry | None = None,
        offers_parents: bool = False,
        locations: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, build_func=_build_component, parent=parent, scope=SCOPE, locations=list(locations))
        self._base = base
        self._methods = methods
        self._offers_parents = offers_parents
        self._offers: dict[str, Plugin] = {}
        self._contested: dict[str, str] = {}

    def find(self, name: str) -> Any:
        """The component called ``name``: registered here or with MMEngine, or a class of an admitted module.

        Raises:
            RegistryError: if neither we, nor MMEngine, nor a plugin knows the name, two plugins claim it, or what it
                means cannot do its work here.
        """
        found = self.get(name)
        if found is None:
            load_plugins()
            found = self.get(name)
        if found is None:
            right = [nearest(name.rpartition(".")[2], self.names()), *([_DOTTED] if "." in name else [])]
            problem = Problem("", f"no {self.name} is called {name!r}", expected="; ".join(filter(None, right)))
            raise RegistryError(problem, note=plugin_report(right[0]))
        if name in self._contested:
            raise RegistryError(self._contested[name])
        if reason := why_unsuited(found):
            raise RegistryError(f"{self.name} {name!r} cannot be used here: {reason}")
        return found

    def get(self, key: str) -> Any:
        """What :meth:`find` finds without asking plugins; None if there is nothing.

        MMEngine's own method imports whatever a dotted name begins with, and returns whatever is there.
        """
        self.import_from_location()
        scope, name = self.split_scope_key(key)
        for registry in self._family():
            if key in registry.module_dict:
                return registry.module_dict[key]
            if scope == registry.scope and name in registry.module_dict:
                return registry.module_dict[name]
        found = _admitted_class(key)
        return found if found is not None and self.holds(found) else None

    def holds(self, component: Any) -> bool:
        """Whether a class or function is registered here, or is a class of this registry's kind."""
        if any(component is registered for registry in self._family() for registered in registry.module_dict.values()):
            return True
        if not isinstance(component, type) or (self._base and not issubclass(component, resolve_name(self._base))):
            return False
        return all(any(name in vars(base) for base in component.__mro__) for name in self._methods)

    def check_kind(self, built: Any) -> None:
        """Reject what a component has built if nothing of this registry's kind can be done with it.

        Raises:
            ConfigError: if it is not made from the kind's base class.
        """
        if self._base and not isinstance(built, resolve_name(self._base)):
            raise ConfigError.at("type", f"must be made from {self._base} to be a {self.name}", got=type(built))

    def _family(self) -> list[mmengine_registries.Registry]:
        """This registry and those it inherits from."""
        family: list[mmengine_registries.Registry] = [self]
        while (parent := family[-1].parent) is not None:
            family.append(parent)
        return family

    def names(self, *, inherited: bool | None = None) -> list[str]:
        """Every name that is offered: ours, and those of plugins that are imported already.

        Args:
            inherited: with those of MMEngine; None for what this registry was made with.
        """
        self.import_from_location()
        with_parents = self._offers_parents if inherited is None else inherited
        family = self._family() if with_parents else [self]
        found = {name: component for registry in family for name, component in registry.module_dict.items()}
        return sorted(name for name, component in found.items() if not why_unsuited(component))

    def _register_module(
        self, module: Any, module_name: str | Sequence[str] | None = None, force: bool = False
    ) -> None:
        """Called by ``register_module``; a name belongs to whoever had it first, and ours come before everybody's.

        The same class of the same module or file takes its own place again (a module reloaded, a cell run twice).
        ``force`` takes a name away, but none of ours, by which recipes and cards mean ours; nor for a plugin: what a
        name means would depend on whether something else had been looked up before.

        Raises:
            RegistryError: if the name is taken, with both places.
        """
        names = [module_name or module.__name__] if module_name is None or isinstance(module_name, str) else module_name
        plugin = being_imported()
        if not _is_ours(module):
            self.import_from_location()
        for name in names:
            holder = self._holder(name, module)
            forced = force and plugin is None
            if holder is None or _same_source(holder, module) or (forced and not _is_ours(holder)):
                continue
            first, second = (provider_of(component) for component in (holder, module))
            right = (
                f"force=True takes no name of ours, choose another: name='Own{name}'"
                if forced
                else "rename one of them"
            )
            message = (
                f"{self.name} {name!r} is registered twice: by {first.place} ({first.origin}) "
                f"and by {second.place} ({second.origin}); {right}"
            )
            if plugin is not None and name in self._offers:
                self._contested[name] = message
            raise RegistryError(message)
        super()._register_module(module, list(names), force=True)
        if plugin is not None and not _is_ours(module):  # ours may be imported on its way
            self._offers |= dict.fromkeys(names, plugin)

    def _holder(self, name: str, module: Any) -> Any:
        """Who has the name already; what MMEngine calls so may be replaced by us alone."""
        family = [self] if _is_ours(module) else self._family()
        return next((registry.module_dict[name] for registry in family if name in registry.module_dict), None)

    def _withdraw(self, plugin: Plugin) -> None:
        """Forget what a plugin has registered: half of a package must not pass for the whole."""
        own_package = plugin.module.partition(".")[0]  # a package it imports on its way stays as it is
        for name, offered_by in list(self._offers.items()):
            if offered_by == plugin and _top_package(self._module_dict[name]) == own_package:
                del self._offers[name], self._module_dict[name]


_admitted: set[str] = set()


def admit(module: str) -> None:
    """Let names such as ``'module.Class'`` mean the classes of a module that the user has named and that is imported.

    Args:
        module: its dotted name.
    """
    _admitted.add(module)


def _admitted_class(path: str) -> type | None:
    module = max((name for name in _admitted if path.startswith(f"{name}.")), key=len, default=None)
    found: Any = sys.modules.get(module) if module is not None else None
    for name in path.removeprefix(f"{module}.").split("."):
        found = vars(found).get(name) if found is not None else None
    return found if isinstance(found, type) else None


_DOTTED = "a class that is not registered is called module.Class where custom_imports.imports names its module"


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


def plugin_report(near: str = "") -> str:
    """A note for a message about a name that nobody knows: which plugins were asked, and which could not be.

    Args:
        near: what :func:`~selfsup.errors.nearest` found.
    """
    outcome = load_plugins()
    lines = [
        f"plugin {plugin} could not be imported: {type(error).__name__}: {error}"
        for plugin, error in outcome.items()
        if error is not None
    ]
    asked = ", ".join(str(plugin) for plugin, error in outcome.items() if error is None)
    if asked:
        lines.append(f"no such name in the installed plugins: {asked}")
    elif not near.startswith("did"):
        lines.append("no plugin is installed; is its package missing, or its module in custom_imports.imports?")
    return "\n".join(lines)


def _build_component(config: Any, *, registry: Registry, **context: Any) -> Any:
    """Build a component from its dict; an object that is built already passes through untouched.

    Args:
        config: a dict with a ``type``, or a built object.
        registry: where to look the type up.
        context: arguments known only to the builder, used where the config does not give them.

    Raises:
        ConfigError: if the dict has no ``type``, one that is neither a name nor a class of the registry's kind,
            arguments that do not fit the component's signature or that somebody else's component asserts against, or
            if what is built is not of the registry's kind.
        RegistryError: if the name is unknown.
    """
    if not isinstance(config, dict):
        return config
    arguments: dict[str, Any] = {**context, **config}
    kind = arguments.pop("type", None)
    require(kind is not None, "type", "is missing, which names the component to build")
    with under("type"):
        component = registry.find(kind) if isinstance(kind, str) else kind
    require(registry.holds(component), "type", f"must be a registered {registry.name} or a class of its kind", got=kind)
    owner = getattr(component, "__name__", kind)
    signature = inspect.Signature() if takes_nothing(component) else inspect.signature(component)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = [name for name in signature.parameters if name not in context]
        if not any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values()):
            for name in config.keys() - {"type", *signature.parameters}:
                message = f"is not an argument of {owner}"
                raise ConfigError.at(name, message, got=config[name], expected=nearest(name, known)) from None
        raise ConfigError.at("", f"{owner}: {error}") from None
    try:
        built = component(**arguments)
    except AssertionError as error:  # how MMEngine rejects arguments
        if _is_ours(component):
            raise
        line = traceback.extract_tb(error.__traceback__)[-1].line or ""
        raise ConfigError.at("", str(error) or f"must fulfil: {line.removeprefix('assert ')}") from error
    registry.check_kind(built)
    return built


def takes_nothing(component: Any) -> bool:
    """Whether a class is built by PyTorch's bare ``Module.__init__``, which has ``**kwargs`` only to reject them."""
    nn: Any = sys.modules.get("torch.nn")  # asked for, not imported: torch takes seconds
    is_bare = nn is not None and getattr(component, "__init__", None) is nn.Module.__init__
    return is_bare and not getattr(component, "call_super_init", False)


BACKBONES = Registry("backbone", base="torch.nn.Module", locations=("selfsup.backbones",))
NECKS = Registry(  # a part that one method alone has may be defined in that method's file
    "neck", base="torch.nn.Module", locations=("selfsup.necks", "selfsup.methods")
)
LOSSES = Registry("loss", base="torch.nn.Module", locations=("selfsup.losses", "selfsup.methods"))
EVALUATORS = Registry("evaluator", methods=("evaluate",), locations=("selfsup.evaluation",))

METHODS = Registry(
    "method",
    base="torch.nn.Module",
    parent=mmengine_registries.MODELS,
    locations=("selfsup.methods", "selfsup.transfer"),
)
DATASETS = Registry("dataset", methods=("__len__",), parent=mmengine_registries.DATASETS, locations=("selfsup.data",))
TRANSFORMS = Registry(
    "transform", methods=("__call__",), parent=mmengine_registries.TRANSFORMS, locations=("selfsup.data",)
)
TASKS = Registry("task", locations=("selfsup.evaluation",))
HOOKS = Registry(
    "hook",
    base="mmengine.hooks.Hook",
    parent=mmengine_registries.HOOKS,
    offers_parents=True,
    locations=("mmengine.hooks", "selfsup.engine"),
)
OPTIMIZERS = Registry(
    "optimizer",
    base="torch.optim.Optimizer",
    parent=mmengine_registries.OPTIMIZERS,
    offers_parents=True,
    locations=("mmengine.optim", "selfsup.engine"),
)
OPTIM_WRAPPERS = Registry(
    "optim_wrapper",
    base="mmengine.optim.BaseOptimWrapper",
    parent=mmengine_registries.OPTIM_WRAPPERS,
    locations=("selfsup.engine",),
)
PARAM_SCHEDULERS = Registry(
    "parameter scheduler",
    base="mmengine.optim._ParamScheduler",
    parent=mmengine_registries.PARAM_SCHEDULERS,
    offers_parents=True,
    locations=("mmengine.optim", "selfsup.engine"),
)
RUNNERS = Registry(
    "runner", base="mmengine.runner.Runner", parent=mmengine_registries.RUNNERS, locations=("selfsup.engine",)
)

KINDS: dict[str, Registry] = {
    "methods": METHODS,
    "backbones": BACKBONES,
    "necks": NECKS,
    "losses": LOSSES,
    "datasets": DATASETS,
    "transforms": TRANSFORMS,
    "tasks": TASKS,
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
