"""Evals: what to measure, answers by greedy generation, and base against tuned on the same examples. Importing this loads no torch."""

from ftsdk.evals.eval import Eval, EvalData, Example
from ftsdk.evals.generation import Generator, TransformersGenerator
from ftsdk.evals.local import local_subjects
from ftsdk.evals.report import EvalReport, ExampleResult, PairedScore, Score
from ftsdk.evals.runner import EvalProgress, Subject, evaluate
from ftsdk.evals.statistics import paired_difference_interval, wilson_interval

__all__ = [
    "Eval",
    "EvalData",
    "EvalProgress",
    "EvalReport",
    "Example",
    "ExampleResult",
    "Generator",
    "PairedScore",
    "Score",
    "Subject",
    "TransformersGenerator",
    "evaluate",
    "local_subjects",
    "paired_difference_interval",
    "wilson_interval",
]
