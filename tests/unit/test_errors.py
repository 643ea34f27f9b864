from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk.errors
from ftsdk import LoRA
from ftsdk.errors import (
    BackendError,
    BudgetExceededError,
    CorruptArtifactError,
    CredentialsError,
    DatasetError,
    Diagnosis,
    FtsdkError,
    Gap,
    MissingExtraError,
    ModelError,
    Problem,
    RunFailedError,
    RunNotFoundError,
    RunNotReadyError,
    SpecError,
    UnsupportedSpecError,
)

SAMPLES = {
    "BackendError": BackendError("down", retryable=True, retry_after_s=7.0, status_code=503),
    "BudgetExceededError": BudgetExceededError("too dear"),
    "CorruptArtifactError": CorruptArtifactError("torn"),
    "CredentialsError": CredentialsError("no key"),
    "DatasetError": DatasetError(
        "has no answer", source="train.jsonl", line=3, field="completion", hint="Drop the row."
    ),
    "FtsdkError": FtsdkError("root"),
    "MissingExtraError": MissingExtraError("local", needed_for="training", missing="trl"),
    "ModelError": ModelError("not there"),
    "RunFailedError": RunFailedError(
        "local:x", Diagnosis("out_of_memory", "no memory", 3, ("a smaller batch",)), log_tail="last line"
    ),
    "RunNotFoundError": RunNotFoundError("no run"),
    "RunNotReadyError": RunNotReadyError("not yet"),
    "SpecError": SpecError("bad", problems=[Problem("seed", "below 0")]),
    "UnsupportedSpecError": UnsupportedSpecError("x", [Gap("budget_usd", Decimal("5"), (1, 2), "why")]),
}
VALUES = {"Diagnosis", "Gap", "Problem"}


def test_no_error_is_missing_here() -> None:
    assert set(SAMPLES) | VALUES == set(ftsdk.errors.__all__)
    defined = {
        name
        for name, value in vars(ftsdk.errors).items()
        if inspect.isclass(value) and value.__module__ == "ftsdk.errors"
    }
    assert defined == set(ftsdk.errors.__all__)
    assert ftsdk.errors.__all__ == sorted(ftsdk.errors.__all__)


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize(
    "clone",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_an_error_crosses_process_boundaries_whole(name: str, clone) -> None:
    error = SAMPLES[name]
    again = clone(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert vars(again) == vars(error)
    # ImportError keeps these outside of __dict__.
    assert all(getattr(again, word, None) == getattr(error, word, None) for word in ("name", "msg", "path"))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_notes_on_an_error_survive_pickling(name: str) -> None:
    error = copy.copy(SAMPLES[name])
    error.add_note("while reading row 3")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while reading row 3"]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_argument_of_a_constructor_can_be_read_from_the_error(name: str) -> None:
    error = SAMPLES[name]
    said_only = {"message", "hint", "needed_for", "self", "args", "kwargs"}
    arguments = set(inspect.signature(type(error).__init__).parameters) - said_only
    assert {argument for argument in arguments if not hasattr(error, argument)} == set()


def _drawn() -> dict[str, tuple[int, str | None]]:
    """Each class in the tree of the docstring, with its depth and its base from the standard library."""
    drawn: dict[str, tuple[int, str | None]] = {}
    tree = (ftsdk.errors.__doc__ or "").split("```")[1]
    for line in tree.strip().splitlines():
        match = re.match(r"([│├└─ ]*)(\w+)(?: \((\w+)\))?", line)
        assert match is not None
        drawn[match.group(2)] = (len(match.group(1)) // 4, match.group(3))
    return drawn


def test_every_error_is_drawn_in_the_tree() -> None:
    assert set(_drawn()) == set(SAMPLES)


def test_the_reference_shows_the_same_tree() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    drawn = (ftsdk.errors.__doc__ or "").split("```")[1].replace("`", "")
    assert page.split("```text")[1].split("```")[0].strip() == drawn.strip()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_an_error_has_the_parents_that_are_drawn(name: str) -> None:
    drawn = _drawn()
    names = list(drawn)
    depth, stdlib = drawn[name]
    kind = type(SAMPLES[name])
    if depth:
        parent = next(other for other in reversed(names[: names.index(name)]) if drawn[other][0] == depth - 1)
        assert kind.__bases__[0].__name__ == parent
    foreign = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins" and base is not Exception]
    assert foreign == ([stdlib] if stdlib else [])


def test_one_except_catches_all_of_ours() -> None:
    assert all(isinstance(error, FtsdkError) for error in SAMPLES.values())


def test_a_refusal_says_what_was_asked_what_is_offered_and_what_next() -> None:
    error = UnsupportedSpecError(
        "tiny",
        [Gap("tuning", "dora", ("full", "lora")), Gap("seed", 7), Gap("dtype", "float16", (), "it overflows here")],
    )
    assert str(error).splitlines() == [
        "backend 'tiny' doesn't support 3 of the fields that were set:",
        "  tuning = 'dora'; offered: 'full', 'lora'",
        "  seed = 7; not offered",
        "  dtype = 'float16'; not offered (it overflows here)",
        "Change these fields, or use another backend.",
    ]


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "is empty"),
        ({"source": "a.jsonl"}, "a.jsonl: is empty"),
        ({"line": 3}, "row 3: is empty"),
        ({"source": "a.jsonl", "line": 3}, "a.jsonl:3: is empty"),
        ({"source": "a.jsonl", "line": 3, "field": "text"}, "a.jsonl:3, field 'text': is empty"),
        ({"field": "text", "hint": "Drop it."}, "field 'text': is empty Drop it."),
    ],
)
def test_a_data_error_says_where(where: dict, text: str) -> None:
    assert str(DatasetError("is empty", **where)) == text


