"""Answers of a model on disk, each appended as it comes, so that no request is paid for twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ftsdk._home import home
from ftsdk._line_log import LineLog

__all__ = ["AnswerLog", "KeptAnswer", "default_log_path"]

_MOST_TOKENS = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAnswer:
    """An answer of a model."""

    text: str
    is_cut: bool
    """Whether it ended at the limit of its tokens."""
    input_tokens: int | None
    output_tokens: int | None
    on: str
    """The day on which it came, in UTC: `2026-11-27`."""


def default_log_path(identity: str) -> Path:
    """Return the file for the answers of a model, in the home of ftsdk."""
    return home() / "answers" / f"{identity[:32]}.jsonl"


class AnswerLog:
    """A file of answers by the keys of their requests. It holds no prompts, and is readable by its owner only."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is read or written yet."""
        self._log = LineLog(
            path,
            busy="another process is asking the same model, and would be paid for the same answers.",
            busy_hint="Wait until it has finished, or pass answers= with another file.",
            hint="Pass answers= with a file that can be written to.",
        )

    def __enter__(self) -> Self:
        """Open the file, for this process alone.

        Raises:
            DatasetError: It can't be written, or another process is using it.
        """
        self._log.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def read(self) -> dict[str, KeptAnswer]:
        """Return the answers so far by the keys of their requests. Lines that a crash cut off are skipped."""
        found: dict[str, KeptAnswer] = {}
        for line in self._log.lines():
            try:
                found[str(line["key"])] = KeptAnswer(
                    text=_text(line["text"]),
                    is_cut=line["is_cut"] is True,
                    input_tokens=_count(line["input_tokens"]),
                    output_tokens=_count(line["output_tokens"]),
                    on=_text(line["on"])[:10],
                )
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def append(self, key: str, answer: KeptAnswer) -> None:
        """Keep an answer, so that it is still there after a crash or a power cut.

        Raises:
            DatasetError: The disk is full.
        """
        self._log.append({"key": key, **asdict(answer)})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
