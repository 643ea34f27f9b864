"""`pairwise_judge`: which of two answers is better, asked in both orders."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from ftsdk._format import text_table
from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.judges.judge_calls import JudgeCalls, JudgeCost, judge_cost
from ftsdk.evals.judges.judge_prompts import MalformedVerdict, judge_conversation, read_verdict, verdict_schema
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.results import ExampleResult
from ftsdk.evals.statistics import wilson_interval

__all__ = ["PairwiseJudge", "PairwiseReport", "pairwise_judge"]

Outcome = Literal["win", "tie", "loss", "no verdict"]
_ROLE = "You compare two answers of assistants to the same question, evenly. Their order and length mean nothing."
_VALUES: list[Any] = ["A", "B", "tie"]
_REPLY = '{"reason": "<one or two sentences>", "better": "A", "B" or "tie"}'


@dataclass(frozen=True, kw_only=True)
class PairwiseReport:
    """How often each of two targets has the better answers. A win is one of the second target."""

    names: tuple[str, str]
    """The two targets; the first is what the second is compared with."""
    outcomes: tuple[Outcome, ...]
    """Of each example."""
    reasons: tuple[str, ...]
    first_shown: int
    """Single verdicts for the answer that was shown first."""
    second_shown: int
    """Single verdicts for the answer that was shown second."""
    flips: int
    """Examples on which the judge named another answer once the order was swapped; these are ties."""
    cost: JudgeCost | None = None

    def count(self, outcome: Outcome) -> int:
        """Return how many examples ended so."""
        return self.outcomes.count(outcome)

    @property
    def wins(self) -> int:
        """Examples on which the second target is better, in both orders."""
        return self.count("win")

    @property
    def losses(self) -> int:
        """Examples on which the first target is better, in both orders."""
        return self.count("loss")

    @property
    def ties(self) -> int:
        """Examples on which neither is better, or the verdicts of the two orders differ."""
        return self.count("tie")

    @property
    def errors(self) -> int:
        """Examples without a verdict in one order at least."""
        return self.count("no verdict")

    @property
    def win_share(self) -> float | None:
        """Wins among wins and losses; None without either."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else None

    @property
    def win_interval(self) -> tuple[float, float]:
        """The 95% Wilson interval of `win_share`; 0 to 1 without wins and losses."""
        decided = self.wins + self.losses
        return wilson_interval(self.wins, decided) if decided else (0.0, 1.0)

    @property
    def p_value(self) -> float:
        """Of the exact two-sided sign test: how probable so uneven wins and losses are if both are equally good."""
        decided, fewer = self.wins + self.losses, min(self.wins, self.losses)
        tail = sum(math.comb(decided, count) for count in range(fewer + 1))
        return min(1.0, 2 * tail / 2**decided)

    @property
    def preference(self) -> float | None:
        """The share of all examples with a verdict that are wins, a tie counting half; None without any."""
        judged = self.wins + self.ties + self.losses
        return (self.wins + self.ties / 2) / judged if judged else None

    @property
    def first_shown_share(self) -> float | None:
        """The share of verdicts for the answer that was shown first; 0.5 without position bias, None without any."""
        total = self.first_shown + self.second_shown
        return self.first_shown / total if total else None

    @property
    def first_shown_interval(self) -> tuple[float, float]:
        """The 95% Wilson interval of `first_shown_share`."""
        total = self.first_shown + self.second_shown
        return wilson_interval(self.first_shown, total) if total else (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "names": list(self.names),
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "errors": self.errors,
            "win_share": self.win_share,
            "win_interval": list(self.win_interval),
            "p_value": self.p_value,
            "preference": self.preference,
            "first_shown_share": self.first_shown_share,
            "first_shown_interval": list(self.first_shown_interval),
            "flips": self.flips,
            "outcomes": list(self.outcomes),
            "reasons": list(self.reasons),
        }

    def __str__(self) -> str:
        base, tuned = self.names
        rows = [
            ("", "examples"),
            (f"{tuned} better", str(self.wins)),
            ("tie", str(self.ties)),
            (f"{base} better", str(self.losses)),
            ("no verdict", str(self.errors)),
        ]
        lines = [text_table(rows, right={1})]
        if self.win_share is not None:
            low, high = self.win_interval
            lines.append(
                f"{tuned} wins {self.win_share:.1%} of the decided ones (95% interval {low:.1%} to {high:.1%}; sign "
                f"test p = {self.p_value:.2g}); {self.preference:.1%} with ties as halves"
            )
        if self.first_shown_share is not None:
            low, high = self.first_shown_interval
            lines.append(
                f"position: {self.first_shown_share:.1%} of verdicts are for the answer shown first (95% interval "
                f"{low:.1%} to {high:.1%}); {self.flips} flipped with the order"
            )
        if self.cost is not None:
            lines.append(str(self.cost))
        return "\n".join(lines)

    __rich__ = rich_text


