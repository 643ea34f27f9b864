"""`Monitor`: follows a router's records and says how it does."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk._format import printable
from ftsdk._home import home
from ftsdk.deploy.drift import DriftWatch, Fingerprint
from ftsdk.deploy.monitor.advice import Advice, advise
from ftsdk.deploy.monitor.figures import Figures, Request, figures_of, percentile
from ftsdk.deploy.monitor.log_tail import LogTail
from ftsdk.deploy.monitor.promise import Promise
from ftsdk.deploy.monitor.report import Example, Moment, MonitorReport, Switch
from ftsdk.spec.amounts import check_amount

__all__ = ["Monitor"]

_MOST_REQUESTS = 200_000
_MOMENTS = 48
_MOST_SWITCHES = 50


class Monitor:
    """Follows the records of a router. Needs nothing but its folder, and changes nothing there.

    >>> print(Monitor("mails", fingerprint=Fingerprint.of(train)).report())
    """

    def __init__(
        self,
        router: str | Path,
        *,
        fingerprint: Fingerprint | None = None,
        promise: Promise | None = None,
        hours: float = 24.0,
        usd_per_hour: float = 0.0,
        window: int = 500,
        alpha: float = 0.05,
        traffic: str | Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the router; nothing is read yet.

        Args:
            router: The router's name, or its folder.
            fingerprint: What the model was trained on; None doesn't watch for drift.
            promise: What a thousand accepted answers were to cost.
            hours: How far back the figures reach; drift is judged over all records.
            usd_per_hour: What your own servers cost an hour, beside the prices of tokens.
            window: Answers that are compared at a time, at least 200.
            alpha: The chance of a false alarm about drift, over all looks together.
            traffic: The folder of a `TrafficFolder`, to show the texts behind an alarm.
            clock: Seconds since the epoch.

        Raises:
            SpecError: A number is out of range.
        """
        check_amount("hours", hours, above=0, at_most=24 * 366)
        check_amount("usd_per_hour", usd_per_hour, at_least=0)
        self._folder = _folder_of(router)
        self._tail = LogTail(self._folder)
        self._drift = None if fingerprint is None else DriftWatch(fingerprint, window=window, alpha=alpha)
        self._promise = promise
        self._hours = hours
        self._usd_per_hour = usd_per_hour
        self._traffic = None if traffic is None else Path(traffic)
        self._clock = clock
        self._requests: deque[Request] = deque(maxlen=_MOST_REQUESTS)
        self._by_id: dict[str, Request] = {}
        self._switches: deque[Switch] = deque(maxlen=_MOST_SWITCHES)
        self._route = self._folder.name
        self._unmeasured = 0

    def report(self) -> MonitorReport:
        """Read what is new and return how the router does.

        Raises:
            SpecError: There is no such router, or its records can't be read.
        """
        for line in self._tail.new_lines():
            self._take(line)
        until = self._clock()
        since = until - self._hours * 3600
        recent = [one for one in self._requests if since <= one.at <= until]
        # Hours are counted from the first request on: before it nobody knows whether the servers ran.
        first = min((one.at for one in recent), default=until)
        hours_usd = self._usd_per_hour * (until - first) / 3600
        verdicts = {one.id: one.accepted for one in self._requests if one.accepted is not None}
        looks = () if self._drift is None else tuple(self._drift.looks)
        advice = advise(looks, verdicts)
        return MonitorReport(
            route=self._route,
            since=since,
            until=until,
            whole=figures_of(recent, hours_usd=hours_usd),
            arms=_by_target(recent),
            moments=_moments(recent, since, until),
            switches=tuple(sorted(self._switches, key=lambda one: one.at, reverse=True)),
            promise=self._promise,
            looks=looks,
            waiting=0 if self._drift is None else self._drift.waiting,
            window=None if self._drift is None else self._drift.window,
            unmeasured=self._unmeasured,
            unknown_slices={} if self._drift is None else dict(self._drift.unknown_slices.most_common(20)),
            advice=advice,
            examples=self._examples(advice),
        )

    def _take(self, line: Mapping[str, Any]) -> None:
        match line["kind"]:
            case "answer":
                self._take_answer(line)
            case "feedback" | "verdict":
                judged = self._by_id.get(str(line.get("id")))
                accepted = line.get("accepted")
                # A user's word counts more than a judge's, whichever comes later.
                is_user = line["kind"] == "feedback"
                if judged is not None and isinstance(accepted, bool) and (is_user or judged.accepted_by != "feedback"):
                    judged.accepted = accepted
                    judged.accepted_by = "feedback" if is_user else str(line.get("by", "judge"))
            case "shadow":
                copied, attempt = self._by_id.get(str(line.get("id"))), line.get("attempt")
                cost = attempt.get("cost_usd") if isinstance(attempt, dict) else None  # pyright: ignore[reportUnknownVariableType]
                if copied is not None and cost is not None:
                    copied.shadow_usd += float(cost)  # pyright: ignore[reportUnknownArgumentType]
            case "switch":
                self._switches.append(_switch(line))
            case _:
                pass  # of no interest here, or of a later version

    def _take_answer(self, line: Mapping[str, Any]) -> None:
        request = Request.of(line)
        if request is None:
            return
        self._route = printable(str(line.get("route") or self._route), 100)
        if len(self._requests) == _MOST_REQUESTS:
            self._by_id.pop(self._requests[0].id, None)
        self._requests.append(request)
        self._by_id[request.id] = request
        measures = line.get("measures")
        if self._drift is not None and request.outcome == "answered":
            self._unmeasured += not measures
            if isinstance(measures, dict):
                self._drift.add(request.id, request.at, measures, slice=request.slice)  # pyright: ignore[reportUnknownArgumentType]

    def _examples(self, advice: Sequence[Advice]) -> tuple[Example, ...]:
        if not advice:
            return ()
        texts: dict[str, tuple[str, str]] = {}
        wanted = advice[0].look.examples
        if self._traffic is not None:
            from ftsdk.data.traffic import kept_texts

            texts = kept_texts(self._traffic, wanted)
        found: list[Example] = []
        for name in wanted:
            prompt, answer = texts.get(name, (None, None))
            if prompt is not None and any(one.prompt == prompt for one in found):
                continue  # a client that repeats one question fills the list with it
            request = self._by_id.get(name)
            found.append(Example(id=name, at=None if request is None else request.at, prompt=prompt, answer=answer))
        return tuple(found)


