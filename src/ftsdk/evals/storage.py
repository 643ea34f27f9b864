"""Answers and results on disk.

In the folder of an evaluation, for each eval and target:

- `<eval>/<target>.answers.jsonl`: every answer as it came, under a key of target, example and settings. Appended only:
  a failure or a kill costs no answer, and no answer is asked for, or paid for, twice.
- `<eval>/<target>.jsonl`: the results of all examples of the last evaluation, one line each. Written whole, at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ftsdk._files import make_folder, replace_file
from ftsdk.evals.answers import Answer
from ftsdk.evals.report import EvalReport
from ftsdk.evals.results import ExampleResult

__all__ = ["AnswerFile", "answer_key", "write_report"]

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

    def __init__(self, folder: Path, target: str, *, keys: Sequence[str], earlier: Mapping[str, Any]) -> None:
        """Name the files; nothing is read or written yet.

        Args:
            folder: The folder of the eval.
            target: The name of what is measured.
            keys: The key of each example; two examples with the same prompt share one.
            earlier: What an earlier version wrote beside its answers if they are answers to these examples.
        """
        self._results_file = folder / f"{target}.jsonl"
        self._answers_file = folder / f"{target}.answers.jsonl"
        self._earlier_files = folder / f"{target}.meta.json", folder / f"{target}.partial.jsonl"
        self._keys = list(keys)
        self._earlier = dict(earlier)
        self._appended: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._appended is not None:
            self._appended.close()
            self._appended = None

    def read(self) -> dict[int, Answer]:
        """Return the known answers by the position of their example; errors aren't answers."""
        kept = self._read_answers()
        found = {index: kept[key] for index, key in enumerate(self._keys) if key in kept}
        return found if found else self._read_earlier()

    def append(self, index: int, answer: Answer) -> None:
        """Keep the answer to one example, so that it is still there if the next one fails."""
        if self._appended is None:
            make_folder(self._answers_file.parent)
            self._appended = self._answers_file.open("ab")
            self._appended.write(b"\n")  # after a line that a crash cut off
        line = {
            "key": self._keys[index],
            **{name: value for name, value in asdict(answer).items() if value is not None},
        }
        self._appended.write((json.dumps(line, default=str) + "\n").encode())
        self._appended.flush()

    def finish(self, results: Iterable[ExampleResult]) -> None:
        """Write the results of all examples, in their order."""
        text = "".join(json.dumps(_written(result), ensure_ascii=False, default=str) + "\n" for result in results)
        content = text.encode("utf-8", "surrogatepass")
        if not self._results_file.is_file() or self._results_file.read_bytes() != content:
            replace_file(self._results_file, content)

    def _read_answers(self) -> dict[str, Answer]:
        wanted = set(self._keys)
        found: dict[str, Answer] = {}
        for line in _lines(self._answers_file):
            try:
                if line["key"] in wanted and line.get("error") is None:
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


def _lines(path: Path) -> Iterable[Any]:
    try:
        content = path.read_bytes()
    except OSError:
        return
    for text in content.split(b"\n"):
        try:
            yield json.loads(text)
        except (ValueError, RecursionError):
            continue  # empty, or cut off by a crash


def _answer_in(line: Mapping[str, Any]) -> Answer:
    text, is_cut, usd, seconds = line["text"], line.get("is_cut"), line.get("usd"), line.get("seconds")
    counts = [line.get(name) for name in ("input_tokens", "output_tokens")]
    if not isinstance(text, str):
        raise TypeError("the answer isn't text")
    return Answer(
        text=text,
        is_cut=is_cut if isinstance(is_cut, bool) else None,
        input_tokens=counts[0] if type(counts[0]) is int else None,
        output_tokens=counts[1] if type(counts[1]) is int else None,
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        usd=None if usd is None else Decimal(str(usd)),
    )


def _written(result: ExampleResult) -> dict[str, Any]:
    """Return a result as a line: what is empty is left out."""
    return {name: value for name, value in asdict(result).items() if value is not None and value != {}}


def write_report(report: EvalReport, folder: Path) -> None:
    """Write `report.json`."""
    replace_file(folder / "report.json", (json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())
