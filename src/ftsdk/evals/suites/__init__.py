"""Suites: functions that return evals with prompts of their own, for what a fine-tune may break."""

from ftsdk.evals.suites.bias import bias
from ftsdk.evals.suites.format_bleed import format_bleed
from ftsdk.evals.suites.general import general
from ftsdk.evals.suites.hallucination import hallucination
from ftsdk.evals.suites.memorisation import memorisation
from ftsdk.evals.suites.safety import safety
from ftsdk.evals.suites.suite import Suite, evals_of_suite, get_suite, suite_names

__all__ = [
    "Suite",
    "bias",
    "evals_of_suite",
    "format_bleed",
    "general",
    "get_suite",
    "hallucination",
    "memorisation",
    "safety",
    "suite_names",
]
