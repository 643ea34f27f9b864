"""`DriftWatch`: looks at a router's traffic in windows, and says when it has left the training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ftsdk._rich_text import rich_text
from ftsdk.deploy.drift.fingerprint import LEAST_ROWS, Fingerprint, Reference
from ftsdk.deploy.drift.shares import Shift, compare_shares, length_class
from ftsdk.deploy.drift.sketch import decode_sketch
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.amounts import check_amount

__all__ = ["DriftCheck", "DriftLook", "DriftWatch"]

PSI_LIMIT = 0.2
"""The common rule of thumb for a shift that matters, from credit scoring (Siddiqi, 2006, has 0.25)."""
DISCREPANCY_LIMIT = 0.002
"""What a tenth to a third of the texts from another field made, in measurements on four sets of short texts."""
_EXAMPLES = 5
_MOST_LOOKS = 200

What = Literal["input length", "input language", "input texts", "output labels", "output length", "output texts"]


class DriftCheck(Value):
    """One property of a window, compared with the training data."""

    what: What
    measure: Literal["PSI", "MMD"]
    value: float
    """How far it moved, without what chance adds: PSI, or the squared MMD over the variance of the training texts."""
    limit: float
    """From here on it matters."""
    p_value: float
    level: float
    """An alarm needs a p-value of at most this."""
    moved: tuple[tuple[str, float, float], ...] = ()
    """The three classes that moved most, each with its share in training and now."""

    @property
    def is_alarm(self) -> bool:
        """Whether it moved by more than chance does, and by enough to matter."""
        return self.p_value <= self.level and self.value >= self.limit

    def __str__(self) -> str:
        moved = "; ".join(f"{name}: {was:.0%} -> {now:.0%}" for name, was, now in self.moved[:2])
        return f"{self.what} ({self.measure} {self.value:.3g}, p {self.p_value:.1g}{': ' + moved if moved else ''})"

    __rich__ = rich_text


class DriftLook(Value):
    """One window of answers, compared with the training data."""

    slice: str | None = None
    """None: all answers, whatever their slice."""
    number: int
    """Counts the windows of a slice from 1."""
    rows: int
    first_at: float
    """Seconds since the epoch, as `last_at`."""
    last_at: float
    checks: tuple[DriftCheck, ...]
    ids: tuple[str, ...]
    """All requests of the window."""
    examples: tuple[str, ...] = ()
    """Requests that show the drift most clearly; empty without an alarm."""

    @property
    def alarms(self) -> tuple[DriftCheck, ...]:
        """The checks that say that the traffic has drifted."""
        return tuple(check for check in self.checks if check.is_alarm)


@dataclass(slots=True)
class _Window:
    ids: list[str] = field(default_factory=list[str])
    times: list[float] = field(default_factory=list[float])
    measures: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    looks: int = 0


class DriftWatch:
    """Collects answers into windows that follow each other, and compares each window with the training data.

    Over all windows, checks and slices together, the chance of any alarm without drift is at most `alpha`, however
    long it watches: window k spends `alpha / (k * (k + 1))`, half of it on all answers and half on the slices, in equal
    parts for the checks. Beyond that an alarm needs a shift that matters. A window of fewer than 200 answers is never
    judged.
    """

    def __init__(self, fingerprint: Fingerprint, *, window: int = 500, alpha: float = 0.05) -> None:
        """Begin with an empty window.

        Args:
            fingerprint: What the model was trained on.
            window: Answers in a window, at least 200.
            alpha: The chance of a false alarm, over all looks together.

        Raises:
            SpecError: A number is out of range.
        """
        check_amount("alpha", alpha, above=0, at_most=0.5)
        if window < LEAST_ROWS:
            raise SpecError(f"window must be at least {LEAST_ROWS}: fewer answers don't tell drift from chance")
        self._fingerprint = fingerprint
        self._window = window
        self._alpha = alpha
        self._windows: dict[str | None, _Window] = {None: _Window()}
        self._looks: list[DriftLook] = []
        self.unknown_slices: Counter[str] = Counter()
        """Answers of slices that the fingerprint doesn't have."""

    @property
    def looks(self) -> Sequence[DriftLook]:
        """The windows that were judged, the last 200 of them."""
        return tuple(self._looks)

    @property
    def waiting(self) -> int:
        """Answers in the window that isn't full yet."""
        return len(self._windows[None].ids)

    @property
    def window(self) -> int:
        """Answers in a window."""
        return self._window

    def add(self, id: str, at: float, measures: Mapping[str, Any] | None, *, slice: str | None = None) -> None:  # noqa: A002
        """Count an answer. One without measures isn't part of any window.

        Args:
            id: The request's id.
            at: Seconds since the epoch.
            measures: What `measure_texts` returned.
            slice: The request's slice.
        """
        if not measures or not isinstance(measures.get("input_chars"), (int, float)):
            return
        self._put(None, id, at, measures)
        if slice is not None and slice in self._fingerprint.slices:
            self._put(slice, id, at, measures)
        elif slice is not None and (slice in self.unknown_slices or len(self.unknown_slices) < 100):
            self.unknown_slices[slice] += 1

    def _put(self, slice: str | None, id: str, at: float, measures: Mapping[str, Any]) -> None:  # noqa: A002
        window = self._windows.setdefault(slice, _Window())
        window.ids.append(id)
        window.times.append(at)
        window.measures.append(measures)
        if len(window.ids) >= self._window:
            number = window.looks + 1
            self._looks = [*self._looks, self._look(slice, number, window)][-_MOST_LOOKS:]
            self._windows[slice] = _Window(looks=number)

    def _look(self, slice: str | None, number: int, window: _Window) -> DriftLook:  # noqa: A002
        slices = self._fingerprint.slices
        level = self._alpha / (number * (number + 1))
        if slices:
            level /= 2 if slice is None else 2 * len(slices)
        reference = self._fingerprint.whole if slice is None else slices[slice]
        # Of all that could be checked, not of what can be in this window: a level must not depend on the data.
        level /= max(1, _n_checks(reference))
        checks = [*self._share_checks(reference, window.measures, level), *_text_checks(reference, window, level)]
        look = DriftLook(
            slice=slice,
            number=number,
            rows=len(window.ids),
            first_at=min(window.times),
            last_at=max(window.times),
            checks=tuple(checks),
            ids=tuple(window.ids),
        )
        # Texts that lie elsewhere show more than lengths or labels do.
        alarms = sorted(look.alarms, key=lambda check: check.measure != "MMD")
        return look.replace(examples=self._examples(reference, window, alarms[0])) if alarms else look

    def _share_checks(
        self, reference: Reference, measures: Sequence[Mapping[str, Any]], level: float
    ) -> list[DriftCheck]:
        found: list[DriftCheck] = []
        for what, before in _shares_of(reference).items():
            now = Counter(name for name in (self._class_of(what, reference, one) for one in measures) if name)
            if sum(now.values()) >= LEAST_ROWS and sum(before.values()) >= LEAST_ROWS:
                found.append(_share_check(what, compare_shares(before, now), level))
        return found

    def _class_of(self, what: What, reference: Reference, measures: Mapping[str, Any]) -> str | None:
        match what:
            case "input length":
                return length_class(measures["input_chars"], reference.input_edges)
            case "input language":
                language = measures.get("language")
                return str(language) if language is not None else None
            case "output labels":
                return self._fingerprint.label_of(measures)
            case "output length":
                length = measures.get("output_chars")
                return length_class(length, reference.output_edges) if isinstance(length, (int, float)) else None
            case _:
                return None

    def _examples(self, reference: Reference, window: _Window, alarm: DriftCheck) -> tuple[str, ...]:
        """Return the requests that show an alarm: those of the class that grew most, or the most telling texts."""
        if alarm.measure == "MMD":
            embedding, key = _embeddings_of(reference)[alarm.what]
            vectors, ids = _vectors(window, key)
            return tuple(ids[position] for position in embedding.most_typical(vectors, _EXAMPLES))
        grown = max(alarm.moved, key=lambda one: one[2] - one[1])[0]
        classes = (self._class_of(alarm.what, reference, one) for one in window.measures)
        chosen = [id for id, name in zip(window.ids, classes, strict=True) if name == grown]  # noqa: A001
        return tuple(chosen[-_EXAMPLES:])