def _folder_of(router: str | Path) -> Path:
    if isinstance(router, str) and "/" not in router and not Path(router).is_dir():
        return home() / "routes" / router
    return Path(router).expanduser()


def _by_target(requests: Sequence[Request]) -> dict[str, Figures]:
    """Return the figures of each target, with the requests in which it was asked and another one answered."""
    own: dict[str, list[Request]] = {}
    others: Counter[tuple[str, str]] = Counter()
    for one in requests:
        own.setdefault(one.arm, []).append(one)
        others.update(one.others)
    names = dict.fromkeys((*own, *(name for name, _ in others)))
    found = {
        name: figures_of(own.get(name, ()), rejected=others[name, "rejected"], failed_attempts=others[name, "failed"])
        for name in names
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1].requests))


def _switch(line: Mapping[str, Any]) -> Switch:
    canary, share = line.get("canary"), line.get("share")
    return Switch(
        canary=None if canary is None else printable(str(canary), 80),
        share=float(share) if isinstance(share, (int, float)) else 0.0,
        at=float(line.get("at", 0.0)),
        before=printable(str(line.get("from")), 80),
        after=printable(str(line.get("to")), 80),
        why=printable(str(line.get("why", "switch")), 40),
        reason=printable(str(line.get("reason") or ""), 300),
    )


def _moments(requests: Sequence[Request], since: float, until: float) -> tuple[Moment, ...]:
    length = (until - since) / _MOMENTS
    parts: list[list[Request]] = [[] for _ in range(_MOMENTS)]
    for one in requests:
        parts[min(_MOMENTS - 1, int((one.at - since) / length))].append(one)
    found: list[Moment] = []
    for n, part in enumerate(parts):
        judged = [one.accepted for one in part if one.accepted is not None]
        found.append(
            Moment(
                at=since + n * length,
                requests=len(part),
                failed=sum(one.outcome == "failed" for one in part),
                fallbacks=sum(one.fallback_reason is not None and one.outcome != "failed" for one in part),
                p95_s=percentile(sorted(one.duration_s for one in part if one.outcome == "answered"), 0.95),
                acceptance=sum(judged) / len(judged) if judged else None,
            )
        )
    return tuple(found)
