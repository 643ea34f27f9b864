"""Rows rendered before a run is started: in a process of their own, with limits, and without torch or transformers.

A chat template is a program that may refuse rows, leave out what they say, loop or allocate on some of them alone. The
rows go through the code that renders for training and previews.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

from ftsdk.data.last_results import LastResults
from ftsdk.data.message_rows import message_rows, row_characters
from ftsdk.data.render_report import RenderReport, RowFacts, summarise
from ftsdk.data.rendering import render_rows
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.text_model import TextModel
from ftsdk.data.training_sequences import facts_of
from ftsdk.errors import DatasetError, ModelError
from ftsdk.models.limits import TEMPLATE_LIMITS
from ftsdk.models.plain_tokenizer import PlainTokenizer, TokenizerFiles
from ftsdk.models.template_trial import OUT_OF_MEMORY, kill_after, limit_memory, too_much
from ftsdk.spec import TrainOn

__all__ = ["RenderTrial", "TriedRows", "child", "sample_of", "try_rows"]

_CHILD = "from ftsdk.data.render_trial import child; child()"
_SURE = 5.0
"""Standard deviations: a share in a sample that is so far above the limit isn't chance."""


@dataclass(frozen=True, kw_only=True)
class RenderTrial:
    """What is rendered, and how."""

    fingerprint: str
    """Of the rows."""
    rows: Sequence[Mapping[str, Any]]
    tokenizer: TokenizerFiles
    train_on: TrainOn
    max_length: int | None
    embedding_rows: int | None
    max_truncated: float

    @property
    def key(self) -> Hashable:
        """What stands for all of it; the fingerprint for the rows."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name != "rows")


class TriedRows(NamedTuple):
    """What rendering found."""

    note: str | None = None
    """A sentence about what wasn't rendered; None if all rows were."""
    sequences: int | None = None
    """Training sequences of all rows, by the share of those that were rendered; None: one a row, or not known."""


_tried: LastResults[TriedRows] = LastResults(16)


