"""Numbers that can't be meant are refused with an error of ftsdk, by every method that takes one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsdk.data import Dataset, DatasetStream
from ftsdk.data.argument_checks import RowIndexError
from ftsdk.errors import DatasetError, FtsdkError

WORDS = ("open", "close", "mend", "paint", "sell", "buy", "lift", "push", "pull", "drop", "send", "read")
ROWS = [
    {"prompt": f"How do I {word} number {n}?", "completion": f"answer {n}", "passage": f"Passage {n} on {word}."}
    for n, word in enumerate(WORDS)
]
CHAT = Dataset.from_rows(ROWS).as_chat("{prompt}", "{completion}")
GENERAL = Dataset.general()
ODD: list[Any] = [
    *(True, False, -1, 0, 1.5, -0.0, 1e300, float("nan"), float("inf"), -float("inf"), 3 + 0j),
    *(2**63, 10**30, -(10**30), 10**5000, "3", None, [], Decimal("NaN"), Decimal("sNaN"), Decimal(2)),
    *(np.int64(2), np.float64("nan"), np.bool_(True), np.zeros(3, dtype=int)),
]


def answer(_messages: object) -> str:
    return "an answer"


def judge(*_: object) -> str:
    return "first"


def stream(folder: Path) -> DatasetStream:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    found = Dataset.from_file(path, stream=True)
    assert isinstance(found, DatasetStream)
    return found


def augmented(folder: Path, **numbers: Any) -> Dataset:
    return CHAT.augment(answer, answers=folder / "answers.jsonl", on_plan=lambda _: None, **numbers)


def preferred(folder: Path, **numbers: Any) -> Dataset:
    path = folder / "answers.jsonl"
    return CHAT.to_preference(answer, lambda _: "two", judge, answers=path, on_plan=lambda _: None, **numbers)


CALLS: dict[tuple[str, str], Callable[[Path, Any], object]] = {
    ("__getitem__", "index"): lambda _, n: CHAT[n],
    ("head", "n"): lambda _, n: CHAT.head(n),
    ("line_of", "index"): lambda _, n: CHAT.line_of(n),
    ("take", "n"): lambda _, n: CHAT.take(n),
    ("sample", "n"): lambda _, n: CHAT.sample(n),
    ("sample", "seed"): lambda _, n: CHAT.sample(2, seed=n),
    ("split", "validation"): lambda _, n: CHAT.split(n),
    ("split", "test"): lambda _, n: CHAT.split(test=n),
    ("split", "seed"): lambda _, n: CHAT.split(0.2, seed=n),
    ("report", "max_length"): lambda _, n: CHAT.report(max_length=n),
    ("mix", "shares"): lambda _, n: Dataset.mix({CHAT: n, GENERAL: 0.5}),
    ("mix", "rows"): lambda _, n: Dataset.mix({CHAT: 0.5, GENERAL: 0.5}, rows=n),
    ("mix", "seed"): lambda _, n: Dataset.mix({CHAT: 0.5, GENERAL: 0.5}, seed=n),
    ("with_canaries", "n"): lambda _, n: CHAT.with_canaries(n),
    ("with_canaries", "seed"): lambda _, n: CHAT.with_canaries(1, seed=n),
    ("with_canaries", "times"): lambda _, n: CHAT.with_canaries(1, times=(n,)),
    ("with_context", "wrong"): lambda _, n: CHAT.with_context("passage", wrong=n, unanswerable="It isn't there."),
    ("with_context", "empty"): lambda _, n: CHAT.with_context("passage", empty=n, unanswerable="It isn't there."),
    ("with_context", "distractors"): lambda _, n: CHAT.with_context("passage", distractors=n),
    ("with_context", "seed"): lambda _, n: CHAT.with_context("passage", seed=n),
    ("to_label_studio", "rows"): lambda folder, n: CHAT.to_label_studio(folder / "tasks.json", rows=n),
    ("to_label_studio", "seed"): lambda folder, n: CHAT.to_label_studio(folder / "tasks.json", seed=n),
    ("first", "n"): lambda folder, n: stream(folder).first(n),
    **{
        ("augment", name): lambda folder, n, name=name: augmented(folder, **{name: n})
        for name in ("per_row", "rows", "per_class", "max_similarity", "temperature", "seed", "budget_usd")
    },
    **{
        ("to_preference", name): lambda folder, n, name=name: preferred(folder, **{name: n})
        for name in ("rows", "max_new_tokens", "judge_tokens", "temperature", "seed", "budget_usd")
    },
}
MORE: dict[str, Callable[[Path, Any], object]] = {
    "start of a slice": lambda _, n: CHAT[n:],
    "stop of a slice": lambda _, n: CHAT[:n],
    "step of a slice": lambda _, n: CHAT[::n],
    "all shares": lambda _, n: Dataset.mix({CHAT: n, GENERAL: n}),
    "rows of a mix with repeats": lambda _, n: Dataset.mix({CHAT: 0.5, GENERAL: 0.5}, rows=n, repeat=True),
    "times": lambda _, n: CHAT.with_canaries(1, times=n),
    "words of a step": lambda _, n: CHAT.clean("length", min_words=n),
    "rows of a stream": lambda folder, n: stream(folder).take(n),
}


def test_every_method_that_takes_a_number_is_here() -> None:
    of_jobs = {("for_job", "max_steps"), ("for_job", "batch_size")}  # a job has checked them
    found = {
        (name, parameter.name)
        for kind in (Dataset, DatasetStream)
        for name, method in inspect.getmembers(kind, callable)
        if not name.startswith("_") or name == "__getitem__"
        for parameter in inspect.signature(method).parameters.values()
        if any(word in str(parameter.annotation) for word in ("int", "float", "Decimal"))
        and "Callable" not in str(parameter.annotation)
    }
    assert found - of_jobs == set(CALLS)


@pytest.mark.parametrize(
    "call", [*CALLS.values(), *MORE.values()], ids=[*(f"{method}-{name}" for method, name in CALLS), *MORE]
)
def test_an_odd_number_is_used_or_refused(call: Callable[[Path, Any], object], tmp_path: Path) -> None:
    for value in ODD:
        said = refusal(call, tmp_path, value)
        assert "Step can't be built" not in said, "a name that no user knows"
        assert len(said) < 1_000, "a number of many digits is shown as one"


def refusal(call: Callable[[Path, Any], object], folder: Path, value: Any) -> str:
    try:
        call(folder, value)
    except FtsdkError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", [True, -1, 1.0, float("nan"), 10**18, "1", None])
@pytest.mark.parametrize("method", ["sample", "split", "mix", "with_canaries", "with_context", "augment"])
def test_a_seed_is_a_whole_number_from_0(method: str, seed: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"seed=.* can't be used\. Pass a whole number from 0"):
        CALLS[method, "seed"](tmp_path, seed)


def test_a_row_that_does_not_exist_is_an_index_error_too() -> None:
    for call in (CHAT.__getitem__, CHAT.line_of):
        for index in (12, -13):
            with pytest.raises(IndexError, match="Rows count from 0 to 11") as caught:
                call(index)
            assert isinstance(caught.value, RowIndexError)
        with pytest.raises(TypeError, match="must be integers") as wrong:
            call("1")  # type: ignore[arg-type]
        assert isinstance(wrong.value, DatasetError)
    last: Any = np.int64(11)
    assert CHAT.line_of(-1) == CHAT.line_of(last) == 12
    assert CHAT[-1] == CHAT[last]


def test_numbers_of_numpy_are_recorded_as_plain_ones() -> None:
    three: Any = np.int64(3)
    part = CHAT.sample(three, seed=three + 1)
    assert (part.steps[-1].sample, part.fingerprint) == (CHAT.sample(3, seed=4).steps[-1].sample, part.fingerprint)
    assert [dict(step) for step in part.lineage][-1] == {"sample": {"n": 3, "seed": 4}}
