"""Time limits, as Slurm writes them."""

from __future__ import annotations

import re

from ftsdk.errors import SpecError

__all__ = ["as_time", "seconds_of"]

_TIME = re.compile(r"(?:(?P<days>\d{1,4})-)?(?P<parts>\d{1,6}(?::\d{1,2}){0,2})\Z")


def seconds_of(time: str) -> int:
    """Return the seconds of a limit in one of Slurm's forms.

    They are `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes` and
    `days-hours:minutes:seconds` (`man sbatch`, 22.05).

    Raises:
        SpecError: It is none of them, or no time at all.
    """
    found = _TIME.match(time)
    if found is None:
        raise SpecError(
            f"time={time!r} isn't a time limit: write it as Slurm does, such as '2:00:00' for two hours, or "
            "'1-12:00:00' for a day and a half"
        )
    numbers = [int(part) for part in found["parts"].split(":")]
    units = (3600, 60, 1) if found["days"] or len(numbers) == 3 else (60, 1)
    seconds = 86_400 * int(found["days"] or 0) + sum(n * unit for n, unit in zip(numbers, units, strict=False))
    if seconds <= 0:
        raise SpecError(f"time={time!r} is no time at all; leave time out for the partition's own limit")
    return seconds


def as_time(seconds: int) -> str:
    """Return a limit as `days-hours:minutes:seconds`, or `hours:minutes:seconds` below a day."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{days}-{clock}" if days else clock
