"""Whether drift is a reason to retrain, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ftsdk._wilson import wilson
from ftsdk.deploy.drift import DriftLook
from ftsdk.spec import Value

__all__ = ["Advice", "advise"]

_LEAST_JUDGED = 30


class Advice(Value):
    """What drift means for the model of a slice."""

    slice: str | None
    retrain: bool
    sentence: str
    look: DriftLook
    """The window that shows it."""


def advise(looks: Sequence[DriftLook], verdicts: Mapping[str, bool]) -> tuple[Advice, ...]:
    """Return advice for each slice whose last window, or the one before, has drifted.

    Args:
        looks: Windows of all slices, oldest first.
        verdicts: By request, whether its answer was accepted; requests that nobody judged are missing.
    """
    by_slice: dict[str | None, list[DriftLook]] = {}
    for look in looks:
        by_slice.setdefault(look.slice, []).append(look)
    found: list[Advice] = []
    for name, own in by_slice.items():
        drifted = [look for look in own[-2:] if look.alarms]
        if drifted:
            quiet = [id for look in own if not look.alarms for id in look.ids]  # noqa: A001
            found.append(_advice(name, drifted[-1], quiet, verdicts))
    return tuple(found)


def _advice(name: str | None, look: DriftLook, quiet: Iterable[str], verdicts: Mapping[str, bool]) -> Advice:
    *most, last = dict.fromkeys(check.what for check in look.alarms)
    what = f"{', '.join(most)} and {last}" if most else last
    moved = f"The {what} of {'the traffic' if name is None else f'slice {name}'} left the training data"
    now = [verdicts[id] for id in look.ids if id in verdicts]  # noqa: A001
    before = [verdicts[id] for id in quiet if id in verdicts]  # noqa: A001
    if len(now) < _LEAST_JUDGED:
        return Advice(
            slice=name,
            retrain=True,
            look=look,
            sentence=f"Retrain, or judge a sample first: {moved[:1].lower()}{moved[1:]}, and only {len(now)} of these "
            f"{look.rows} answers were judged, too few to tell whether they are still good.",
        )
    share = sum(now) / len(now)
    if len(before) < _LEAST_JUDGED:
        low, high = wilson(sum(now), len(now))
        return Advice(
            slice=name,
            retrain=True,
            look=look,
            sentence=f"Retrain on this traffic: {moved[:1].lower()}{moved[1:]} from the start. {share:.0%} of its "
            f"answers are accepted ({low:.0%} to {high:.0%}), and there is no window without drift to compare with.",
        )
    was = sum(before) / len(before)
    if _highest_change(sum(before), len(before), sum(now), len(now)) < 0:
        return Advice(
            slice=name,
            retrain=True,
            look=look,
            sentence=f"Retrain: {moved[:1].lower()}{moved[1:]}, and acceptance fell from {was:.0%} to {share:.0%}.",
        )
    return Advice(
        slice=name,
        retrain=False,
        look=look,
        sentence=f"{moved}, but acceptance holds ({was:.0%} before, {share:.0%} now): no need to retrain yet.",
    )


def _highest_change(before: int, n_before: int, now: int, n_now: int) -> float:
    """Return the upper end of the 95 % interval of a share's change (Newcombe 1998, method 10)."""
    was, is_now = before / n_before, now / n_now
    low_before, _ = wilson(before, n_before)
    _, high_now = wilson(now, n_now)
    return float(is_now - was + ((high_now - is_now) ** 2 + (was - low_before) ** 2) ** 0.5)
