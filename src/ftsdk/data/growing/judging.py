"""The answers of two models to the same prompts, and the verdicts of a judge on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from ftsdk._spend import SpendMeter
from ftsdk.data.growing.answer_log import KeptAnswer
from ftsdk.data.growing.growth_plan import ModelCost
from ftsdk.data.growing.model_calls import ModelCalls, Request
from ftsdk.data.growing.preference import (
    Judge,
    JudgeFunction,
    Outcome,
    answer_requests,
    comparable,
    judge_request,
    outcome_of,
    read_verdict,
    verdict_of_function,
)
from ftsdk.data.growing.text_models import ChatEndpoint, LocalModel, TextModel, named_model
from ftsdk.data.message_rows import Row
from ftsdk.data.row_keys import answer_text

__all__ = ["Judged", "Judging", "RefusedPrompt"]


@dataclass(frozen=True, slots=True)
class RefusedPrompt:
    """A prompt without a better and a worse answer."""

    position: int
    reason: str
    row: dict[str, Any]
    """The prompt and both answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What came of all prompts."""

    better: tuple[tuple[int, str, str], ...]
    """Position, the better and the worse answer."""
    refused: tuple[RefusedPrompt, ...]
    first_won: int
    not_asked: int
    """Prompts without answers or verdict, because the budget was reached."""


class Judging:
    """Two models, a judge, and the prompts."""

    def __init__(
        self,
        rows: Sequence[Row],
        first: TextModel,
        second: TextModel,
        judge: Judge,
        *,
        meter: SpendMeter,
        answers: Path | None,
        criteria: str,
        max_new_tokens: int,
        judge_tokens: int,
        temperature: float | None,
    ) -> None:
        """Prepare; nothing is asked yet."""
        self.meter = meter
        self.first, self.second = named_model(first), named_model(second)
        # A function that judges isn't asked for text, but it has a name as well.
        self.judge = named_model(cast("TextModel", judge))
        self.is_asked = isinstance(self.judge.asked, (ChatEndpoint, LocalModel))
        self._rows = rows
        self._calls = [ModelCalls(model, meter, answers) for model in (self.first, self.second, self.judge)]
        self._requests = [
            answer_requests(rows, max_new_tokens=max_new_tokens, temperature=temperature, sample=sample)
            for sample in range(2)
        ]
        self._criteria = criteria
        self._judge_tokens = judge_tokens
        self._judge_temperature = None if temperature is None else 0
        self._max_new_tokens = max_new_tokens

    def costs(self) -> tuple[ModelCost, ...]:
        """Estimate what each of the three will cost. The judge's prompts are taken with the rows' own answers."""
        found = [
            calls.cost(list({request.key(""): request for request in requests}.values()), role)
            for calls, requests, role in zip(self._calls, self._requests, ("first", "second"), strict=False)
        ]
        if self.is_asked:
            likely = [
                self._verdict_request(request, answer_text(row), answer_text(row))
                for request, row in zip(self._requests[0], self._rows, strict=True)
                for _ in range(2)
            ]
            cost = self._calls[2].cost(likely, "judge")
            high = cost.input_tokens.high + 2 * self._max_new_tokens * len(likely)
            found.append(replace(cost, input_tokens=cost.input_tokens.replace(high=high)))
        return tuple(found)

    def run(self, on_progress: Callable[[int, int], None] | None) -> Judged:
        """Ask the models and the judge.

        Raises:
            CredentialsError: A key was refused.
            BackendError: An endpoint failed for good.
            SpecError: A function returns no answer or verdict.
        """
        given = [
            calls.run(requests, on_progress=on_progress)
            for calls, requests in zip(self._calls, self._requests, strict=False)
        ]
        refused: list[RefusedPrompt] = []
        waiting: list[tuple[int, str, str]] = []
        for position, (one, other) in enumerate(zip(*given, strict=True)):
            texts = [answer.text if isinstance(answer, KeptAnswer) else None for answer in (one, other)]
            reason = None if one is None or other is None else comparable(one, other)
            if reason is not None:
                refused.append(self._refusal(position, reason, *texts))
            elif texts[0] is not None and texts[1] is not None:
                waiting.append((position, texts[0], texts[1]))
        outcomes = self._outcomes(waiting, on_progress)
        better: list[tuple[int, str, str]] = []
        first_won = 0
        for (position, one, other), outcome in zip(waiting, outcomes, strict=True):
            if outcome is None:
                continue
            if outcome.winner is None:
                refused.append(self._refusal(position, outcome.reason, one, other))
                continue
            first_won += outcome.winner == "first"
            better.append((position, one, other) if outcome.winner == "first" else (position, other, one))
        refused.sort(key=lambda one: one.position)
        missing = len(self._rows) - len(refused) - len(better)
        return Judged(better=tuple(better), refused=tuple(refused), first_won=first_won, not_asked=missing)

    def _outcomes(
        self, waiting: Sequence[tuple[int, str, str]], on_progress: Callable[[int, int], None] | None
    ) -> list[Outcome | None]:
        """Return what the judge says of each pair; None: the budget was reached."""
        if not self.is_asked:
            function = cast("JudgeFunction", self.judge.asked)
            return [
                outcome_of(
                    verdict_of_function(function, messages, one, other, is_swapped=False),
                    verdict_of_function(function, messages, other, one, is_swapped=True),
                )
                for position, one, other in waiting
                for messages in [self._requests[0][position].messages]
            ]
        requests = [
            self._verdict_request(self._requests[0][position], *texts)
            for position, one, other in waiting
            for texts in ((one, other), (other, one))
        ]
        replies = self._calls[2].run(requests, on_progress=on_progress)
        found: list[Outcome | None] = []
        for one, other in zip(replies[::2], replies[1::2], strict=True):
            if one is None or other is None:
                found.append(None)
            else:
                verdicts = read_verdict(one, is_swapped=False), read_verdict(other, is_swapped=True)
                found.append(outcome_of(*verdicts))
        return found

    def _verdict_request(self, asked: Request, a: str, b: str) -> Request:
        return judge_request(
            asked.messages,
            a,
            b,
            criteria=self._criteria,
            max_new_tokens=self._judge_tokens,
            temperature=self._judge_temperature,
        )

    def _refusal(self, position: int, reason: str, first: str | None, second: str | None) -> RefusedPrompt:
        prompt = [dict(message) for message in self._requests[0][position].messages]
        return RefusedPrompt(position, reason, {"prompt": prompt, "first": first, "second": second})
