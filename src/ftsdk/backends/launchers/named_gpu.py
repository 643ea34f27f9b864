"""GPUs that can't be looked at before the run: what their name says."""

from __future__ import annotations

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.cost.facts.devices import find_device
from ftsdk.errors import SpecError

__all__ = ["gpu_hardware"]


def gpu_hardware(name: str, *, processes: int, what: str, reason: str, is_given: bool) -> Hardware:
    """Return the facts on a GPU by its name.

    Args:
        name: Such as `A100-80GB` or `h100`; empty: not known.
        processes: Worker processes, one for each GPU.
        what: Its name in plans if it isn't known.
        reason: Why it was chosen.
        is_given: Whether the user named the device itself, so that an unknown name is a mistake, and not a site's word.

    Raises:
        SpecError: The given name isn't known.
    """
    try:
        device = find_device(name) if name else None
    except SpecError:
        if is_given:
            raise
        device = None
    if device is None:
        return Hardware(
            device="cuda",
            name=what,
            processes=processes,
            reason=f"{reason}; its memory isn't known: say which one it is with gpu=, such as gpu='A100-80GB'",
            larger="a larger GPU",
        )
    return Hardware(
        device="cuda",
        name=device.name,
        processes=processes,
        memory_gib=device.memory_gib,
        has_bfloat16=device.has_bfloat16,
        reason=reason,
        larger="a larger GPU",
    )
