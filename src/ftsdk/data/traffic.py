"""Kept traffic of a router as rows to train on: the answers that were accepted, and those that users corrected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from ftsdk._format import printable
from ftsdk.errors import DatasetError

__all__ = ["FORMAT", "TrafficOnly", "TrafficRows", "kept_texts", "traffic_rows"]

FORMAT = 1
"""Of the lines; written in the first line of each shard."""
TrafficOnly = Literal["accepted", "corrected", "rejected", "all"]
_ROLES = frozenset({"system", "user", "assistant", "tool"})


class TrafficRows(NamedTuple):
    """Rows of a traffic folder."""

    rows: list[dict[str, Any]]
    """Each with `messages` and where it comes from."""
    left_out: dict[str, int]
    """How many answers weren't chosen, by reason."""
    sha256: str
    """Of the lines that were read."""
    shards: int


def traffic_rows(folder: Path, *, only: TrafficOnly, route: str | None, since: float | None) -> TrafficRows:
    """Read what a router kept.

    A verdict of a user counts more than that of the contract, and the last one counts. Lines that a crash cut off are
    left out.

    Raises:
        DatasetError: There is no such folder, it can't be read, or it holds something else.
    """
    shards = sorted(folder.glob("traffic-*.jsonl"))
    if not shards:
        raise DatasetError(
            "holds no kept traffic." if folder.is_dir() else "there is no such folder.",
            source=printable(str(folder), 400),
            hint="A router keeps texts only if asked: Router(..., observers=[TrafficFolder('traffic/')]).",
        )
    answers: dict[str, dict[str, Any]] = {}
    verdicts: dict[str, dict[str, Any]] = {}
    digest = hashlib.sha256()
    for shard in shards:
        for line in _lines(shard, digest):
            if line.get("kind") == "answer" and _is_answer(line):
                answers[line["id"]] = line
            elif line.get("kind") == "feedback" and isinstance(line.get("id"), str):
                verdicts[line["id"]] = line
    left_out: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for name, answer in answers.items():
        row, reason = _row(answer, verdicts.get(name), only)
        if route is not None and answer.get("route") != route:
            row, reason = None, "another route"
        elif since is not None and float(answer.get("at") or 0) < since:
            row, reason = None, "too old"
        if row is None:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            rows.append(row)
    return TrafficRows(rows, left_out, digest.hexdigest(), len(shards))


def kept_texts(folder: Path, ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return the last user message and the answer of some requests, as far as they were kept.

    Raises:
        DatasetError: A file can't be read.
    """
    found: dict[str, tuple[str, str]] = {}
    for shard in sorted(folder.glob("traffic-*.jsonl"), reverse=True):
        if len(found) == len(ids):
            break
        for line in _lines(shard, hashlib.sha256()):
            if line.get("id") in ids and line.get("kind") == "answer" and _is_answer(line):
                asked = [one["content"] for one in line["messages"] if one["role"] == "user"]
                found[line["id"]] = (asked[-1] if asked else "", line["answer"])
    return found


def _lines(shard: Path, digest: Any) -> Iterator[dict[str, Any]]:
    try:
        content = shard.read_bytes()
    except FileNotFoundError:  # rotated away meanwhile
        return
    except OSError as error:
        raise DatasetError(f"can't be read: {error.strerror or error}.", source=printable(shard.name)) from error
    *whole, _cut = content.split(b"\n")  # what stands behind the last line break isn't finished
    for number, text in enumerate(whole):
        try:
            line: Any = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(line, dict):
            continue
        if number == 0 and line.get("format", FORMAT) != FORMAT:
            raise DatasetError(
                f"is traffic in format {printable(str(line['format']), 20)}, and this version reads format {FORMAT}.",
                source=printable(shard.name),
            )
        digest.update(text)
        yield cast("dict[str, Any]", line)


def _is_answer(line: Mapping[str, Any]) -> bool:
    messages = line.get("messages")
    return (
        isinstance(line.get("id"), str)
        and isinstance(line.get("answer"), str)
        and isinstance(messages, list)
        and bool(messages)
        and all(
            isinstance(one, dict) and one.get("role") in _ROLES and isinstance(one.get("content"), str)
            for one in cast("list[Any]", messages)
        )
    )


def _row(
    answer: Mapping[str, Any], verdict: Mapping[str, Any] | None, only: TrafficOnly
) -> tuple[dict[str, Any] | None, str]:
    accepted, by = answer.get("accepted"), answer.get("accepted_by")
    corrected = None
    if verdict is not None:
        accepted, by = verdict.get("accepted"), "feedback"
        corrected = verdict.get("corrected") if isinstance(verdict.get("corrected"), str) else None
    is_corrected = corrected is not None and bool(corrected.strip())
    text = corrected if is_corrected and only != "rejected" else answer["answer"]
    is_chosen = {
        "accepted": is_corrected or accepted is True,
        "corrected": is_corrected,
        "rejected": accepted is False,
        "all": True,
    }[only]
    if not is_chosen:
        return None, "nobody judged it" if accepted is None else "accepted" if accepted else "rejected"
    if not str(text).strip():
        return None, "empty"
    kept = ("id", "at", "route", "arm", "role", "version", "model", "slice")
    return {
        "messages": [*answer["messages"], {"role": "assistant", "content": text}],
        **{f"traffic_{name}": answer.get(name) for name in kept},
        "traffic_accepted": accepted,
        "traffic_accepted_by": by,
        "traffic_corrected": is_corrected,
        "traffic_answer": answer["answer"] if is_corrected else None,
    }, ""
