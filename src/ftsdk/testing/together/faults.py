"""Which requests fail, and how."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from ftsdk.testing.together.scenarios import Chaos, WireFault

__all__ = ["ArmedFault", "ArmedFaults"]


class ArmedFault:
    """A fault that is armed: it knows how often it may strike, and when it was switched off."""

    def __init__(self, fault: WireFault) -> None:
        self.fault = fault
        self.is_off = threading.Event()
        self._to_skip = fault.skip
        self._left = fault.times

    def meets(self, route: str) -> bool:
        """Return whether a request meets the fault, and count it."""
        if self._left == 0 or not fnmatchcase(route, self.fault.on):
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def give_back(self) -> None:
        """Take back a strike that hit nothing."""
        if self._left is not None:
            self._left += 1


class ArmedFaults:
    """The faults that are armed now: those of the scenario, those that a test switched on, and chance."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_scenario: list[ArmedFault] = []
        self._of_test: list[ArmedFault] = []
        self._chaos: Chaos | None = None
        self._random = random.Random(0)

    def arm(self, faults: tuple[WireFault, ...]) -> None:
        """Arm the faults of a scenario in place of those of the scenario before."""
        with self._lock:
            for armed in self._of_scenario:
                armed.is_off.set()
            self._of_scenario = [ArmedFault(fault) for fault in faults]

    @property
    def chaos(self) -> Chaos | None:
        """Random faults, or None."""
        return self._chaos

    @chaos.setter
    def chaos(self, chaos: Chaos | None) -> None:
        with self._lock:
            self._chaos = chaos
            if chaos is not None:
                self._random = random.Random(chaos.seed)

    @contextmanager
    def with_fault(self, fault: WireFault) -> Generator[ArmedFault]:
        """Arm a fault for a while."""
        armed = ArmedFault(fault)
        with self._lock:
            self._of_test.append(armed)
        try:
            yield armed
        finally:
            armed.is_off.set()
            with self._lock:
                self._of_test.remove(armed)

    def pick(self, route: str) -> ArmedFault | None:
        """Return the fault that this request meets, if any."""
        with self._lock:
            for armed in (*self._of_test, *self._of_scenario):
                if armed.meets(route):
                    return armed
            chaos = self._chaos
            # Two draws for each request, so that what one request meets doesn't depend on what others met.
            chance, kind = self._random.random(), self._random.random()
            if chaos is None or not fnmatchcase(route, chaos.on) or chance >= chaos.probability:
                return None
            return ArmedFault(WireFault(kind=chaos.kinds[int(kind * len(chaos.kinds))], retry_after_s=0))