def sample_of(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
    """Choose the rows that are tried.

    Returns:
        Positions that stand for the data, all of them if it is small, and positions of the longest rows besides.
    """
    limits = TEMPLATE_LIMITS
    sizes = row_characters(rows if isinstance(rows, RowSequence) else message_rows(map(dict, rows)))
    if len(rows) <= limits.whole_rows and sum(sizes) <= limits.sampled_characters:
        return list(range(len(rows))), []
    count = min(len(rows), limits.sampled_rows)
    spread = [n * len(rows) // count for n in range(count)]
    # Every second one, then the rest: a cut at the limit of characters leaves rows from everywhere.
    spread = _within([*spread[::2], *spread[1::2]], sizes, limits.sampled_characters)
    is_spread = set(spread)
    others = (position for position in range(len(rows)) if position not in is_spread)
    longest = heapq.nlargest(limits.longest_rows, others, key=sizes.__getitem__)
    return spread, _within(longest, sizes, limits.sampled_characters // 2, at_least=0)


def _within(positions: Sequence[int], sizes: Sequence[int], characters: int, at_least: int = 1) -> list[int]:
    found: list[int] = []
    for position in positions:
        characters -= sizes[position]
        if characters >= 0 or len(found) < at_least:
            found.append(position)
    return sorted(found)


def try_rows(trial: RenderTrial) -> TriedRows:
    """Render a sample of the rows, and refuse what training would refuse.

    Raises:
        ModelError: The template refuses a row, can't be masked, or takes too long or too much memory.
        DatasetError: Too many rows lose trained tokens or what their messages say, or any loses its tools.
    """
    return _tried.get(trial.key, lambda: _try(trial))


def _try(trial: RenderTrial) -> TriedRows:
    sample, longest = sample_of(trial.rows)
    answer = _asked(trial, sample, longest)
    if isinstance(answer, str):
        return TriedRows(f"rows were not rendered: {answer}. job.preview() renders all of them.")
    total, share = len(trial.rows), trial.max_truncated
    sequences = round(total * answer.sequences / answer.rows) if answer.rows_by_turn else None
    if answer.rows == total:
        answer.check(share)
        return TriedRows(None, sequences)
    try:
        answer.check(min(1.0, share + _SURE * math.sqrt(share * (1 - share) / answer.rows) + 1 / answer.rows))
    except DatasetError as error:
        raise DatasetError(f"of {total:,} rows, {answer.rows:,} were tried: {error.reason}") from error
    note = f"{answer.rows + len(longest):,} of {total:,} rows were rendered; job.preview() renders all of them."
    return TriedRows(note, sequences)


def _asked(trial: RenderTrial, sample: Sequence[int], longest: Sequence[int]) -> RenderReport | str:
    """Let the child render; a text is the reason why it couldn't."""
    request = {
        "tokenizer": asdict(trial.tokenizer),
        "rows": [[position, trial.rows[position]] for position in (*sample, *longest)],
        "counted": len(sample),
        "train_on": trial.train_on,
        "max_length": trial.max_length,
        "embedding_rows": trial.embedding_rows,
        "row_s": TEMPLATE_LIMITS.trial_s,
    }
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PATH": os.environ.get("PATH", ""),
        "TOKENIZERS_PARALLELISM": "false",
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD],
            input=json.dumps(request).encode(),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TEMPLATE_LIMITS.sample_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_much(f"more than {TEMPLATE_LIMITS.sample_s:.0f} seconds", len(sample) + len(longest)) from error
    if ended.returncode == -getattr(signal, "SIGALRM", 0) != 0:
        raise _too_much(f"more than {TEMPLATE_LIMITS.trial_s:.0f} seconds", 1)
    if ended.returncode == OUT_OF_MEMORY:
        raise _too_much(
            f"more than {TEMPLATE_LIMITS.trial_bytes / 2**30:.0f} GiB of memory", len(sample) + len(longest)
        )
    try:
        answer: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        return "the process that renders them failed"
    if "refused" in answer:
        raise ModelError(answer["refused"])
    if "unable" in answer:
        return answer["unable"]
    return RenderReport(**answer["report"])


def _too_much(limit: str, rows: int) -> ModelError:
    return too_much(limit, "one row" if rows == 1 else f"{rows:,} rows")


def child() -> None:
    """Render the rows on standard input, and write what became of them; this is the process with limits."""
    request: dict[str, Any] = json.load(sys.stdin)
    try:
        tokenizer = PlainTokenizer(TokenizerFiles(**request["tokenizer"]))
        model = TextModel(tokenizer, embedding_rows=request["embedding_rows"], has_limits=True)
    except ImportError as error:
        answer: dict[str, Any] = {"unable": f"the package {error.name} isn't installed"}
    except Exception as error:  # noqa: BLE001 - tokenizers has many
        answer = {"unable": f"the tokenizer can't be read here ({type(error).__name__})"}
    else:
        limit_memory()
        try:
            answer = {"report": asdict(_rendered(request, model))}
        except MemoryError:
            sys.exit(OUT_OF_MEMORY)
        except (ModelError, DatasetError) as error:
            if isinstance(error.__cause__, MemoryError):
                sys.exit(OUT_OF_MEMORY)
            answer = {"refused": str(error)}
    json.dump(answer, sys.stdout)


def _rendered(request: Mapping[str, Any], model: TextModel) -> RenderReport:
    facts: list[RowFacts] = []
    for position, row in request["rows"]:
        kill_after(request["row_s"])
        found = render_rows(
            [row], model, train_on=request["train_on"], max_length=request["max_length"], first_row=position
        )
        facts.extend(facts_of(one) for one in found)
    kill_after(0)
    report = summarise(facts[: request["counted"]], max_length=request["max_length"], has_template=model.has_template)
    places = [position for position, _ in request["rows"]]
    first = report.first_row_losing_tools
    return replace(
        report,
        longest_row=places[report.longest_row],
        first_row_losing_tools=None if first is None else places[first],
    )
