"""Blind comparison by people: shuffled pairs of answers, names hidden, a verdict on each, and the outcome."""

from ftsdk.evals.blind.outcome import BlindOutcome, summarise_blind
from ftsdk.evals.blind.pairs import BlindPair, BlindPairs, make_pairs
from ftsdk.evals.blind.session import BlindSession
from ftsdk.evals.blind.verdicts import BlindVerdict, VerdictFile

__all__ = [
    "BlindOutcome",
    "BlindPair",
    "BlindPairs",
    "BlindSession",
    "BlindVerdict",
    "VerdictFile",
    "make_pairs",
    "summarise_blind",
]
