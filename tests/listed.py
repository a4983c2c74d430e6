"""What `selfsup list` names, without what other tests have registered."""

from selfsup.registry import Registry


def listed(registry: Registry) -> list[str]:
    """The names of a registry's components that come with the toolkit."""
    return [name for name in registry.names() if not registry.find(name).__module__.startswith("tests.")]
