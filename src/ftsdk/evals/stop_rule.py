"""When the failures of an endpoint stop an evaluation, and when they count as those of single examples."""

from __future__ import annotations

from ftsdk.errors import BackendError

__all__ = ["NotConnected", "StopRule"]

_MOST_WITHOUT_ANSWER = 8
"""So many failures and no answer at all: every request fails alike."""
_MOST_IN_A_ROW = 16
"""So many failures in a row that may be temporary: the server is down, or its quota is used up."""
_MOST_UNREACHABLE = 3
"""So many in a row that couldn't even be sent."""
_OF_ONE_REQUEST = frozenset({400, 403, 413, 422})
"""Refusals of one request, such as a prompt that is too long or that a filter stops."""
_OUT_OF_CREDIT = 402


class NotConnected(BackendError):
    """No connection could be made: nothing was sent."""


class StopRule:
    """Separates failures of single examples from those of the whole server.

    An example that fails is recorded with its error, and the rest are asked. No more are asked if

    - the account is out of credit (402);
    - 3 examples in a row can't be sent, after all attempts, because the server can't be reached;
    - the first 8 examples have failed and none was answered, or fewer if there are no more;
    - 16 examples in a row have failed in another way than by a refusal of that one request (400, 403, 413, 422): after
      all attempts, or without an answer that can be read.

    A key that is refused stops, too; that is no failure of a request.
    """

    def __init__(self, *, has_answers: bool) -> None:
        """Start; `has_answers` is whether the server has answered before."""
        self._has_answers = has_answers
        self._first: BackendError | None = None
        self._failures = 0
        self._in_a_row = 0
        self._unreachable = 0

    def answered(self) -> None:
        """Count an answer."""
        self._has_answers = True
        self._in_a_row = self._unreachable = 0

    def failed(self, error: BackendError) -> BackendError | None:
        """Count a failure, and return what to stop with; None to go on."""
        self._first = self._first or error
        self._failures += 1
        if error.status_code not in _OF_ONE_REQUEST:
            self._in_a_row += 1
        if isinstance(error, NotConnected):
            self._unreachable += 1
        if error.status_code == _OUT_OF_CREDIT or self._unreachable >= _MOST_UNREACHABLE:
            return error
        if not self._has_answers and self._failures >= _MOST_WITHOUT_ANSWER:
            return self._first
        return error if self._in_a_row >= _MOST_IN_A_ROW else None

    def at_end(self) -> BackendError | None:
        """Return what to end with: the first failure if there was no answer at all."""
        return None if self._has_answers else self._first
