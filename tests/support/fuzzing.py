"""Seeded cases for the tests in `tests/fuzz`, and the limits of time and memory that each has to keep."""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass
class FuzzCases:
    """Random generators, one a case: the case is the same whichever cases were tried before it."""

    seed: int
    first: int
    count: int
    current: int | None = field(default=None, init=False)
    """The case that is being tried."""

    def __iter__(self) -> Iterator[random.Random]:
        for case in range(self.first, self.first + self.count):
            self.current = case
            yield random.Random(f"{self.seed}/{case}")


@dataclass
class Used:
    """What a block under `limits` took at most."""

    mib: float = 0.0
    seconds: float = 0.0


@contextmanager
def limits(*, seconds: float, mib: int) -> Generator[Used]:
    """Fail the test if the block takes longer, or more memory than it started with by more than this.

    Memory is measured as the growth of the resident set at its peak, which Linux alone can tell of a block; an
    allocation far beyond the limit is refused before it is made.
    """

    def too_long(_signal: int, _frame: FrameType | None) -> None:
        # Not TimeoutError, which is an OSError and could be caught as the file's fault.
        raise AssertionError(f"not done after {seconds} s")

    used = Used()
    before = signal.signal(signal.SIGALRM, too_long)
    address_space = resource.getrlimit(resource.RLIMIT_AS)
    start = None
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # the peak starts anew
        start = _status("VmHWM")
        resource.setrlimit(
            resource.RLIMIT_AS, (int((_status("VmSize") + 4 * mib + 512) * 1024 * 1024), address_space[1])
        )
    signal.setitimer(signal.ITIMER_REAL, seconds)
    begun = time.perf_counter()
    try:
        yield used
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        used.seconds = time.perf_counter() - begun
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, address_space)
        if start is not None:
            used.mib = _status("VmHWM") - start
    assert used.mib <= mib, f"took {used.mib:.0f} MiB, and the limit is {mib}"


def _status(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


@dataclass
class Tally:
    """What became of the cases of a test."""

    name: str
    refused: int = 0
    read: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    most_mib: float = 0.0

    def add(self, used: Used) -> None:
        """Add what one case took."""
        self.seconds += used.seconds
        self.slowest_s = max(self.slowest_s, used.seconds)
        self.most_mib = max(self.most_mib, used.mib)

    def show(self) -> None:
        """Print the figures, which `pytest -rP` shows of tests that pass."""
        print(  # noqa: T201
            f"{self.name}: {self.refused + self.read:,} cases, {self.refused:,} refused, {self.read:,} read, "
            f"{self.seconds:.0f} s in all, {self.slowest_s:.2f} s and {self.most_mib:.0f} MiB at most for one"
        )
