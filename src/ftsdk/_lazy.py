"""Public names that are loaded when they are first used, so that importing a package costs next to nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["loaded_on_first_use"]


def loaded_on_first_use(package: str, rooms: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Give a package its `__getattr__` and `__dir__`.

    Args:
        package: Its name, `__name__`.
        rooms: Module -> the public names that come from it.
    """
    home_of = {name: room for room, names in rooms.items() for name in names}

    def get(name: str) -> Any:
        room = home_of.get(name)
        if room is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(room), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return get, names
