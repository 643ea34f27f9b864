"""A folder that `export` wrote, or a `.gguf` file, as a model to serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftsdk.errors import ModelError
from ftsdk.spec import Model

__all__ = ["exported_model"]


def exported_model(path: str | Path, *, allow_failed: bool = False) -> Model:
    """Return the model in a folder or a `.gguf` file.

    Args:
        path: An export, or any folder with weights.
        allow_failed: Take an export that failed its gates.

    Raises:
        ModelError: There is none, or it is an export that failed its gates.
    """
    given = Path(path).expanduser()
    folder = given.parent if given.suffix == ".gguf" else given
    _refuse_failed(folder, allow_failed=allow_failed)
    if given.suffix == ".gguf":
        if not given.is_file():
            raise ModelError(f"there is no file {given}")
        return Model(id=str(given.resolve()))
    if not given.is_dir():
        raise ModelError(f"there is no folder {given}; pass a run, a Model, the folder of an export or a .gguf file")
    ggufs = sorted(given.glob("*.gguf"))
    if len(ggufs) == 1:
        return Model(id=str(ggufs[0].resolve()))
    if (given / "adapter_config.json").is_file():
        raise ModelError(f"{given} is an adapter, which needs its base: pass Model(id='BASE', adapter={str(given)!r})")
    return Model(id=str(given.resolve()))


def _refuse_failed(folder: Path, *, allow_failed: bool) -> None:
    """Refuse what doesn't answer as the evaluated model does. A folder that isn't an export is as good as its owner."""
    try:
        manifest: Any = json.loads((folder / "manifest.json").read_bytes())
        is_export = manifest["kind"] == "export"
    except (OSError, ValueError, KeyError, TypeError):
        return
    if is_export:
        from ftsdk.models.export import check_servable

        check_servable(folder, allow_failed=allow_failed)
