"""Evals: what to measure, answers by greedy generation, and base against tuned on the same examples. Importing this loads no torch."""

from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.eval import Eval, EvalData, Example
from ftsdk.evals.generation import Generator, TransformersGenerator
from ftsdk.evals.local import local_subject, local_subjects
from ftsdk.evals.report import EvalReport, ExampleResult, PairedScore, Score
from ftsdk.evals.runner import EvalProgress, Subject, evaluate
from ftsdk.evals.statistics import paired_difference_interval, wilson_interval
from ftsdk.evals.subjects import subjects

__all__ = [
    "Endpoint",
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
    "local_subject",
    "local_subjects",
    "paired_difference_interval",
    "subjects",
    "wilson_interval",
]
