"""Datasets on the Hugging Face hub, read as a whole or as a stream by its own library."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

from ftsdk._format import printable
from ftsdk._secrets import has_url_secret, mask_urls, redact
from ftsdk.data.arrow_rows import class_name
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.source import RowSource, Source
from ftsdk.data.table import Table, table_of
from ftsdk.errors import DatasetError
from ftsdk.models.hub_cache import hub_cause
from ftsdk.spec.urls import is_url

__all__ = ["datasets_rows", "hub_stream", "open_hub"]


def open_hub(hub_id: str, *, split: str, revision: str | None, subset: str | None) -> tuple[Table, Source]:
    """Read a dataset from the Hugging Face hub, or from the local cache when offline.

    Raises:
        DatasetError: It can't be found or reached, or it has no such split or subset.
    """
    if is_url(hub_id):
        raise DatasetError(
            "is a URL, not an id on the Hugging Face hub.",
            source=printable(mask_urls(hub_id), 200),
            hint="An id looks like 'org/name'.",
        )
    _refuse_secrets(hub_id, split=split, revision=revision, subset=subset)
    loaded = _loaded(hub_id, split=split, revision=revision, subset=subset, streaming=False)
    return table_of(enumerate(datasets_rows(loaded), start=1), source=hub_id), Source(
        name=hub_id, location=hub_id, recipe=_hub_recipe(hub_id, split, revision, subset)
    )


def _refuse_secrets(hub_id: str, **given: str | None) -> None:
    for value in given.values():
        if value is not None and has_url_secret(value):
            raise DatasetError(f"holds a password or a signature: {printable(mask_urls(value), 200)}.", source=hub_id)


def _hub_recipe(hub_id: str, split: str, revision: str | None, subset: str | None) -> dict[str, Any]:
    named = {"hub_split": None if split == "train" else split, "revision": revision, "subset": subset}
    return {"hub": hub_id, **{key: value for key, value in named.items() if value is not None}}


def _loaded(hub_id: str, *, split: str, revision: str | None, subset: str | None, streaming: bool) -> Any:
    import datasets

    try:
        return datasets.load_dataset(hub_id, name=subset, split=split, revision=revision, streaming=streaming)
    except _hub_errors() as error:
        raise _hub_error(hub_id, split, subset, revision, error) from hub_cause(error)


def _hub_errors() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError

    return OSError, ValueError, RuntimeError, DatasetsError


def _hub_error(hub_id: str, split: str, subset: str | None, revision: str | None, error: Exception) -> DatasetError:
    reason = " ".join(redact(str(error)).split())
    given = {"split": split, "subset": subset, "revision": revision}
    asked = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
    return DatasetError(
        f"can't be loaded from the Hugging Face hub ({asked}): {reason.rstrip('.')}.",
        source=hub_id,
        hint=(
            "Check the id and the network; for private data run `hf auth login`; a local file is read if its path "
            "exists."
        ),
    )


def hub_stream(hub_id: str, *, split: str, revision: str | None, subset: str | None) -> tuple[RowSource, Source]:
    """Return what reads a dataset on the hub row by row; see `open_hub`."""
    _refuse_secrets(hub_id, split=split, revision=revision, subset=subset)

    def read(bad: BadRows) -> Generator[tuple[str | None, int, dict[str, Any]]]:
        del bad  # the hub's library reads or fails
        loaded = _loaded(hub_id, split=split, revision=revision, subset=subset, streaming=True)
        named = {name: made for name, one in (loaded.features or {}).items() if (made := _class_names(one)) is not None}
        rows = enumerate(loaded, start=1)
        while True:
            try:
                line, row = next(rows)
            except StopIteration:
                return
            except _hub_errors() as error:
                raise _hub_error(hub_id, split, subset, revision, error) from hub_cause(error)
            yield hub_id, line, {name: named[name](value) if name in named else value for name, value in row.items()}

    return read, Source(name=hub_id, location=hub_id, recipe=_hub_recipe(hub_id, split, revision, subset))


def datasets_rows(table: Any) -> list[dict[str, Any]]:
    """Read the rows of a `datasets.Dataset`, with the names of classes in place of their numbers."""
    rows: list[dict[str, Any]] = table.to_list()
    for name, feature in table.features.items():
        read = _class_names(feature)
        if read is not None:
            for row in rows:
                row[name] = read(row[name])
    return rows


def _class_names(feature: Any) -> Callable[[Any], Any] | None:
    """Return a function that puts class names in place of numbers, at any depth; None if the feature has no classes."""
    kind = type(feature).__name__
    if kind == "ClassLabel":
        return lambda value: class_name(value, feature.int2str)
    if isinstance(feature, Mapping):
        inner = {
            name: read
            for name, one in cast("Mapping[str, Any]", feature).items()
            if (read := _class_names(one)) is not None
        }
        if not inner:
            return None
        return lambda value: (
            None if value is None else {key: inner[key](one) if key in inner else one for key, one in value.items()}
        )
    item = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    each = None if item is None else _class_names(item)
    if each is None:
        return None
    return lambda value: None if value is None else [each(one) for one in value]
