"""Where the rows of a dataset come from: as a recipe that leads back to them, and as a record to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftsdk._secrets import mask_urls
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.recipe import Recipe, portable_path
from ftsdk.data.sources import open_source
from ftsdk.data.steps import Step
from ftsdk.errors import DatasetError
from ftsdk.spec.urls import is_url

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset
    from ftsdk.data.rows import Rows
    from ftsdk.data.store import Store
    from ftsdk.data.stream import DatasetStream

__all__ = ["follow", "lineage_of", "recipe_of", "record_of"]

_REWORKED = frozenset({"clean", "mix", "context", "canaries", "augment", "judged", "review"})


def recipe_of(dataset: Rows, base: Path) -> Recipe:
    """Return a recipe that leads to the same rows: from their files if it can, else by content.

    Args:
        dataset: The rows.
        base: The folder that relative paths start from.

    Raises:
        DatasetError: Rows that only content can name, but that are still a table.
    """
    if not _is_repeatable(dataset):
        ref = dataset.ref()
        has_lineage = dataset.source.lineage is not None or _has_records(dataset)
        record = lineage_of(dataset, base) if has_lineage else None
        stored = {"stored": ref.fingerprint, "format": ref.format, "name": dataset.name}
        return Recipe.from_dict(stored if record is None else {**stored, "lineage": record})
    if dataset.parts:
        return Recipe.of({"concat": tuple(recipe_of(part, base) for part in dataset.parts)}, dataset.steps, base=base)
    return Recipe.of(dataset.source.recipe or {}, dataset.steps, base=base)


def lineage_of(dataset: Rows, base: Path | None = None) -> tuple[dict[str, Any], ...]:
    """Return the source of the rows and each step since, as plain data.

    Args:
        dataset: The rows.
        base: The folder that relative paths start from; None writes absolute paths.
    """
    steps = tuple(step.to_dict() for step in dataset.steps)
    if dataset.parts:
        return {"concat": [list(lineage_of(part, base)) for part in dataset.parts]}, *steps
    source = dataset.source
    form = {} if source.form is None else {"form": source.form}
    if source.lineage is not None:
        first, *others = source.lineage
        return ({**first, **form}, *(dict(entry) for entry in others), *steps)
    if source.recipe is None:
        return {"rows": dataset.name, **form}, *steps
    origin: dict[str, Any] = {**source.recipe, **(source.facts or {}), **form}
    if is_url(str(origin.get("file", ""))):
        origin["file"] = mask_urls(str(origin["file"]))
    elif isinstance(origin.get("file"), Path):
        origin["file"] = Path(origin["file"]).as_posix() if base is None else portable_path(origin["file"], base)
    return origin, *steps


def record_of(dataset: Rows) -> tuple[dict[str, Any], ...] | None:
    """Return the lineage for the manifest of what is trained; None if the rows are as they were read.

    It is without paths, and without records of single rows.

    Filters, splits and templates alone are no reason for a record: the fingerprint names what they led to.
    """
    return _without_paths(lineage_of(dataset)) if _is_reworked(lineage_of(dataset)) else None


def _is_reworked(lineage: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        not _REWORKED.isdisjoint(entry) or any(_is_reworked(part) for part in entry.get("concat", ()))
        for entry in lineage
    )


def _without_paths(lineage: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    for entry in lineage:
        own = dict(entry)
        if "file" in own and not is_url(own["file"]):
            own["file"] = Path(own["file"]).name
        if "augment" in own:  # the record of each row stays with the dataset
            own["augment"] = {name: value for name, value in own["augment"].items() if name != "made"}
        if "concat" in own:
            own["concat"] = [list(_without_paths(part)) for part in own["concat"]]
        found.append(own)
    return tuple(found)


def follow(recipe: Recipe, base: Path, store: Store | None) -> Dataset:
    """Return the rows that a recipe leads to; see `Dataset.from_dict`."""
    from ftsdk.data.dataset import Dataset
    from ftsdk.data.store import Store

    if recipe.stored is not None:
        found = (store or Store()).open(
            recipe.stored, format=recipe.format or "chat", name=recipe.name or "data", lineage=recipe.lineage
        )
    elif recipe.stream_rows is not None:
        path = recipe.hub or (recipe.file if is_url(recipe.file or "") else base / Path(recipe.file or ""))
        found = Dataset.from_file(
            path,
            split=recipe.hub_split,
            subset=recipe.subset,
            revision=recipe.revision,
            on_bad=recipe.on_bad or "raise",
            stream=True,
        )
        found = cast("DatasetStream", found).first(recipe.stream_rows)
    elif recipe.hub is not None:
        found = Dataset.from_hub(
            recipe.hub, split=recipe.hub_split or "train", revision=recipe.revision, subset=recipe.subset
        )
    elif recipe.included is not None:
        found = Dataset.general()
    elif recipe.concat is not None:
        found, *others = [follow(part, base, store) for part in recipe.concat]
        for other in others:
            found = found + other
    elif is_url(recipe.file or ""):
        found = Dataset.from_file(recipe.file, on_bad=recipe.on_bad or "raise")
        content = (found.source.facts or {}).get("sha256")
        if recipe.sha256 is not None and content != recipe.sha256:
            raise DatasetError(
                f"the file at this address has changed: its SHA-256 is {content}, not {recipe.sha256}.",
                source=mask_urls(recipe.file or ""),
                hint="Take sha256 out of the recipe to train on what is there now.",
            )
    else:
        found = _read_file(base / Path(recipe.file or ""), recipe)
    for step in recipe.all_steps:
        found = step.apply(found)
    return found


def _read_file(path: Path, recipe: Recipe) -> Dataset:
    from ftsdk.data.dataset import Dataset

    first = next(iter(recipe.all_steps), None)
    if first is None or not first.shape or recipe.on_bad is not None:
        return Dataset.from_file(path, on_bad=recipe.on_bad or "raise")
    # Templates read the columns: that a row can't be used in the form of its file is no fault then.
    bad = BadRows()
    table, source = open_source(path, split=None, revision=None, subset=None, bad=bad)
    return Dataset(table, source, format="table", bad=bad)


def _is_repeatable(dataset: Rows) -> bool:
    """Return whether a recipe can lead back: every source is a file or on the hub, and each step can be repeated."""
    if any(step.is_record for step in dataset.steps):
        return False
    if dataset.parts:
        return all(_is_repeatable(part) for part in dataset.parts)
    return dataset.source.recipe is not None


def _has_records(dataset: Rows) -> bool:
    steps: tuple[Step, ...] = dataset.steps
    return any(step.is_record for step in steps) or any(_has_records(part) for part in dataset.parts)
