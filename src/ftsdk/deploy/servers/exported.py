"""A folder that `export` wrote, or a `.gguf` file, as a model to serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftsdk.errors import ModelError
from ftsdk.spec import Model

__all__ = ["check_export", "exported_model"]


def exported_model(path: str | Path, *, allow_failed: bool = False) -> Model:
    """Return the model in a folder or a `.gguf` file.

    Args:
        path: An export, or any folder with weights.
        allow_failed: Take an export that failed its gates.

    Raises:
        ModelError: There is none, or it is an export that failed its gates.
    """
    given = Path(path).expanduser()
    check_export(given, allow_failed=allow_failed)
    if given.suffix == ".gguf":
        if not given.is_file():
            raise ModelError(f"there is no file {given}")
        return Model(id=str(given.resolve()))
    if not given.is_dir():
        raise ModelError(f"there is no folder {given}; pass a run, a Model, the folder of an export or a .gguf file")
    ggufs = sorted(given.glob("*.gguf"))
    if len(ggufs) == 1:
        return Model(id=str(ggufs[0].resolve()))
    if len(ggufs) > 1 and not (given / "config.json").is_file():
        names = ", ".join(file.name for file in ggufs)
        raise ModelError(
            f"{given} has several .gguf files ({names}): pass the one to serve. An adapter is served beside its base "
            "when you pass the run that trained it"
        )
    if (given / "adapter_config.json").is_file():
        raise ModelError(
            f"{given} is an adapter, which needs its base: pass the run that trained it, or in Python "
            f"Model(id='BASE', adapter={str(given)!r})"
        )
    return Model(id=str(given.resolve()))


def check_export(path: str | Path, *, allow_failed: bool = False) -> None:
    """Refuse what doesn't answer as the evaluated model does. A folder that isn't an export is as good as its owner.

    Args:
        path: A folder, or a `.gguf` file in one.
        allow_failed: Take an export that failed its gates.

    Raises:
        ModelError: It is an export that failed its gates, or isn't whole.
    """
    from ftsdk.models.export.export_manifest import FAILED, MANIFEST, UNFINISHED, check_servable

    given = Path(path).expanduser()
    folder = given.parent if given.suffix == ".gguf" else given
    # An export says so in its files, too: without its manifest, or with a damaged one, it is none to serve.
    is_export = any((folder / name).exists() for name in (FAILED, UNFINISHED))
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_bytes())
        is_export = is_export or manifest["kind"] == "export"
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RecursionError):
        is_export = True
    except (KeyError, TypeError):
        pass
    if is_export:
        check_servable(folder, allow_failed=allow_failed)
