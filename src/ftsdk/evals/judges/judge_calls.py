"""Asking a model for verdicts: many at once, kept on disk, within a budget."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ftsdk._format import money
from ftsdk._rich_text import rich_text
from ftsdk._spend import SpendMeter
from ftsdk.errors import SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.constraints import JsonSchema
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.generation import Conversation
from ftsdk.evals.storage import AnswerFile, answer_key
from ftsdk.spec.amounts import check_amount

__all__ = ["JudgeCalls", "JudgeCost", "judge_cost"]

_FOLDER = "verdicts"


@dataclass(frozen=True, kw_only=True)
class JudgeCost:
    """What verdicts have cost so far."""

    requests: int
    input_tokens: int
    output_tokens: int
    usd: Decimal | None
    """US dollars; None: the price of no request is known."""

    def __str__(self) -> str:
        price = "price not known" if self.usd is None else money(self.usd)
        return (
            f"judge: {self.requests:,} requests, {self.input_tokens:,} tokens in, {self.output_tokens:,} out, {price}"
        )

    __rich__ = rich_text


def judge_cost(folder: str | Path) -> JudgeCost:
    """Return the cost of all verdicts that are kept in a folder of results, or in one of its folders.

    Args:
        folder: What was passed as `into=`.
    """
    lines = [line for path in sorted(Path(folder).rglob(f"{_FOLDER}/*.answers.jsonl")) for line in _lines(path)]
    usd = [amount for line in lines if (amount := _usd(line)) is not None]
    return JudgeCost(
        requests=len(lines),
        input_tokens=sum(_count(line, "input_tokens") for line in lines),
        output_tokens=sum(_count(line, "output_tokens") for line in lines),
        usd=sum(usd, Decimal(0)) if usd else None,
    )


@dataclass(frozen=True, kw_only=True)
class JudgeCalls:
    """A model that judges, and how it is asked."""

    endpoint: Endpoint
    reply_schema: Mapping[str, Any]
    """What the server holds replies to, if `structured`."""
    verdict_tokens: int
    structured: bool
    budget_usd: Decimal | None

    def __post_init__(self) -> None:
        check_amount("verdict_tokens", self.verdict_tokens, at_least=1, at_most=1e6, is_whole=True)
        if self.budget_usd is None:
            return
        check_amount("budget_usd", self.budget_usd, above=0)
        if self.endpoint.price is None:
            raise SpecError(
                f"budget_usd={self.budget_usd} can't be kept, because the price of {self.endpoint.model} isn't known; "
                "pass Endpoint(price=TokenPrice(input_usd_per_mtok=..., output_usd_per_mtok=...)), or "
                "api_price(...).token_price() for a row of the price book"
            )

    def replies(
        self, conversations: Sequence[Conversation], *, folder: Path | None, name: str
    ) -> Generator[tuple[int, Answer]]:
        """Yield the reply to each conversation with its position, in any order; known ones aren't asked for again.

        Args:
            conversations: What the judge is asked.
            folder: Where replies are kept; None: nowhere.
            name: Of the judge, and of its file.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server can't be reached, or refuses every request.
            BudgetExceededError: The budget doesn't cover the next request. All replies in the folder count.
            DatasetError: Replies can't be kept, or another process is asking.
        """
        if folder is None:
            yield from self._ask(conversations, self._keys(conversations), {}, None, SpendMeter(self.budget_usd))
            return
        keys = self._keys(conversations)
        with AnswerFile(folder / _FOLDER, name, keys=keys, earlier={}) as file:
            known = file.read()
            if len(known) < len(conversations):
                file.open()
                known = file.read()  # another process may have added some
            meter = SpendMeter(self.budget_usd)
            for line in _lines(folder / _FOLDER / f"{name}.answers.jsonl"):
                meter.add(_usd(line) or Decimal(0))
            yield from known.items()
            yield from self._ask(conversations, keys, known, file, meter)

    def _keys(self, conversations: Sequence[Conversation]) -> list[str]:
        identity = json.dumps(["judge", self.endpoint.url, self.endpoint.model, self.endpoint.revision])
        settings = {"tokens": self.verdict_tokens, "schema": dict(self.reply_schema) if self.structured else None}
        return [answer_key(identity, {"messages": list(one), **settings}) for one in conversations]

    def _ask(
        self,
        conversations: Sequence[Conversation],
        keys: Sequence[str],
        known: Mapping[int, Answer],
        file: AnswerFile | None,
        meter: SpendMeter,
    ) -> Generator[tuple[int, Answer]]:
        alike: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            if index not in known:
                alike.setdefault(key, []).append(index)
        if not alike:
            return
        asked = [indices[0] for indices in alike.values()]
        with self.endpoint.open() as connection:
            wire = connection.metered(meter)
            wire = wire.constrained(JsonSchema(self.reply_schema)) if self.structured else wire
            coming = wire.stream([conversations[index] for index in asked], max_new_tokens=self.verdict_tokens)
            with contextlib.closing(coming):
                for position, answer in coming:
                    if file is not None:
                        file.append(asked[position], answer)
                    yield from ((index, answer) for index in alike[keys[asked[position]]])


def _lines(path: Path) -> list[Mapping[str, Any]]:
    """Return the replies in a file; lines that a crash cut off are skipped."""
    found: list[Mapping[str, Any]] = []
    with contextlib.suppress(OSError):
        for text in path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                line: Any = json.loads(text)
                if isinstance(line, dict) and "key" in line:
                    found.append(line)
    return found


def _usd(line: Mapping[str, Any]) -> Decimal | None:
    try:
        return None if line.get("usd") is None else Decimal(str(line["usd"]))
    except InvalidOperation:
        return None


def _count(line: Mapping[str, Any], name: str) -> int:
    found = line.get(name)
    return found if isinstance(found, int) else 0
