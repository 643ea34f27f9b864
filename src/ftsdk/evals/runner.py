"""Running evals: every example of every eval by every subject, kept on disk, and nothing computed twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsdk._files import replace_file
from ftsdk.errors import SpecError
from ftsdk.evals.eval import Eval, Example
from ftsdk.evals.generation import Generator
from ftsdk.evals.report import EvalReport, ExampleResult, PairedScore, Score

__all__ = ["EvalProgress", "Subject", "evaluate"]

_MARGIN_TOKENS = 8
_LEAST_TOKENS = 16
_META_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be measured."""

    name: str
    """`"base"` or `"tuned"`; also the name of its files."""
    identity: str
    """Changes when the answers could: by it, results of an earlier evaluation are known to be still good."""
    open: Callable[[], AbstractContextManager[Generator]]
    """Loads the model; leaving the context lets go of it."""


@dataclass(frozen=True, kw_only=True)
class EvalProgress:
    """How far an evaluation is."""

    name: str
    subject: str
    done: int
    total: int


def evaluate(
    evals: Sequence[Eval],
    subjects: Sequence[Subject],
    *,
    into: Path,
    title: str = "",
    on_progress: Callable[[EvalProgress], None] | None = None,
) -> EvalReport:
    """Measure every subject on every eval and compare the first two, example by example.

    Writes `<into>/<eval>/<subject>.jsonl`, one line per example, and `report.json` last. A file that was written for the same model, rows
    and settings is used again, so a second evaluation loads nothing.

    Args:
        evals: What to measure; their names must differ.
        subjects: Usually `local_subjects(base, tuned)`.
        into: The folder for the results; made if needed.
        title: What the report is about, such as the ref of a run.
        on_progress: Told after each batch.

    Raises:
        SpecError: No evals, no subjects, or two with the same name.
        DatasetError: A row that isn't an example, or is too long for a model.
        ModelError: A model can't be loaded.
    """
    for what, names in (("evals", [item.name for item in evals]), ("subjects", [subject.name for subject in subjects])):
        if not names or len(set(names)) < len(names):
            raise SpecError(f"evaluate needs at least one of {what}, each with a name of its own; got {names}")
    examples = {item.name: item.examples() for item in evals}
    results: dict[tuple[str, str], list[ExampleResult]] = {}
    # One subject after the other, not one eval after the other: two models never have to be in memory at once.
    for subject in subjects:
        with contextlib.ExitStack() as stack:
            generator: Generator | None = None
            for item in evals:
                file = into / item.name / f"{subject.name}.jsonl"
                meta = {"version": _META_VERSION, "model": subject.identity, "data": item.data.fingerprint, **item.settings()}
                found = _read(file, meta)
                if found is None:
                    generator = generator or stack.enter_context(subject.open())
                    found = _measure(item, examples[item.name], generator, subject.name, on_progress)
                    _write(file, meta, found)
                elif on_progress is not None:
                    on_progress(EvalProgress(name=item.name, subject=subject.name, done=len(found), total=len(found)))
                results[item.name, subject.name] = found
    scores = tuple(Score.of(item.name, subject.name, results[item.name, subject.name]) for item in evals for subject in subjects)
    pairs: tuple[PairedScore, ...] = ()
    if len(subjects) > 1:
        first, second = subjects[0].name, subjects[1].name
        pairs = tuple(PairedScore.of(item.name, results[item.name, first], results[item.name, second]) for item in evals)
    report = EvalReport(title=title, scores=scores, pairs=pairs, folder=into)
    replace_file(into / "report.json", (json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())
    return report


def _measure(
    item: Eval, examples: list[Example], generator: Generator, subject: str, on_progress: Callable[[EvalProgress], None] | None
) -> list[ExampleResult]:
    limit = item.max_new_tokens
    if limit is None:
        longest = max(generator.count_tokens([example.expected for example in examples]))
        limit = max(longest + _MARGIN_TOKENS, _LEAST_TOKENS)

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(EvalProgress(name=item.name, subject=subject, done=done, total=total))

    outputs = generator.generate([example.prompt for example in examples], max_new_tokens=limit, on_progress=report)
    return [
        ExampleResult(index, _as_text(example), example.expected, output, item.is_correct(output, example.expected))
        for index, (example, output) in enumerate(zip(examples, outputs, strict=True))
    ]


def _as_text(example: Example) -> str:
    return "\n".join(f"{message['role']}: {message['content']}" for message in example.prompt)


def _write(file: Path, meta: dict[str, Any], results: list[ExampleResult]) -> None:
    text = "".join(json.dumps(asdict(result), ensure_ascii=False) + "\n" for result in results)
    replace_file(file, text.encode())
    # Last, and with the digest of the lines: a reader trusts only lines that this file vouches for.
    meta_text = json.dumps({**meta, "sha256": _digest(text)}, indent=1) + "\n"
    replace_file(file.with_suffix(".meta.json"), meta_text.encode())


def _read(file: Path, meta: dict[str, Any]) -> list[ExampleResult] | None:
    try:
        text = file.read_text(encoding="utf-8")
        written = json.loads(file.with_suffix(".meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if written != {**meta, "sha256": _digest(text)}:
        return None
    # Only "\n" ends a line: answers may hold other line separators.
    return [ExampleResult(**json.loads(line)) for line in text.split("\n") if line]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
