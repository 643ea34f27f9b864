"""`rubric_judge`: a model grades each answer by a rubric."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field, TypeAdapter

from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.examples import Example
from ftsdk.evals.judges.judge_calls import JudgeCalls
from ftsdk.evals.judges.judge_prompts import MalformedVerdict, judge_conversation, read_verdict, verdict_schema
from ftsdk.evals.scorers.scorer import FunctionScorer, Score

__all__ = ["RubricJudge", "rubric_judge", "rubric_scorer"]

_ROLE = "You grade the answers of an assistant, strictly and evenly, by a rubric."
_WIDEST = 100


def _checked_endpoint(fields: dict[str, Any]) -> dict[str, Any]:
    _endpoint(fields)
    return fields


def _endpoint(fields: Mapping[str, Any]) -> Endpoint:
    return TypeAdapter(Endpoint).validate_json(json.dumps(fields))


def _checked_scale(scale: tuple[int, int]) -> tuple[int, int]:
    if not 0 < scale[1] - scale[0] <= _WIDEST:
        raise ValueError(f"must be the lowest and the highest grade, at most {_WIDEST} apart")
    return scale


@dataclass(frozen=True)
class RubricJudge(FunctionScorer):
    """A scorer whose verdicts come from a model; see `rubric_judge`."""

    def score_all(
        self, examples: Sequence[Example], answers: Sequence[str], *, folder: Path | None
    ) -> Iterator[tuple[int, Score]]:
        """Yield the score of each answer; see `CanJudgeMany.score_all`."""
        rule = _Rule(**self.options)
        conversations = [rule.conversation(example, answer) for example, answer in zip(examples, answers, strict=True)]
        for index, reply in rule.calls.replies(conversations, folder=folder, name=self.name):
            yield (
                index,
                (
                    Score(0.0, f"no verdict: {reply.error}", error=f"no verdict: {reply.error}")
                    if reply.error is not None
                    else rule.score(reply.text)
                ),
            )


class _Rule:
    """The options of a judge, as what they stand for."""

    def __init__(
        self,
        *,
        endpoint: Mapping[str, Any],
        rubric: str,
        scale: tuple[int, int] = (1, 5),
        with_reference: bool = True,
        verdict_tokens: int = 500,
        structured: bool = True,
        budget_usd: float | None = None,
    ) -> None:
        self._rubric = rubric
        self._low, self._high = scale
        self._with_reference = with_reference
        self._grades: list[Any] = list(range(self._low, self._high + 1))
        self.calls = JudgeCalls(
            endpoint=_endpoint(endpoint),
            reply_schema=verdict_schema("score", self._grades),
            verdict_tokens=verdict_tokens,
            structured=structured,
            budget_usd=None if budget_usd is None else Decimal(str(budget_usd)),
        )

    def conversation(self, example: Example, answer: str) -> list[dict[str, Any]]:
        texts = {"QUESTION": example.prompt_text}
        if self._with_reference:
            texts["REFERENCE ANSWER"] = example.expected
        texts["ANSWER TO GRADE"] = answer
        task = f"Grade the answer by this rubric, from {self._low} (worst) to {self._high} (best):\n\n{self._rubric}"
        reply = f'{{"reason": "<one or two sentences>", "score": <whole number, {self._low} to {self._high}>}}'
        return judge_conversation(_ROLE, task, texts, reply=reply)

    def score(self, reply: str) -> Score:
        try:
            grade, reason = read_verdict(reply, "score", self._grades)
        except MalformedVerdict as error:
            return Score(0.0, str(error), error=str(error))
        value = (grade - self._low) / (self._high - self._low)
        return Score(value, reason[:2000], parts={"grade": float(grade)})


def _as_judge(function: Any) -> RubricJudge:
    return RubricJudge("rubric_judge", function)


@_as_judge
def rubric_scorer(
    example: Example,
    answer: str,
    *,
    endpoint: Annotated[dict[str, Any], AfterValidator(_checked_endpoint)],
    rubric: Annotated[str, Field(min_length=1)],
    scale: Annotated[tuple[int, int], AfterValidator(_checked_scale)] = (1, 5),
    with_reference: bool = True,
    verdict_tokens: int = 500,
    structured: bool = True,
    budget_usd: float | None = None,
) -> Score:
    """Ask for one verdict, and keep it nowhere; `evaluate` asks for many at once. See `rubric_judge`."""
    rule = _Rule(
        endpoint=endpoint,
        rubric=rubric,
        scale=scale,
        with_reference=with_reference,
        verdict_tokens=verdict_tokens,
        structured=structured,
        budget_usd=budget_usd,
    )
    [(_, reply)] = rule.calls.replies([rule.conversation(example, answer)], folder=None, name="")
    return rule.score(reply.text)


def rubric_judge(
    endpoint: Endpoint,
    rubric: str,
    *,
    scale: tuple[int, int] = (1, 5),
    with_reference: bool = True,
    verdict_tokens: int = 500,
    structured: bool = True,
    budget_usd: Decimal | float | None = None,
) -> RubricJudge:
    """Return a scorer whose verdicts come from a model, for `Eval.of`.

    The judge grades each answer with a whole number and a reason; the score is the grade, scaled to 0 to 1, and
    `parts` has the `grade` itself. Verdicts are kept under `<eval>/verdicts`, by what was asked: none is asked, or paid
    for, twice, and `judge_cost(folder)` adds up what they have cost. A reply without a verdict that can be read is an
    error of that example, with the lowest score. The judged texts are fenced off as data.

    A job file names it `rubric_judge`, with the same options.

    Args:
        endpoint: The model that judges. Its key stays in the environment.
        rubric: What a good answer is, and what each grade means.
        scale: The lowest and the highest grade.
        with_reference: Show the judge the reference answer.
        verdict_tokens: Longest verdict in tokens, reasoning included.
        structured: Have the server hold replies to a JSON Schema; False for servers that refuse that.
        budget_usd: The most to spend on verdicts in one folder of results, in US dollars, those of earlier evaluations
            included. Needs `Endpoint(price=...)`.

    Raises:
        SpecError: An impossible value, or a budget without a price.
    """
    options: dict[str, Any] = {
        "endpoint": endpoint.to_dict(),
        "rubric": rubric,
        "scale": list(scale),
        "with_reference": with_reference,
        "verdict_tokens": verdict_tokens,
        "structured": structured,
        "budget_usd": None if budget_usd is None else float(budget_usd),
    }
    made = cast("RubricJudge", rubric_scorer.with_options(**options))
    _Rule(**made.options)  # refuses a budget without a price now, and not after the answers are there
    return made
