"""Import a package's names from their modules when they are first used, so that importing the package costs little."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def names_on_use(package: str, names: Mapping[str, str], submodules: tuple[str, ...] = ()) -> Callable[[str], object]:
    """Return the ``__getattr__`` of ``package``.

    ``names`` has, for each module relative to the package, the names that it defines, with spaces between them.
    ``submodules`` are imported when they are used as an attribute of the package.
    """
    module_of = {name: f"{package}.{module}" for module, text in names.items() for name in text.split()}

    def import_name(name: str) -> object:
        if name in module_of:
            value: object = getattr(import_module(module_of[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in submodules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return import_name
