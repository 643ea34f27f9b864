"""Public names that are imported on first use, so that importing a package costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["lazy_exports"]


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package whose public names are listed in its module `_exports`.

    `_exports` is imported whole when the first name is asked for. Python's own import lock makes that safe from any
    number of threads: whoever comes second waits until the module is complete.

    Args:
        package: The package's `__name__`.
    """
    source = f"{package}._exports"

    def names() -> list[str]:
        return sorted((name for name in vars(import_module(source)) if not name.startswith("_")), key=_sort_key)

    def get(name: str) -> Any:
        if name == "__all__":
            return names()
        # `from ftsdk import errors` probes for a submodule first, and tools probe for dunder names: neither needs the exports.
        if not name.startswith("_") and find_spec(f"{package}.{name}") is None:
            exports = vars(import_module(source))
            if name in exports:
                return exports[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, names


def _sort_key(name: str) -> tuple[int, str]:
    """Order constants before classes before functions, as ruff orders `__all__`."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name
