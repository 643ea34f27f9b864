"""Evals: examples, scorers, metrics, and base against tuned on the same examples. Importing this loads no torch."""

from ftsdk.evals.answers import Answer
from ftsdk.evals.chat_wire import ChatWire
from ftsdk.evals.confusion import ClassScore, ConfusionMatrix, confusion_matrix
from ftsdk.evals.constrained import ConstrainedTarget, constrained
from ftsdk.evals.constraints import CanConstrain, Choices, JsonSchema
from ftsdk.evals.endpoint import Endpoint, EndpointTarget
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import EvalData, Example
from ftsdk.evals.gate import Gate, Verdict, check_gate, judge_gate
from ftsdk.evals.generation import CanGuess, CanMeasureLikelihood, CanStream, Generator
from ftsdk.evals.likelihood import Likelihood
from ftsdk.evals.loaded_models import keep_loaded
from ftsdk.evals.local import LocalTarget, local_target, local_targets
from ftsdk.evals.local_generation import TransformersGenerator
from ftsdk.evals.metrics import Metric, get_metric, metric, metric_names
from ftsdk.evals.prompted import PromptedTarget, prompted
from ftsdk.evals.report import EvalReport
from ftsdk.evals.results import EvalScore, ExampleResult, PairedScore
from ftsdk.evals.runner import EvalProgress, evaluate
from ftsdk.evals.scorers import Score, Scorer, get_scorer, scorer, scorer_names
from ftsdk.evals.scorers.abilities import CanJudgeMany, CanPrepare
from ftsdk.evals.spending import BilledTarget, CanMeter
from ftsdk.evals.statistics import (
    confidence_sequence,
    examples_needed,
    holm,
    mcnemar,
    paired_difference_interval,
    smallest_difference,
    wilson_interval,
)
from ftsdk.evals.storage import read_results
from ftsdk.evals.targets import FunctionTarget, NamedTarget, Target, as_target, targets

__all__ = [
    "Answer",
    "BilledTarget",
    "CanConstrain",
    "CanGuess",
    "CanJudgeMany",
    "CanMeasureLikelihood",
    "CanMeter",
    "CanPrepare",
    "CanStream",
    "ChatWire",
    "Choices",
    "ClassScore",
    "ConfusionMatrix",
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
    "Gate",
    "Generator",
    "JsonSchema",
    "Likelihood",
    "LocalTarget",
    "Metric",
    "NamedTarget",
    "PairedScore",
    "PromptedTarget",
    "Score",
    "Scorer",
    "Target",
    "TransformersGenerator",
    "Verdict",
    "as_target",
    "check_gate",
    "confidence_sequence",
    "confusion_matrix",
    "constrained",
    "evaluate",
    "examples_needed",
    "get_metric",
    "get_scorer",
    "holm",
    "judge_gate",
    "keep_loaded",
    "local_target",
    "local_targets",
    "mcnemar",
    "metric",
    "metric_names",
    "paired_difference_interval",
    "prompted",
    "read_results",
    "scorer",
    "scorer_names",
    "smallest_difference",
    "targets",
    "wilson_interval",
]