@dataclass(frozen=True, kw_only=True)
class PairwiseJudge:
    """A model that compares answers; see `pairwise_judge`."""

    calls: JudgeCalls
    criteria: str

    def compare(
        self,
        base: Sequence[ExampleResult],
        tuned: Sequence[ExampleResult],
        *,
        names: tuple[str, str] = ("base", "tuned"),
        into: str | Path | None = None,
    ) -> PairwiseReport:
        """Compare the answers of two targets to the same examples.

        Equal answers are ties, and a missing answer loses, without a question to the judge.

        Args:
            base: Results of the first target, such as `read_results(report.folder / "style" / "base.jsonl")`.
            tuned: Results of the second, of the same examples in the same order.
            names: Of the two targets.
            into: Where verdicts are kept, so that none is asked for twice; None: nowhere.

        Raises:
            SpecError: The results aren't of the same examples.
            CredentialsError: The key was refused.
            BackendError: The server can't be reached, or refuses every request.
            BudgetExceededError: The budget doesn't cover the next request.
        """
        if [one.prompt for one in base] != [other.prompt for other in tuned] or not base:
            raise SpecError("the results of both targets must be of the same examples, at least one, in the same order")
        texts = [(final_answer(one.output), final_answer(other.output)) for one, other in zip(base, tuned, strict=True)]
        known = {
            index: found
            for index, (one, other) in enumerate(zip(base, tuned, strict=True))
            if (found := _without_judge(one, other, texts[index])) is not None
        }
        asked = [index for index in range(len(base)) if index not in known]
        conversations = [
            self._conversation(base[index], *(texts[index] if order == 0 else reversed(texts[index])))
            for index in asked
            for order in range(2)
        ]
        replies = dict(self.calls.replies(conversations, folder=None if into is None else Path(into), name="pairwise"))
        shown: Counter[str] = Counter()
        flips = 0
        for position, index in enumerate(asked):
            verdicts = [_verdict(replies[2 * position + order]) for order in range(2)]
            shown.update(verdict for verdict, _ in verdicts if verdict is not None)
            outcome = _outcome(verdicts[0][0], verdicts[1][0])
            flips += verdicts[0][0] == verdicts[1][0] != "tie" and outcome != "no verdict"
            known[index] = outcome, " / ".join(reason for _, reason in verdicts)
        return PairwiseReport(
            names=names,
            outcomes=tuple(known[index][0] for index in range(len(base))),
            reasons=tuple(known[index][1] for index in range(len(base))),
            first_shown=shown["A"],
            second_shown=shown["B"],
            flips=flips,
            cost=None if into is None else judge_cost(into),
        )

    def _conversation(self, result: ExampleResult, first: str, second: str) -> list[dict[str, Any]]:
        texts = {"QUESTION": result.prompt, "ANSWER A": first, "ANSWER B": second}
        task = f"Which answer is better, by these criteria?\n\n{self.criteria}"
        return judge_conversation(_ROLE, task, texts, reply=_REPLY)


def _without_judge(base: ExampleResult, tuned: ExampleResult, texts: tuple[str, str]) -> tuple[Outcome, str] | None:
    """Return the outcome of an example that needs no judge; None if it does."""
    has_none = base.error is not None and not base.output, tuned.error is not None and not tuned.output
    match has_none:
        case (True, True):
            return "tie", "neither has an answer"
        case (True, False):
            return "win", "the first has no answer"
        case (False, True):
            return "loss", "the second has no answer"
        case _:
            return ("tie", "the answers are equal") if texts[0].strip() == texts[1].strip() else None


def _verdict(reply: Answer) -> tuple[str | None, str]:
    if reply.error is not None:
        return None, f"no verdict: {reply.error}"
    try:
        return read_verdict(reply.text, "better", _VALUES)
    except MalformedVerdict as error:
        return None, str(error)


def _outcome(in_order: str | None, swapped: str | None) -> Outcome:
    """Return the outcome for the second target, which is B in order and A swapped."""
    if in_order is None or swapped is None:
        return "no verdict"
    outcomes: Mapping[tuple[str, str], Outcome] = {("B", "A"): "win", ("A", "B"): "loss"}
    return outcomes.get((in_order, swapped), "tie")


def pairwise_judge(
    endpoint: Endpoint,
    criteria: str,
    *,
    verdict_tokens: int = 500,
    structured: bool = True,
    budget_usd: Decimal | float | None = None,
) -> PairwiseJudge:
    """Return a judge that compares the answers of two targets, example by example, in both orders.

    Judges prefer one position; an answer wins only if it is the better one in both, and the report has the share of
    verdicts for the answer that was shown first. Verdicts are kept, so none is asked, or paid for, twice. The judged
    texts are fenced off as data.

    Args:
        endpoint: The model that judges. Its key stays in the environment.
        criteria: What makes an answer better.
        verdict_tokens: Longest verdict in tokens, reasoning included.
        structured: Have the server hold replies to a JSON Schema; False for servers that refuse that.
        budget_usd: The most to spend on verdicts in one folder, in US dollars, earlier ones included. Needs
            `Endpoint(price=...)`.

    Raises:
        SpecError: An impossible value, or a budget without a price.
    """
    if not criteria.strip():
        raise SpecError("criteria must tell the judge what makes an answer better; got no text")
    calls = JudgeCalls(
        endpoint=endpoint,
        reply_schema=verdict_schema("better", _VALUES),
        verdict_tokens=verdict_tokens,
        structured=structured,
        budget_usd=None if budget_usd is None else Decimal(str(budget_usd)),
    )
    return PairwiseJudge(calls=calls, criteria=criteria)
