"""The report of an evaluation: values, and how they look as text, as a page and in CI."""

from ftsdk.evals.report.eval_report import EvalReport
from ftsdk.evals.report.parts import (
    AnswerShown,
    EvalJudgeCost,
    ExampleList,
    ExampleShown,
    SlicePair,
    SliceScore,
    TargetConfusion,
    TargetCost,
)

__all__ = [
    "AnswerShown",
    "EvalJudgeCost",
    "EvalReport",
    "ExampleList",
    "ExampleShown",
    "SlicePair",
    "SliceScore",
    "TargetConfusion",
    "TargetCost",
]
