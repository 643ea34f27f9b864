"""Models that judge: by a rubric, or two answers against each other; and how far a judge agrees with people."""

from ftsdk.evals.judges.agreement import Agreement, agreement
from ftsdk.evals.judges.judge_calls import JudgeCost, judge_cost
from ftsdk.evals.judges.pairwise import PairwiseJudge, PairwiseReport, pairwise_judge
from ftsdk.evals.judges.rubric import RubricJudge, rubric_judge

__all__ = [
    "Agreement",
    "JudgeCost",
    "PairwiseJudge",
    "PairwiseReport",
    "RubricJudge",
    "agreement",
    "judge_cost",
    "pairwise_judge",
    "rubric_judge",
]