def test_a_missing_package_is_told_with_the_command_that_installs_it() -> None:
    assert (
        str(SAMPLES["MissingExtraError"])
        == "training needs an extra (the package 'trl' is missing): pip install \"ftsdk[local]\""
    )
    strange = MissingExtraError("pigeon", needed_for="backend 'pigeon'", missing="coo", package="ftsdk-pigeon")
    assert str(strange) == "backend 'pigeon' can't be loaded (the package 'coo' is missing): pip install ftsdk-pigeon"
    assert strange.name == "coo"


def test_a_failed_run_says_why_where_and_what_to_try() -> None:
    text = str(SAMPLES["RunFailedError"])
    assert "run local:x failed: out_of_memory at step 3: no memory" in text
    assert "\n  - a smaller batch" in text
    assert text.endswith("Last lines of the log:\nlast line")


@pytest.mark.parametrize("kind", ["data", "missing_package", "model", "spec"])
def test_a_failure_in_our_own_words_comes_without_the_traceback(kind: str) -> None:
    error = RunFailedError("local:x", Diagnosis(kind, "no model 'x'"), log_tail="Traceback (most recent call last):")
    assert str(error) == f"run local:x failed: {kind}: no model 'x'"
    assert error.log_tail.startswith("Traceback")


def test_a_diagnosis_is_plain_data() -> None:
    diagnosis = Diagnosis("crash", "it fell over")
    assert Diagnosis(**json.loads(json.dumps(diagnosis._asdict())))[:3] == diagnosis[:3]
    assert str(diagnosis) == "crash: it fell over"


@pytest.mark.parametrize("kind", [FtsdkError, DatasetError, ModelError, BackendError])
def test_a_message_cannot_drive_the_terminal(kind: type[FtsdkError]) -> None:
    assert (
        str(kind("the name is \x1b[2J\x9b31m\u202e,\n\tand so on"))
        == "the name is \u241b[2J\ufffd31m\ufffd,\n\tand so on"
    )


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, TypeError, Exception])
def test_a_traceback_shows_no_control_characters_of_the_cause(kind: type[Exception]) -> None:
    try:
        try:
            raise kind("an answer \x1b[31m with \x07", 3)
        except kind as error:
            raise BackendError("the server refused") from error
    except BackendError as error:
        shown = "".join(traceback.format_exception(error))
    assert "an answer" in shown
    assert not re.search(r"[\x07\x1b]", shown)


def test_a_traceback_shows_no_control_characters_of_a_field() -> None:
    given: dict[str, Any] = {"\x1b[31m": 1}
    with pytest.raises(SpecError) as caught:
        LoRA(**given)
    assert "\x1b" not in "".join(traceback.format_exception(caught.value))
