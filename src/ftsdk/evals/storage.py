"""Answers and results on disk: appended as they come, replaced by whole files at the end.

In the folder of an evaluation, for each eval and target:

- `<eval>/<target>.jsonl` and `.meta.json`: results of all examples, and what they are results of. Written last.
- `<eval>/<target>.partial.jsonl`: answers so far. A failure keeps them, and the next evaluation asks only for the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ftsdk._files import make_folder, replace_file
from ftsdk.evals.report import EvalReport
from ftsdk.evals.results import ExampleResult

__all__ = ["AnswerFile", "write_report"]

_VERSION = 2
_READABLE = (1, _VERSION)
"""Version 1 kept whether an answer was right in place of a score; its answers are still good."""


class AnswerFile:
    """The answers of one target to one eval."""

    def __init__(self, folder: Path, target: str, *, identity: Mapping[str, Any]) -> None:
        """Name the files; nothing is read or written yet.

        Args:
            folder: The folder of the eval.
            target: The name of what is measured.
            identity: What decides the answers; those of another identity are ignored.
        """
        self._file = folder / f"{target}.jsonl"
        self._meta_file = folder / f"{target}.meta.json"
        self._partial_file = folder / f"{target}.partial.jsonl"
        self._identity = dict(identity)
        self._key = _digest(json.dumps(self._identity, sort_keys=True))[:16]
        self._appended: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self) -> dict[int, str]:
        """Return the known answers by the position of their example: all if finished, else those so far."""
        whole = self._read_whole()
        return self._read_partial() if whole is None else whole

    def append(self, index: int, output: str) -> None:
        """Keep one answer, so that it is still there if the next one fails."""
        if self._appended is None:
            make_folder(self._file.parent)
            if not self._read_partial():
                self._partial_file.unlink(missing_ok=True)  # answers to something else, or by another model
            self._appended = self._partial_file.open("a", encoding="utf-8", newline="")
            self._appended.write("\n")  # after a line that a crash cut off
        self._appended.write(json.dumps({"key": self._key, "index": index, "output": output}) + "\n")
        self._appended.flush()

    def finish(self, results: Iterable[ExampleResult], *, scorer: Mapping[str, Any]) -> None:
        """Write the results of all examples.

        Args:
            results: In the order of the examples.
            scorer: What scored them, for readers.
        """
        text = "".join(json.dumps(asdict(result), ensure_ascii=False) + "\n" for result in results)
        content = text.encode("utf-8", "surrogatepass")
        meta = {
            "version": _VERSION,
            **self._identity,
            "scorer": dict(scorer),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        if self._read_meta() != meta or not self._file.is_file() or self._file.read_bytes() != content:
            replace_file(self._file, content)
            # Last, and with the digest of the lines: a reader trusts only lines that this file vouches for.
            replace_file(self._meta_file, (json.dumps(meta, indent=1) + "\n").encode())
        self._close()
        self._partial_file.unlink(missing_ok=True)

    def _read_meta(self) -> dict[str, Any]:
        try:
            found: Any = json.loads(self._meta_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _read_whole(self) -> dict[int, str] | None:
        meta = self._read_meta()
        if meta.get("version") not in _READABLE or any(
            name not in meta or meta[name] != value for name, value in self._identity.items()
        ):
            return None
        try:
            content = self._file.read_bytes()
        except OSError:
            return None
        if meta.get("sha256") != hashlib.sha256(content).hexdigest():
            return None
        # Only "\n" ends a line: answers may hold other line separators.
        lines = [json.loads(line) for line in content.decode("utf-8", "surrogatepass").split("\n") if line]
        return {line["index"]: line["output"] for line in lines}

    def _read_partial(self) -> dict[int, str]:
        try:
            content = self._partial_file.read_bytes()
        except OSError:
            return {}
        found: dict[int, str] = {}
        for text in content.split(b"\n"):
            try:
                line: Any = json.loads(text)
                if line["key"] == self._key:
                    found[int(line["index"])] = str(line["output"])
            except (ValueError, KeyError, TypeError):
                continue  # empty, cut off by a crash, or not ours
        return found

    def _close(self) -> None:
        if self._appended is not None:
            self._appended.close()
            self._appended = None


def write_report(report: EvalReport, folder: Path) -> None:
    """Write `report.json`."""
    replace_file(folder / "report.json", (json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
