"""`ftsdk.doctor()`: what is installed, which keys are there, who answers, and what fits this machine."""

from __future__ import annotations

from collections.abc import Iterable

from ftsdk.checkup.access import check_access
from ftsdk.checkup.check import Checkup
from ftsdk.checkup.installed import check_extras
from ftsdk.checkup.keys import check_keys
from ftsdk.checkup.machine import check_machine
from ftsdk.protocol import Backend
from ftsdk.spec.amounts import check_amount

__all__ = ["doctor"]


def doctor(
    *,
    online: bool = False,
    backends: Iterable[Backend] | None = None,
    measure: bool = True,
    timeout_s: float = 10.0,
) -> Checkup:
    """Look at what is installed, which keys are there, who answers, and what fits this machine. Changes nothing.

    Args:
        online: Ask providers and clusters whether they can be used. False sends nothing.
        backends: Whom to ask, such as `[SSH(host="gpu-box")]`. None: every installed backend, and each machine that
            has runs in the ledger.
        measure: Measure how fast products in bfloat16 are, which loads torch in another process, for some seconds.
        timeout_s: Seconds that each provider or cluster may take to answer.

    Raises:
        SpecError: `timeout_s` is out of range.
    """
    check_amount("timeout_s", timeout_s, above=0, at_most=600)
    asked = None if backends is None else tuple(backends)
    return Checkup(
        checks=(
            *check_extras(),
            *check_keys(),
            *check_access(is_online=online, backends=asked, timeout_s=timeout_s),
            *check_machine(is_measured=measure),
        )
    )
