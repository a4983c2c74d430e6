"""The registries: names in configs to the classes they stand for.

A registry imports the rooms named in its ``locations`` on the first look-up, and plugins on the first miss; nothing is
registered by ``import selfsup``.
"""

import inspect
from typing import Any

from mmengine import registry as mmengine_registries

from selfsup.errors import ConfigError, RegistryError, did_you_mean
from selfsup.plugins import load_plugins

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

    def find(self, name: str) -> Any:
        """The component registered as ``name``.

        Raises:
            RegistryError: if neither we, nor MMEngine, nor a plugin knows the name.
        """
        found = self.get(name)
        if found is not None:
            return found
        broken = load_plugins()
        found = self.get(name)
        if found is not None:
            return found
        message = f"no {self.name} is called {name!r}{did_you_mean(name, self.names())}"
        for plugin, error in broken.items():
            message += f"\nplugin {plugin!r} could not be imported: {type(error).__name__}: {error}"
        raise RegistryError(message)

    def names(self) -> list[str]:
        """Every name that can be built, ours and inherited."""
        self.import_from_location()
        names = set(self.module_dict)
        parent = self.parent
        while parent is not None:
            names |= set(parent.module_dict)
            parent = parent.parent
        return sorted(names)


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
NECKS = Registry("neck", locations=("selfsup.necks",))
LOSSES = Registry("loss", locations=("selfsup.losses",))
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

for _name, _root in vars(mmengine_registries).items():  # MMEngine warns about every root without a child of our scope
    if isinstance(_root, mmengine_registries.Registry) and SCOPE not in _root.children:
        mmengine_registries.Registry(_root.name, parent=_root, scope=SCOPE)
