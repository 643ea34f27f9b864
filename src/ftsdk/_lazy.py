"""Public names that are imported on first use, so that importing a package costs next to nothing."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["lazy_exports"]

_LOCK = threading.RLock()
"""Python's import locks are per module: two threads that come to a package and its submodules from both ends deadlock,
which Python resolves by an error or by half an import. One import at a time has no such ends."""


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package whose public names are listed in its module `_exports`.

    Type checkers read that module as imports. At run time its lines serve as the table of names, so that each name is
    listed once and loads nothing but the module that it comes from. This is how Scientific Python's `lazy_loader` uses
    a stub file (https://scientific-python.org/specs/spec-0001/), but `.py` files also reach containers that get nothing
    else.

    Args:
        package: The package's `__name__`.
    """

    @functools.cache
    def modules() -> dict[str, str]:
        return _modules_by_name(f"{package}._exports")

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted(modules(), key=_sort_key)
        if name not in modules():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with _LOCK:
            found = getattr(import_module(modules()[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return get, lambda: sorted(modules())


def _modules_by_name(exports: str) -> dict[str, str]:
    """Read lines of the form `from module import Name as Name`."""
    spec = find_spec(exports)
    loader: Any = None if spec is None else spec.loader
    source: str | None = loader.get_source(exports) if hasattr(loader, "get_source") else None
    if source is None:  # only bytecode is installed
        return dict.fromkeys((name for name in vars(import_module(exports)) if not name.startswith("_")), exports)
    imports = [line.split() for line in source.splitlines() if line.startswith("from ")]
    return {name: module for _, module, _, name, *_ in imports}


def _sort_key(name: str) -> tuple[int, str]:
    """Order constants before classes before functions, as ruff orders `__all__`."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name
