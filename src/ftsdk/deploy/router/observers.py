"""Objects that hear of each answer, in a thread of their own: metrics, traffic kept for training, and the like."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftsdk.deploy.router.records import AnswerRecord

__all__ = ["Observers"]

_log = logging.getLogger(__name__)
_MOST_WAITING = 1024


class Observers:
    """Calls observers, each of whose methods is optional, in one thread; what they raise costs no client anything.

    An observer may have

    - `answered(record, *, messages, answer)`: a request is over. `answer` is None if there was none.
    - `feedback(id, *, accepted, corrected)`: a user's verdict on an answer.
    - `switched(line)`: the alias was changed; the line of the record.
    - `flush()`: the router ends.
    - `metrics_page()`: bytes and their content type for `GET /metrics`; called in the event loop.
    """

    def __init__(self, observers: Sequence[object]) -> None:
        """Note them; the thread starts with the first call."""
        self._observers = tuple(observers)
        self._queue: queue.Queue[Callable[[object], None] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Calls that came while more than 1,024 were waiting."""
        self.failed = 0
        """Calls that raised."""

    def answered(self, record: AnswerRecord, *, messages: Sequence[Mapping[str, Any]], answer: str | None) -> None:
        """Tell of an answer."""
        self._put("answered", lambda call: call(record, messages=list(messages), answer=answer))

    def feedback(self, request_id: str, *, accepted: bool, corrected: str | None) -> None:
        """Tell of a verdict."""
        self._put("feedback", lambda call: call(request_id, accepted=accepted, corrected=corrected))

    def switched(self, line: Mapping[str, Any]) -> None:
        """Tell of a change of the alias."""
        self._put("switched", lambda call: call(dict(line)))

    def metrics_page(self) -> tuple[bytes, str] | None:
        """Return the page of the first observer that has one."""
        for observer in self._observers:
            page = getattr(observer, "metrics_page", None)
            if page is not None:
                return page()
        return None

    def close(self) -> None:
        """Let waiting calls come to their end, for at most some seconds."""
        if self._thread is not None:
            try:
                self._queue.put(None, timeout=5.0)
            except queue.Full:
                return
            self._thread.join(timeout=5.0)
            self._thread = None
        for observer in self._observers:
            try:
                getattr(observer, "flush", lambda: None)()
            except Exception:  # noqa: BLE001 - a stranger's code
                self.failed += 1

    def _put(self, method: str, use: Callable[[Any], None]) -> None:
        if not self._observers:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ftsdk-observers", daemon=True)
            self._thread.start()

        def call(observer: object) -> None:
            found = getattr(observer, method, None)
            if found is not None:
                use(found)

        try:
            self._queue.put_nowait(call)
        except queue.Full:
            self.dropped += 1

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            for observer in self._observers:
                try:
                    call(observer)
                except Exception as error:  # noqa: BLE001 - a stranger's code must not stop the others
                    self.failed += 1
                    if self.failed == 1:
                        _log.warning("an observer failed, and goes on being called: %s", type(error).__name__)
