"""A report as plain data, and back, also from earlier versions, where a score was right or wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ftsdk.errors import SpecError
from ftsdk.evals.gate import Gate, Verdict
from ftsdk.evals.results import EvalScore, PairedScore

if TYPE_CHECKING:
    from ftsdk.evals.report import EvalReport

__all__ = ["from_dict", "to_dict"]


def to_dict(report: EvalReport) -> dict[str, Any]:
    """Return the report as plain data; an infinite end of an interval becomes None, since JSON has no infinity."""
    return {
        "title": report.title,
        "scores": [_written(asdict(score)) for score in report.scores],
        "pairs": [_written(asdict(pair)) for pair in report.pairs],
        "notes": list(report.notes),
        **({} if report.gate is None else {"gate": report.gate.to_dict()}),
        **({} if report.verdict is None else {"verdict": report.verdict.to_dict()}),
    }


def from_dict(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a report.

    Raises:
        SpecError: Not a report.
    """
    try:
        return {
            "title": data["title"],
            "scores": tuple(EvalScore(**_score_fields(score)) for score in data["scores"]),
            "pairs": tuple(PairedScore(**_pair_fields(pair)) for pair in data["pairs"]),
            "gate": None if data.get("gate") is None else Gate.from_dict(data["gate"]),
            "verdict": None if data.get("verdict") is None else Verdict.from_dict(data["verdict"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"this is not the data of an eval report ({type(error).__name__}: {error}); pass what to_dict() returned"
        ) from error


def _written(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
    }


def _score_fields(score: Mapping[str, Any]) -> dict[str, Any]:
    fields = _with_infinity(score)
    if "subject" in fields:  # the word for a target before 0.1.0
        fields["target"] = fields.pop("subject")
    return fields


def _pair_fields(pair: Mapping[str, Any]) -> dict[str, Any]:
    fields = _with_infinity(pair)
    if "higher" not in fields:
        fields |= {
            "lower": fields["only_base"],
            "equal": fields["both"] + fields["neither"],
            "higher": fields["only_tuned"],
        }
    return fields


def _with_infinity(fields: Mapping[str, Any]) -> dict[str, Any]:
    ends = {"low": -math.inf, "high": math.inf}
    return {name: ends[name] if name in ends and value is None else value for name, value in fields.items()}