def _n_checks(reference: Reference) -> int:
    return len(_shares_of(reference)) + len(_embeddings_of(reference))


def _shares_of(reference: Reference) -> dict[What, Mapping[str, int]]:
    every: dict[What, Mapping[str, int]] = {
        "input length": reference.input_lengths,
        "input language": reference.languages,
        "output labels": reference.labels,
        "output length": reference.output_lengths,
    }
    return {what: counts for what, counts in every.items() if counts}


def _embeddings_of(reference: Reference) -> dict[str, Any]:
    every = {"input texts": (reference.inputs, "input_sketch"), "output texts": (reference.outputs, "output_sketch")}
    return {what: pair for what, pair in every.items() if pair[0] is not None}


def _share_check(what: What, shift: Shift, level: float) -> DriftCheck:
    return DriftCheck(
        what=what,
        measure="PSI",
        value=shift.psi,
        limit=PSI_LIMIT,
        p_value=shift.p_value,
        level=level,
        moved=shift.moved[:3],
    )


def _text_checks(reference: Reference, window: _Window, level: float) -> list[DriftCheck]:
    found: list[DriftCheck] = []
    for what, (embedding, key) in _embeddings_of(reference).items():
        vectors, ids = _vectors(window, key)
        if len(ids) >= LEAST_ROWS:
            seen = embedding.compare(vectors)
            found.append(
                DriftCheck(
                    what="input texts" if what == "input texts" else "output texts",
                    measure="MMD",
                    value=seen.share,
                    limit=DISCREPANCY_LIMIT,
                    p_value=seen.p_value,
                    level=level,
                )
            )
    return found


def _vectors(window: _Window, key: str) -> tuple[Any, list[str]]:
    import numpy as np

    pairs = [
        (vector, id)
        for vector, id in zip((decode_sketch(one.get(key)) for one in window.measures), window.ids, strict=True)  # noqa: A001
        if vector is not None
    ]
    return (np.stack([vector for vector, _ in pairs]) if pairs else np.zeros((0, 64))), [id for _, id in pairs]  # noqa: A001
