"""Which Python and which packages a container gets: those of this machine, to the version, so that both train alike."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from ftsdk._files import replace_file

__all__ = ["Recipe", "metadata_folder", "recipe"]

_NAME = re.compile(r"^[A-Za-z0-9._-]+")
_EXTRA_OF = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The contents of an image."""

    python: str
    """`3.12`: the minor version of this interpreter, for which the pinned versions have wheels."""
    packages: tuple[str, ...]
    """Sorted requirements; pinned where the package is installed here."""
    unpinned: tuple[str, ...]
    """Those of them that aren't installed here, so that their newest version is taken when the image is built."""
    source: bool
    """Whether this ftsdk is mounted as source; else the release is installed."""

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON, as in a plan."""
        return {"python": self.python, "packages": list(self.packages), "source": self.source}


@functools.cache
def recipe(extras: tuple[str, ...] = ("local",), packages: tuple[str, ...] = ()) -> Recipe:
    """Read what is installed here: the core and some extras of ftsdk, at exactly these versions.

    Args:
        extras: The extras that the trainer and the trackers need.
        packages: The packages that the trainer and the trackers come in; others than ftsdk are installed beside it.
    """
    here = distribution("ftsdk")
    from_source = _is_source()
    required = pinned(here.requires or (), _installed, extras=extras)
    required |= pinned([name for name in packages if name != "ftsdk"], _installed, extras=extras)
    chosen = dict(required) if from_source else {**required, "ftsdk": f"ftsdk=={here.version}"}
    unpinned = tuple(sorted(text for name, text in chosen.items() if "==" not in text and name != "ftsdk"))
    return Recipe(
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        packages=tuple(sorted(chosen.values())),
        unpinned=unpinned,
        source=from_source,
    )


def pinned(requirements: Sequence[str], installed: Any, *, extras: Collection[str] = ("local",)) -> dict[str, str]:
    """Pin the requirements of the core and of some extras.

    Args:
        requirements: As a package's metadata has them: `torch>=2.6; extra == 'local'`.
        installed: Returns the installed version of a package, or None.
        extras: The extras.
    """
    found: dict[str, str] = {}
    for text in requirements:
        requirement, _, marker = text.partition(";")
        belongs_to = _EXTRA_OF.search(marker)
        if belongs_to is not None and belongs_to[1] not in extras:
            continue
        match = _NAME.match(requirement.strip())
        if match is None:
            continue
        name = match[0]
        there = installed(name)
        # `2.13.0+cpu` is this machine's build; the container takes the one for its own hardware.
        found[name.lower()] = f"{name}=={there.partition('+')[0]}" if there else requirement.strip()
    return found


def metadata_folder(into: Path) -> tuple[Path, str]:
    """Write what a container needs to see mounted source as an installed package.

    Without it, entry points aren't found.

    Args:
        into: A folder that is kept, since the client reads it later.

    Returns:
        The folder, and its name in the image.
    """
    here = distribution("ftsdk")
    name = f"ftsdk-{here.version}.dist-info"
    folder = into / name
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("METADATA", "entry_points.txt"):
        content, file = here.read_text(part), folder / part
        if content is not None and not (file.is_file() and file.read_text(encoding="utf-8") == content):
            replace_file(file, content.encode())
    return folder, f"/root/{name}"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is_source() -> bool:
    """Return whether ftsdk wasn't installed from an index: a checkout, an editable install, or a folder on the path."""
    if distribution("ftsdk").read_text("direct_url.json") is not None:
        return True
    found = importlib.util.find_spec("ftsdk")
    return found is None or found.origin is None or "site-packages" not in found.origin
