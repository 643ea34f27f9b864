"""The scores of evaluated runs of one job, which may differ in their number of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from ftsdk._files import read_regular_file
from ftsdk.data.report.learning_curve import CurvePoint
from ftsdk.errors import FtsdkError
from ftsdk.run.evaluation import results_folder
from ftsdk.run.ledger import Ledger
from ftsdk.run.record import Record
from ftsdk.spec import JobSpec

__all__ = ["learning_points"]

_MOST_BYTES = 64 << 20
_ASIDE = ("train", "validation", "budget_usd", "name")
"""Fields in which runs of one job may differ."""


def learning_points(spec: JobSpec) -> list[CurvePoint]:
    """Return the scores of the tuned models of runs with the same spec, on rows of the same name; the newest first.

    Only scores between 0 and 1 count. Runs that can't be read are left out.

    Args:
        spec: The job.
    """
    found: list[CurvePoint] = []
    wanted = _same(spec.to_dict())
    try:
        entries = Ledger().entries()
    except FtsdkError:
        return []
    for record in entries:
        if not isinstance(record, Record):
            continue
        own = record.plan.get("spec")
        if not isinstance(own, Mapping) or _same(cast("Mapping[str, Any]", own)) != wanted:
            continue
        train: Any = cast("Mapping[str, Any]", own).get("train")
        if isinstance(train, Mapping) and train.get("name", "data") == spec.train.name:
            found += _scores(results_folder(record.ref) / "evals", record.ref, train.get("rows"))
    return found


def _same(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in _ASIDE}


def _scores(folder: Path, ref: str, rows: object) -> Iterator[CurvePoint]:
    report = _read(folder / "report.json")
    scores: Any = report.get("scores")
    for score in scores if isinstance(scores, list) else []:
        try:
            if score["target"] != "tuned" or not score["is_bounded"] or type(rows) is not int:
                continue
            name = str(score["name"])
            value, low, high = (float(score[key]) for key in ("value", "low", "high"))
            # Reports of earlier versions name the rows in a file beside the answers.
            data = str(score.get("data") or _read(folder / name / "tuned.meta.json")["data"])
        except (KeyError, TypeError, ValueError):
            continue
        yield CurvePoint(run=ref, rows=rows, name=name, data=data, value=value, low=low, high=high)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found: Any = json.loads(read_regular_file(path, most_bytes=_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
