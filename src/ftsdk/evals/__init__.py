"""Evals: examples, scorers, metrics, and base against tuned on the same examples. Importing this loads no torch."""

from ftsdk.evals.answers import Answer
from ftsdk.evals.chat_wire import ChatWire
from ftsdk.evals.constrained import ConstrainedTarget, constrained
from ftsdk.evals.constraints import CanConstrain, Choices, JsonSchema
from ftsdk.evals.endpoint import Endpoint, EndpointTarget
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import EvalData, Example
from ftsdk.evals.generation import CanGuess, CanMeasureLikelihood, CanStream, Generator
from ftsdk.evals.likelihood import Likelihood
from ftsdk.evals.local import LocalTarget, local_target, local_targets
from ftsdk.evals.local_generation import TransformersGenerator
from ftsdk.evals.metrics import Metric, get_metric, metric, metric_names
from ftsdk.evals.report import EvalReport
from ftsdk.evals.results import EvalScore, ExampleResult, PairedScore
from ftsdk.evals.runner import EvalProgress, evaluate
from ftsdk.evals.scorers import Score, Scorer, get_scorer, scorer, scorer_names
from ftsdk.evals.spending import BilledTarget, CanMeter
from ftsdk.evals.statistics import paired_difference_interval, wilson_interval
from ftsdk.evals.targets import FunctionTarget, NamedTarget, Target, as_target, targets

__all__ = [
    "Answer",
    "BilledTarget",
    "CanConstrain",
    "CanGuess",
    "CanMeasureLikelihood",
    "CanMeter",
    "CanStream",
    "ChatWire",
    "Choices",
    "ConstrainedTarget",
    "Endpoint",
    "EndpointTarget",
    "Eval",
    "EvalData",
    "EvalProgress",
    "EvalReport",
    "EvalScore",
    "Example",
    "ExampleResult",
    "FunctionTarget",
    "Generator",
    "JsonSchema",
    "Likelihood",
    "LocalTarget",
    "Metric",
    "NamedTarget",
    "PairedScore",
    "Score",
    "Scorer",
    "Target",
    "TransformersGenerator",
    "as_target",
    "constrained",
    "evaluate",
    "get_metric",
    "get_scorer",
    "local_target",
    "local_targets",
    "metric",
    "metric_names",
    "paired_difference_interval",
    "scorer",
    "scorer_names",
    "targets",
    "wilson_interval",
]
