"""From the answers of a target to their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ftsdk.errors import SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import Example
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.scorers import Score
from ftsdk.evals.scorers.abilities import CanJudgeMany

__all__ = ["judge_answers"]


def judge_answers(
    item: Eval, examples: Sequence[Example], answers: Mapping[int, Answer], *, target: str, folder: Path
) -> list[Score]:
    """Return the score of each answer, in the order of the examples.

    An example without an answer gets the worst score, with the label of its reference and the parts of an empty
    answer, so that every metric counts it.

    Args:
        item: Its scorer judges.
        examples: All of them.
        answers: By the position of the example.
        target: What answered, for messages.
        folder: Where scorers that ask a model keep its verdicts.

    Raises:
        SpecError: The scorer returned something else than a score, or an example has no answer and values of the
            scorer have no worst one.
    """
    many = _many(item, examples, answers, folder) if isinstance(item.scorer, CanJudgeMany) else {}
    found: list[Score] = []
    for index, example in enumerate(examples):
        try:
            if answers[index].error is not None:
                found.append(_without_answer(item, example, answers[index], where=_where(index, item, target)))
            elif index in many:
                found.append(many[index])
            else:
                found.append(item.score(example, answers[index].text))
        except Exception as error:
            error.add_note(f"while judging {_where(index, item, target)}")
            raise
    return found


def _where(index: int, item: Eval, target: str) -> str:
    return f"example {index + 1} of the eval {item.name!r}, answered by {target}"


def _many(item: Eval, examples: Sequence[Example], answers: Mapping[int, Answer], folder: Path) -> dict[int, Score]:
    assert isinstance(item.scorer, CanJudgeMany)
    answered = [index for index in range(len(examples)) if answers[index].error is None]
    asked = [examples[index]._replace(expected=final_answer(examples[index].expected)) for index in answered]
    texts = [final_answer(answers[index].text) for index in answered]
    return {answered[position]: score for position, score in item.scorer.score_all(asked, texts, folder=folder)}


def _without_answer(item: Eval, example: Example, answer: Answer, *, where: str) -> Score:
    scorer = item.scorer
    if scorer.is_unbounded:
        raise SpecError(
            f"{where} has no answer ({answer.error}), and values of the scorer {scorer.name!r} have no worst one; "
            "evaluate again later"
        )
    worst, reason = 1.0 if scorer.is_lower_better else 0.0, f"no answer: {answer.error}"
    if scorer.reads == "likelihood" or isinstance(scorer, CanJudgeMany):
        return Score(worst, reason)
    empty = item.score(example, "")
    return Score(worst, reason, None, empty.expected_label, empty.parts)
