"""Answers and results on disk.

In the folder of an evaluation, for each eval and target:

- `<eval>/<target>.answers.jsonl`: every answer as it came, under a key of target, example and settings, and every
  error. Appended only, by one process at a time: a failure or a kill costs no answer, and no answer is asked for, or
  paid for, twice. Errors are a record; the next evaluation asks again.
- `<eval>/<target>.jsonl`: the results of all examples of the last evaluation, one line each. Written whole, at the end.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from ftsdk._files import replace_file
from ftsdk._format import printable
from ftsdk._line_log import LineLog
from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.report import EvalReport
from ftsdk.evals.results import ExampleResult

__all__ = ["AnswerFile", "answer_key", "mark_finished", "read_results", "write_report"]

_RESULT = TypeAdapter(ExampleResult)
_EARLIER = (1, 2)
"""Versions that kept answers in the file of results, vouched for by a `.meta.json`, with one key for all of them."""


def answer_key(identity: str, example: Mapping[str, Any]) -> str:
    """Return the key of an answer: a digest of all that decides it.

    Args:
        identity: Of the target.
        example: The prompt, and the settings of the question; JSON values.
    """
    text = json.dumps([identity, example], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class AnswerFile:
    """The answers of one target to one eval."""

    def __init__(
        self,
        folder: Path,
        target: str,
        *,
        keys: Sequence[str],
        earlier: Mapping[str, Any],
        session: str | None = None,
    ) -> None:
        """Name the files; nothing is read or written yet.

        Args:
            folder: The folder of the eval.
            target: The name of what is measured.
            keys: The key of each example; two examples with the same prompt share one.
            earlier: What an earlier version wrote beside its answers if they are answers to these examples.
            session: Answers of an evaluation that has come to its end are used only in the same session. None: always.
        """
        self._results_file = folder / f"{target}.jsonl"
        self._log = _log(folder, target)
        self._session = session
        self._earlier_files = folder / f"{target}.meta.json", folder / f"{target}.partial.jsonl"
        self._keys = list(keys)
        self._earlier = dict(earlier)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def open(self) -> None:
        """Open the file for answers, for this process alone, until the block of `with` ends.

        Raises:
            DatasetError: It can't be written, or another process is using it.
        """
        self._log.open()

    def read(self) -> dict[int, Answer]:
        """Return the known answers by the position of their example; errors aren't answers."""
        kept = self._read_answers()
        found = {index: kept[key] for index, key in enumerate(self._keys) if key in kept}
        return found if found else self._read_earlier()

    def append(self, index: int, answer: Answer) -> None:
        """Keep the answer to one example, or the error in its place, once the file is open.

        Raises:
            DatasetError: The disk is full.
        """
        line = {
            "key": self._keys[index],
            **{name: value for name, value in asdict(answer).items() if value is not None},
        }
        # What cost money survives a power cut; answers of models on this machine survive a crash.
        self._log.append(line, sync=answer.usd is not None)

    def finish(self, results: Iterable[ExampleResult]) -> None:
        """Write the results of all examples, in their order.

        Raises:
            DatasetError: They can't be written.
        """
        text = "".join(json.dumps(_written(result), ensure_ascii=False, default=str) + "\n" for result in results)
        content = text.encode("utf-8", "surrogatepass")
        if not self._results_file.is_file() or self._results_file.read_bytes() != content:
            _replace(self._results_file, content)

    def _read_answers(self) -> dict[str, Answer]:
        wanted = set(self._keys)
        found: dict[str, Answer] = {}
        for line in self._log.lines():
            try:
                if "finished" in line and self._session not in (None, line["finished"]):
                    found.clear()
                elif line["key"] in wanted and line.get("error") is None:
                    found[line["key"]] = _answer_in(line)
            except (KeyError, TypeError, AttributeError, ValueError, InvalidOperation):
                continue  # cut off by a crash, or not ours
        return found

    def _read_earlier(self) -> dict[int, Answer]:
        """Return the answers that an earlier version kept, if they are answers to these examples."""
        meta_file, _ = self._earlier_files
        try:
            meta: Any = json.loads(meta_file.read_bytes())
            content = self._results_file.read_bytes()
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(meta, dict) or meta.get("version") not in _EARLIER:
            return {}
        if any(name not in meta or meta[name] != value for name, value in self._earlier.items()):
            return {}
        if meta.get("sha256") != hashlib.sha256(content).hexdigest():
            return {}
        # Only "\n" ends a line: answers may hold other line separators.
        lines = [json.loads(line) for line in content.decode("utf-8", "surrogatepass").split("\n") if line]
        return {line["index"]: Answer(text=line["output"]) for line in lines}


def mark_finished(folder: Path, target: str, session: str) -> None:
    """Note that an evaluation has come to its end, so that other sessions ask again.

    Args:
        folder: The folder of the eval.
        target: The name of what was measured.
        session: That of the target.

    Raises:
        DatasetError: The note can't be written.
    """
    with _log(folder, target) as log:
        log.append({"finished": session})


def _log(folder: Path, target: str) -> LineLog:
    return LineLog(
        folder / f"{target}.answers.jsonl",
        busy="another process is evaluating the same target into this folder, and would pay for the same answers.",
        busy_hint="Wait until it has finished, or pass into= with another folder.",
        hint="Pass into= with a folder that can be written to.",
    )


def _answer_in(line: Mapping[str, Any]) -> Answer:
    text, is_cut, usd, seconds = line["text"], line.get("is_cut"), line.get("usd"), line.get("seconds")
    counts = [line.get(name) for name in ("input_tokens", "output_tokens")]
    if not isinstance(text, str):
        raise TypeError("the answer isn't text")
    cost = None if usd is None else Decimal(str(usd))
    return Answer(
        text=text,
        is_cut=is_cut if isinstance(is_cut, bool) else None,
        input_tokens=counts[0] if type(counts[0]) is int else None,
        output_tokens=counts[1] if type(counts[1]) is int else None,
        seconds=seconds if isinstance(seconds, float) and math.isfinite(seconds) else None,
        usd=cost if cost is not None and cost.is_finite() else None,
    )


def _replace(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise DatasetError(
            f"results can't be written: {error.strerror or error}.",
            source=printable(str(path)),
            hint="All answers are kept: evaluate again, which asks for none of them, once the disk has space.",
        ) from error


def _written(result: ExampleResult) -> dict[str, Any]:
    """Return a result as a line: what is empty is left out."""
    return {name: value for name, value in asdict(result).items() if value is not None and value != {}}


def write_report(report: EvalReport, folder: Path) -> None:
    """Write `report.json`.

    Raises:
        DatasetError: It can't be written.
    """
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n"
    # Half a surrogate pair, which an answer may hold, becomes its escape in JSON.
    _replace(folder / "report.json", text.encode("utf-8", "backslashreplace"))


def read_results(path: str | Path) -> list[ExampleResult]:
    """Return the results of one target on one eval.

    Args:
        path: `<into>/<eval>/<target>.jsonl`.

    Raises:
        SpecError: There is no such file, or it holds something else.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogatepass")
        # Only "\n" ends a line: answers may hold other line separators.
        return [_RESULT.validate_python(json.loads(line)) for line in text.split("\n") if line]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise SpecError(f"{path} has no results that can be read ({error}); evaluate again") from error
