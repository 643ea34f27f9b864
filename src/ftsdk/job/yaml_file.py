"""The YAML file of a job: its schema, and its conversion to the arguments of `FineTuneJob`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from ftsdk._files import read_regular_file
from ftsdk._yaml import LIMITS, parse_yaml
from ftsdk.backends.registry import get_backend
from ftsdk.data import Dataset
from ftsdk.data.recipe import Recipe
from ftsdk.errors import SpecError
from ftsdk.evals import Eval, Gate
from ftsdk.spec import JobFields, Model, Value

__all__ = ["BackendEntry", "JobFile", "load_yaml", "read_job"]


class BackendEntry(Value):
    """A backend with options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


def _as_tuple(entries: object) -> object:
    return tuple(entries) if isinstance(entries, list) else entries


class JobFile(JobFields):
    """What a job file may hold: the fields of a job, with data as recipes."""

    model_config = ConfigDict(title="The job")

    model: str | Model
    train: Recipe
    validation: Recipe | None = None
    evals: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_as_tuple)] = ()
    """Each with `kind`, `name`, `data` (a recipe) and the options of its kind; or `suite` and the arguments of one."""
    gate: Gate | None = None
    """What the evals must show before the model is shipped."""
    allow_leaks: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    """The parts that may share rows with `train`: `validation`, or `evals.` and the name of an eval."""
    backend: str | BackendEntry = "local"


def read_job(data: Mapping[str, Any], *, base: Path) -> dict[str, Any]:
    """Return the arguments of `FineTuneJob` for plain data.

    Args:
        data: The content of a job file.
        base: The folder that relative paths are relative to.

    Raises:
        SpecError: An unknown key, or an impossible value, at any depth.
        DatasetError: Data that can't be read.
    """
    # Keys for YAML anchors are allowed, as in compose files: `x-data: &data {...}`.
    file = JobFile.from_dict({key: value for key, value in data.items() if not str(key).startswith("x-")})
    arguments = {name: getattr(file, name) for name in JobFields.model_fields if name in file.model_fields_set}
    arguments["model"] = _at(file.model, base)
    arguments["train"] = Dataset.from_dict(file.train.to_dict(), base)
    if file.validation is not None:
        arguments["validation"] = Dataset.from_dict(file.validation.to_dict(), base)
    if file.evals:
        arguments["evals"] = tuple(one for entry in file.evals for one in _evals_in(entry, base))
    if file.gate is not None:
        arguments["gate"] = file.gate
    if file.allow_leaks:
        arguments["allow_leaks"] = file.allow_leaks
    if "backend" in file.model_fields_set:
        entry = file.backend
        arguments["backend"] = entry if isinstance(entry, str) else get_backend(entry.name, entry.options)
    return arguments


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        SpecError: No such file, not a regular file, too large, not UTF-8, not YAML, a key that appears twice, or not a
            mapping.
    """
    try:
        # A character takes four bytes at most.
        text = read_regular_file(path, most_bytes=4 * LIMITS.characters).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(
            f"there is no job file {path}; FineTuneJob.to_yaml({path.name!r}) writes one, and the guide "
            '"Keep a job in a file" in the documentation shows what goes into it'
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(
            f"the job file {path} isn't in UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
        ) from error
    except OSError as error:
        raise SpecError(f"the job file {path} can't be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL character in the path
        raise SpecError(f"the job file {str(path)!r} can't be read: {error}") from error
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise SpecError(
            f"{path}: a job file is a mapping with model:, train: and so on; this one holds {type(data).__name__}"
        )
    return data


def _evals_in(entry: Mapping[str, Any], base: Path) -> list[Eval]:
    """Return the evals of one entry: that one, or those of the suite that it names."""
    if "suite" in entry:
        from ftsdk.evals.suites import evals_of_suite  # few jobs name one, and it imports numpy

        return evals_of_suite(entry)
    return [Eval.from_dict(entry, lambda recipe: Dataset.from_dict(recipe, base))]


def _at(model: str | Model, base: Path) -> str | Model:
    """Make local paths relative to the job file, not to the current folder."""
    named = model if isinstance(model, Model) else Model(id=model)
    if named.source != "hub":
        named = named.replace(id=_path(named.id, base))
    if named.adapter is not None:
        named = named.replace(adapter=_path(named.adapter, base))
    return named.id if isinstance(model, str) else named


def _path(text: str, base: Path) -> str:
    return str((base / Path(text).expanduser()).resolve())
