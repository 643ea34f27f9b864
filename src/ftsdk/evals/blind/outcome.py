"""What the verdicts of a blind comparison add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from ftsdk._rich_text import rich_text
from ftsdk.evals.blind.pairs import BlindPairs
from ftsdk.evals.blind.verdicts import Winner
from ftsdk.evals.judges.agreement import Agreement, agreement
from ftsdk.evals.statistics import mcnemar, wilson_interval

__all__ = ["BlindOutcome", "summarise_blind"]


@dataclass(frozen=True, kw_only=True)
class BlindOutcome:
    """Wins, ties and losses of the first of two targets, and how sure they are. Print it."""

    names: tuple[str, str]
    wins: int
    """Pairs in which the first was preferred; of several judges the majority counts, and a draw among them is a tie."""
    losses: int
    ties: int
    """Judged as equal."""
    identical: int
    """Examples with the same answer from both: ties that nobody had to judge."""
    skipped: int
    left: int
    """Pairs without a verdict."""
    not_drawn: int = 0
    """Pairs beyond the most that were to be judged: wins, losses and ties are those of a sample, `identical` of all."""
    missing: int = 0
    """Examples that weren't compared, because one of the two has no answer or wasn't asked."""
    p_value: float
    """Of the exact sign test, two-sided; ties say nothing in it."""
    low: float
    """Lower end of the 95% interval (Wilson) of the first one's share of the decided pairs."""
    high: float
    agreements: Mapping[tuple[str, str], Agreement]
    """Of each two judges, on the pairs that both judged."""

    @property
    def share(self) -> float:
        """The first one's share of the decided pairs; half if none is decided."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else 0.5

    def __str__(self) -> str:
        first, second = self.names
        decided = self.wins + self.losses
        lines = [
            f"{first} won {self.wins}, {second} won {self.losses}, {self.ties + self.identical} ties"
            + (f" ({self.identical} of them the same answer)" if self.identical else "")
            + (f", {self.skipped} skipped" if self.skipped else "")
            + (f", {self.left} left" if self.left else "")
            + (f", {self.not_drawn} pairs not drawn" if self.not_drawn else "")
            + (f", {self.missing} without two answers" if self.missing else "")
            + "."
        ]
        if decided:
            word = "pair" if decided == 1 else "pairs"
            lines.append(
                f"{first} is preferred in {self.share:.1%} of {decided} decided {word} "
                f"(95% interval {self.low:.1%} to {self.high:.1%}); p {_shown(self.p_value)} (exact sign test): "
                f"{self._conclusion()}."
            )
        lines += [f"{one} and {other}: {found}." for (one, other), found in self.agreements.items()]
        return "\n".join(lines)

    __rich__ = rich_text

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        agreements = [{"judges": list(judges), **asdict(found)} for judges, found in self.agreements.items()]
        return {**asdict(self), "names": list(self.names), "share": self.share, "agreements": agreements}

    def _conclusion(self) -> str:
        if self.p_value > 0.05:
            return "these pairs can't tell the two apart"
        return f"{self.names[0] if self.wins > self.losses else self.names[1]} is preferred by more than chance"


def summarise_blind(
    pairs: BlindPairs, verdicts: Mapping[str, Mapping[str, Winner]], *, names: tuple[str, str] = ("first", "second")
) -> BlindOutcome:
    """Add up verdicts.

    Args:
        pairs: What was to be judged; verdicts on other pairs are left out.
        verdicts: The verdicts, by judge and the id of the pair.
        names: Of the two targets.
    """
    known = {pair.id for pair in pairs.pairs}
    judged: dict[str, dict[str, Winner]] = {
        by: {pair: winner for pair, winner in own.items() if pair in known} for by, own in verdicts.items()
    }
    winners = [_winner([own[pair.id] for own in judged.values() if pair.id in own]) for pair in pairs.pairs]
    counts = Counter(winners)
    wins, losses = counts["first"], counts["second"]
    low, high = wilson_interval(wins, wins + losses) if wins + losses else (0.0, 1.0)
    return BlindOutcome(
        names=names,
        wins=wins,
        losses=losses,
        ties=counts["tie"],
        identical=pairs.identical,
        skipped=counts["skip"],
        left=counts[None],
        not_drawn=pairs.not_drawn,
        missing=pairs.missing,
        p_value=mcnemar(losses, wins),
        low=low,
        high=high,
        agreements={
            (one, other): agreement([judged[one][pair] for pair in both], [judged[other][pair] for pair in both])
            for one, other in combinations(sorted(judged), 2)
            for both in (_judged_by_both(judged[one], judged[other]),)
            if both
        },
    )


def _judged_by_both(one: Mapping[str, Winner], other: Mapping[str, Winner]) -> list[str]:
    return [pair for pair in one if one[pair] != "skip" and other.get(pair, "skip") != "skip"]


def _winner(given: list[Winner]) -> Winner | None:
    """Return the majority's verdict; None without one."""
    if not given:
        return None
    decided = [winner for winner in given if winner != "skip"]
    if not decided:
        return "skip"
    lead = decided.count("first") - decided.count("second")
    return "first" if lead > 0 else "second" if lead < 0 else "tie"


def _shown(p_value: float) -> str:
    return f"= {p_value:.2g}" if p_value >= 0.001 else "< 0.001"
