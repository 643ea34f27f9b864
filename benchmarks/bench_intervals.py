"""How often intervals hold the truth, how seldom a gate ships by mistake, and whether power is what it says.

    python benchmarks/bench_intervals.py [TRIALS]

Simulated results with a known truth, 2,000 trials each; two to three minutes. Limits: 95% intervals hold the truth in
93 to 97% of trials. Lines marked * rest on a handful of examples: fewer than five on which two targets differ, about
ten scores below 1, about 15 wrong answers in all groups. There the outcomes are too few to make up 95%, and an
interval must err on the safe side: at least 93%. A gate that is looked at after every 50 examples ships a model that
breaks its condition in at most 5% of trials. Power is within 2 points of the simulation.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ftsdk.evals import examples_needed, mcnemar, paired_difference_interval, smallest_difference, wilson_interval
from ftsdk.evals.statistics import Bets, chance_to_see, mean_interval, paired_mean_interval, paired_t

Array = Any
LEAST_KNOWN = 5
"""Expected examples that carry information below which a line is marked."""
failures: list[str] = []


def main() -> int:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    chance = np.random.default_rng(20261128)
    shares(chance, trials)
    paired_shares(chance, trials)
    graded(chance, trials)
    grouped(chance, trials)
    gate(chance, trials)
    power(chance, trials)
    print("\n" + ("\n".join(f"FAILED: {line}" for line in failures) or "all within limits"))
    return 1 if failures else 0


def shares(chance: Array, trials: int) -> None:
    print("\nShares (Wilson): share, coverage at n = 50, 200, 1,000")
    for share in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.02):
        cells: list[str] = []
        for n in (50, 200, 1000):
            counts, times = np.unique(chance.binomial(n, share, size=trials), return_counts=True)
            held = [low <= share <= high for low, high in (wilson_interval(int(count), n) for count in counts)]
            # A single share is only listed: of few wrong answers each count is a large step of coverage.
            cells.append(f"{np.average(held, weights=times):7.1%}")
        print(f"  {share:<6}", *cells)


def paired_shares(chance: Array, trials: int) -> None:
    print("\nPaired shares (Tango; Newcombe's method 10 in brackets): first, second, correlation; n = 50, 200, 1,000")
    for first, second, correlation in (
        (0.5, 0.6, 0.5),
        (0.8, 0.9, 0.3),
        (0.9, 0.99, 0.1),
        (0.95, 0.95, 0.3),
        (0.95, 0.99, 0.2),
        (0.98, 0.98, 0.0),
        (0.99, 0.99, 0.0),
        (0.99, 0.99, 0.5),
        (0.02, 0.1, 0.3),
        (0.01, 0.05, 0.2),
    ):
        both = first * second + correlation * math.sqrt(first * (1 - first) * second * (1 - second))
        cells_of_table = [both, first - both, second - both, 1 - first - second + both]
        cells: list[str] = []
        for n in (50, 200, 1000):
            tables, times = np.unique(chance.multinomial(n, cells_of_table, size=trials), axis=0, return_counts=True)
            found: list[float] = []
            for method in ("tango", "newcombe"):
                ends = [paired_difference_interval(*map(int, table), method=method) for table in tables]
                held = [low - 1e-9 <= second - first <= high + 1e-9 for low, high in ends]
                found.append(float(np.average(held, weights=times)))
            known = n * (cells_of_table[1] + cells_of_table[2])
            mark = judged(f"paired shares {first}, {second}, n = {n}", found[0], is_sparse=known < LEAST_KNOWN)
            cells.append(f"{found[0]:7.1%}{mark} ({found[1]:.1%})")
        print(f"  {first:<5} {second:<5} {correlation:<4}", *cells)


def graded(chance: Array, trials: int) -> None:
    print("\nGraded scores (t, skewness corrected): distribution; mean at n = 50, 200, 1,000; paired at the same")
    distributions: dict[str, tuple[Callable[[tuple[int, int]], Array], bool]] = {
        "even, beta(2, 2)": (lambda size: chance.beta(2, 2, size), True),
        "near 1, beta(20, 0.5)": (lambda size: chance.beta(20, 0.5, size), True),
        "near 0, beta(0.5, 5)": (lambda size: chance.beta(0.5, 5, size), True),
        "80% exactly 1": (lambda size: np.where(chance.random(size) < 0.8, 1.0, chance.random(size)), True),
        "95% exactly 1": (lambda size: np.where(chance.random(size) < 0.95, 1.0, chance.random(size)), True),
        "loss, exponential": (lambda size: chance.exponential(size=size), False),
        "loss, log-normal": (lambda size: np.exp(0.5 * chance.normal(size=size)), False),
    }
    for name, (draw, is_bounded) in distributions.items():
        truth = float(draw((1000, 2000)).mean())
        cells: list[str] = []
        for n in (50, 200, 1000):
            held = [
                low <= truth <= high
                for low, high, _ in (mean_interval(v, is_bounded=is_bounded) for v in draw((trials, n)).tolist())
            ]
            is_sparse = "exactly" in name and n * (0.05 if "95" in name else 0.2) < 2 * LEAST_KNOWN + 1
            mark = judged(f"{name}, n = {n}", float(np.mean(held)), is_sparse=is_sparse)
            cells.append(f"{np.mean(held):7.1%}{mark}")
        cells.append(" |")
        for n in (50, 200, 1000):
            first = draw((trials, n))
            second = np.where(chance.random((trials, n)) < 0.5, first, draw((trials, n)))
            ends = [
                paired_mean_interval(one, other, is_bounded=is_bounded)
                for one, other in zip(first.tolist(), second.tolist(), strict=True)
            ]
            held = [low <= 0 <= high for low, high, _ in ends]
            is_sparse = "exactly" in name and n * (0.05 if "95" in name else 0.2) < 2 * LEAST_KNOWN + 1
            mark = judged(f"{name}, paired, n = {n}", float(np.mean(held)), is_sparse=is_sparse)
            cells.append(f"{np.mean(held):7.1%}{mark}")
        print(f"  {name:<22}", *cells)


def grouped(chance: Array, trials: int) -> None:
    print(
        "\nGroups of about 10, correlation 0.15 within: kind, then coverage with 5, 10, 20, 50 groups of unequal sizes"
    )
    for kind in ("continuous", "share 0.5", "share 0.9", "share 0.97", "paired shares, 30% differ"):
        cells: list[str] = []
        for count in (5, 10, 20, 50):
            held: list[bool] = []
            for _ in range(trials):
                sizes = 5 + chance.integers(0, 11, size=count)
                groups = np.repeat(np.arange(count), sizes)
                held.append(_holds(chance, kind, groups, count))
            # About as many groups with a wrong answer as there are wrong answers, if they are few.
            wrong = {"share 0.9": 0.1, "share 0.97": 0.03}.get(kind, 1) * count * 10
            is_sparse = wrong < 3 * LEAST_KNOWN + 1 or (kind.startswith("paired") and count < 10)
            mark = judged(f"{kind}, {count} groups", float(np.mean(held)), is_sparse=is_sparse)
            cells.append(f"{np.mean(held):7.1%}{mark}")
        print(f"  {kind:<26}", *cells)


def _holds(chance: Array, kind: str, groups: Array, count: int) -> bool:
    n = len(groups)
    if kind == "continuous":
        values = math.sqrt(0.15) * chance.normal(size=count)[groups] + math.sqrt(0.85) * chance.normal(size=n)
        low, high, _ = mean_interval(values.tolist(), is_bounded=False, groups=groups.tolist())
        return low <= 0 <= high
    odds = (1 - 0.15) / 0.15
    if kind.startswith("share"):
        share = float(kind.split()[1])
        right = chance.random(n) < chance.beta(share * odds, (1 - share) * odds, size=count)[groups]
        low, high, _ = mean_interval(right.astype(float).tolist(), is_bounded=True, groups=groups.tolist())
        return low <= share <= high
    differs = chance.random(n) < 0.3
    is_second = chance.random(n) < chance.beta(0.5 * odds, 0.5 * odds, size=count)[groups]
    agreed = (chance.random(n) < 0.8).astype(float)
    first = np.where(differs, (~is_second).astype(float), agreed)
    second = np.where(differs, is_second.astype(float), agreed)
    low, high, _ = paired_mean_interval(first.tolist(), second.tolist(), is_bounded=True, groups=groups.tolist())
    return low <= 0 <= high


def gate(chance: Array, trials: int) -> None:
    print("\nA gate at 95%, looked at after every 50 of 1,000 examples: share of trials that ship")
    for share in (0.95, 0.94, 0.9, 0.96, 0.97, 0.98, 0.99):
        seen = np.cumsum(chance.random((trials, 1000)) < share, axis=1)[:, 49::50]
        shipped = float(np.mean([any(_is_shown(int(r), 50 * k, 0.95) for k, r in enumerate(row, 1)) for row in seen]))
        print(f"  at_least=0.95, true share {share}: {shipped:.1%}")
        if share <= 0.95 and shipped > 0.05:
            failures.append(f"the gate ships {share} in {shipped:.1%}")
    for loss, discordance in ((0.01, 0.03), (0.01, 0.1), (0.02, 0.1), (0.0, 0.01), (0.0, 0.03)):
        steps = chance.choice((-1, 1, 0), p=[(discordance + loss) / 2, (discordance - loss) / 2, 1 - discordance],
                              size=(trials, 1000))  # fmt: skip
        worse, better = (np.cumsum(side, axis=1)[:, 49::50] for side in (steps < 0, steps > 0))
        shipped = sum(
            any(_is_safe(int(w), int(b), 50 * k) for k, (w, b) in enumerate(zip(*row, strict=True), 1))
            for row in zip(worse, better, strict=True)
        )
        print(f"  no_regression of 0.01, true loss {loss}, {discordance:.0%} of answers differ: {shipped / trials:.1%}")
        if loss >= 0.01 and shipped / trials > 0.05:
            failures.append(f"the gate ships a loss of {loss} in {shipped / trials:.1%}")


@functools.cache
def _is_shown(right: int, n: int, least: float) -> bool:
    return Bets((1.0,) * right + (0.0,) * (n - right), (1,) * n).against_at_most(least).is_enough(0.05)


@functools.cache
def _is_safe(worse: int, better: int, n: int) -> bool:
    values = (0.0,) * worse + (1.0,) * better + (0.5,) * (n - worse - better)
    return Bets(values, (1,) * n).against_at_most(0.495).is_enough(0.05)


def power(chance: Array, trials: int) -> None:
    print("\nPower, as computed and as simulated")
    for n, difference, discordance in ((50, 0.1, 0.2), (200, 0.05, 0.1), (200, 0.1, 0.2), (1000, 0.03, 0.1)):
        parts = [(discordance - difference) / 2, (discordance + difference) / 2, 1 - discordance]
        tables = chance.multinomial(n, parts, size=2 * trials)
        seen = float(np.mean([mcnemar(int(one), int(other)) <= 0.05 for one, other, _ in tables]))
        compared(f"McNemar, n = {n}, {difference:+.2f}, {discordance:.0%} differ",
                 chance_to_see(n, difference, discordance=discordance), seen)  # fmt: skip
    for n, difference in ((20, 0.6), (50, 0.4), (200, 0.2)):
        values = chance.normal(difference, 1, size=(2 * trials, n)).tolist()
        seen = float(np.mean([paired_t([0.0] * n, row) <= 0.05 for row in values]))
        compared(f"paired t, n = {n}, {difference} deviations", chance_to_see(n, difference, spread=1.0), seen)
    least = smallest_difference(200, discordance=0.1)
    print(f"  200 examples, 10% differ, show {least:.1%} four times in five; {examples_needed(least, discordance=0.1)}")


def compared(what: str, computed: float, simulated: float) -> None:
    print(f"  {what}: {computed:.1%} computed, {simulated:.1%} simulated")
    if abs(computed - simulated) > 0.02:
        failures.append(f"power of {what}: {computed:.1%} against {simulated:.1%}")


def judged(what: str, coverage: float, *, is_sparse: bool) -> str:
    """Note a failure, and return the mark of a line that few examples decide."""
    if coverage < 0.93 or (coverage > 0.97 and not is_sparse):
        failures.append(f"{what}: {coverage:.1%}")
    return "*" if is_sparse else " "


if __name__ == "__main__":
    sys.exit(main())
