"""Scorers: how one answer is judged. A scorer is one function in one file; see `scorer`."""

from ftsdk.evals.scorers.exact_match import exact_match
from ftsdk.evals.scorers.scorer import FunctionScorer, Score, Scorer, get_scorer, scorer, scorer_names

__all__ = ["FunctionScorer", "Score", "Scorer", "exact_match", "get_scorer", "scorer", "scorer_names"]
