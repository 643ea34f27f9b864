"""`format_bleed`: does the tuned model answer unrelated questions in the format of its training answers?"""

from __future__ import annotations

from itertools import islice

from ftsdk.errors import DatasetError
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import EvalData, Example, read_examples
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.scorers.scorer import Score, scorer
from ftsdk.evals.suites.answer_format import AnswerFormat, shared_format
from ftsdk.evals.suites.suite_rows import SuiteRows, chat_row, read_prompts

__all__ = ["format_bleed", "other_format"]

_MOST_ROWS = 5000
_MAX_NEW_TOKENS = 64


def format_bleed(train: EvalData) -> list[Eval]:
    """Return one eval, `format_bleed`: 40 unrelated questions; an answer scores 1 if it isn't in the training format.

    Every question asks for sentences, so that a label, a JSON object or two words are no answer. A lower score of the
    tuned model than of the base means that the format bleeds.

    Args:
        train: The training rows; the first 5,000 are read.

    Raises:
        DatasetError: The training answers share no format, or rows that aren't chat rows with an answer at the end.
    """
    if train.format != "chat":
        raise DatasetError(f"format_bleed reads chat rows; these are {train.format} rows.", source=train.name)
    known = shared_format(_answers(train))
    if known.is_empty:
        raise DatasetError(
            "the training answers share no format: neither labels, JSON, headings, an opening nor shortness.",
            source=train.name,
            hint="There is nothing that could bleed; general() shows what was lost otherwise.",
        )
    rows = [chat_row(item["question"], item["answer"]) for item in read_prompts("unrelated")]
    return [
        Eval.of(
            SuiteRows("suite format_bleed", rows),
            other_format,
            name="format_bleed",
            max_new_tokens=_MAX_NEW_TOKENS,
            labels=known.labels,
            json_keys=known.json_keys,
            heads=known.heads,
            opening=known.opening,
            most_words=known.most_words,
        )
    ]


@scorer
def other_format(
    example: Example,
    answer: str,
    *,
    labels: tuple[str, ...] = (),
    json_keys: tuple[str, ...] = (),
    heads: tuple[str, ...] = (),
    opening: str = "",
    most_words: int | None = None,
) -> Score:
    """Score 1 if the answer isn't in a format, and isn't empty.

    Args:
        example: The prompt.
        answer: What the model answered.
        labels: Answers that are the format.
        json_keys: JSON objects with half of these keys are in the format.
        heads: Answers with half of these words before colons, at the start of lines, are.
        opening: Answers that begin with these words are.
        most_words: Answers of at most so many words are.
    """
    del example
    if not answer.strip():
        return Score(0.0, "is empty")
    known = AnswerFormat(labels=labels, json_keys=json_keys, heads=heads, opening=opening, most_words=most_words)
    found = known.match(answer)
    return Score(float(found is None), found or "isn't in the training format")


def _answers(train: EvalData) -> list[str]:
    rows = SuiteRows(train.name, list(islice(train, _MOST_ROWS)))
    return [final_answer(example.expected) for example in read_examples(rows)]
