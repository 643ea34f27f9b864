"""A report as plain data, and back, also from earlier versions, where a score was right or wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from ftsdk.errors import SpecError
from ftsdk.evals.gate import Gate, Verdict
from ftsdk.evals.report.parts import (
    EvalJudgeCost,
    ExampleList,
    ExampleShown,
    SlicePair,
    SliceScore,
    TargetConfusion,
    TargetCost,
)
from ftsdk.evals.results import EvalScore, PairedScore

if TYPE_CHECKING:
    from ftsdk.evals.report.eval_report import EvalReport

__all__ = ["from_dict", "to_dict"]

_Part = TypeVar("_Part")


def to_dict(report: EvalReport) -> dict[str, Any]:
    """Return the report as plain data; an infinite end of an interval becomes None, since JSON has no infinity."""
    return {
        "title": report.title,
        "scores": [_written(asdict(score)) for score in report.scores],
        "pairs": [_written(asdict(pair)) for pair in report.pairs],
        "slices": [{**asdict(one), "score": _written(asdict(one.score))} for one in report.slices],
        "slice_pairs": [{**asdict(one), "pair": _written(asdict(one.pair))} for one in report.slice_pairs],
        "confusions": [
            {"name": one.name, "target": one.target, "matrix": one.matrix.to_dict()} for one in report.confusions
        ],
        "costs": [_cost_written(one) for one in report.costs],
        "judge_costs": [
            {**asdict(one), "usd": None if one.usd is None else format(one.usd, "f")} for one in report.judge_costs
        ],
        "lists": [{**asdict(one), "indexes": list(one.indexes)} for one in report.lists],
        "examples": [{**asdict(one), "answers": [asdict(answer) for answer in one.answers]} for one in report.examples],
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
        lists, examples = _read(ExampleList, data.get("lists", ())), _read(ExampleShown, data.get("examples", ()))
        known = {(one.name, one.index, answer.target) for one in examples for answer in one.answers}
        missing = [one for one in lists for index in one.indexes if (one.name, index, one.target) not in known]
        if missing:
            raise ValueError(f"a list of {missing[0].name!r} names an example that isn't there")
        scores = _read(EvalScore, map(_score_fields, data["scores"]))
        pairs, costs = _read(PairedScore, map(_pair_fields, data["pairs"])), _read(TargetCost, data.get("costs", ()))
        scored = {(one.name, one.target, one.metric) for one in scores}
        wanted = {(one.name, target, one.metric) for one in pairs for target in (one.base, one.tuned)}
        if not scores or wanted - scored or {(one.name, one.target) for one in costs} - {one[:2] for one in scored}:
            raise ValueError("scores are missing")
        return {
            "title": TypeAdapter(str).validate_python(data["title"]),
            "scores": scores,
            "pairs": pairs,
            "slices": _read(
                SliceScore, [{**one, "score": _score_fields(one["score"])} for one in data.get("slices", ())]
            ),
            "slice_pairs": _read(
                SlicePair, [{**one, "pair": _pair_fields(one["pair"])} for one in data.get("slice_pairs", ())]
            ),
            "confusions": _read(TargetConfusion, data.get("confusions", ())),
            "costs": costs,
            "judge_costs": _read(EvalJudgeCost, data.get("judge_costs", ())),
            "lists": lists,
            "examples": examples,
            "gate": None if data.get("gate") is None else Gate.from_dict(data["gate"]),
            "verdict": None if data.get("verdict") is None else Verdict.from_dict(data["verdict"]),
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"this is not the data of an eval report ({type(error).__name__}: {error}); pass what to_dict() returned"
        ) from error


def _read(kind: type[_Part], written: Any) -> tuple[_Part, ...]:
    """Return values from their fields, each checked; fields of later versions are left out.

    Raises:
        ValueError: A field is missing, or has another type.
    """
    adapter = TypeAdapter(kind)
    return tuple(adapter.validate_python(fields) for fields in written)


def _cost_written(cost: TargetCost) -> dict[str, Any]:
    per_1000 = cost.usd_per_1000_accepted
    return {
        **asdict(cost),
        "usd": None if cost.usd is None else format(cost.usd, "f"),
        "usd_per_1000_accepted": None if per_1000 is None else format(per_1000, "f"),
    }


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
