"""A provider's quote: asking for it starts nothing, and the quote is kept with the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.protocol import CanQuote
from ftsdk.protocol.estimates import Quote
from ftsdk.testing.conformance.hooks import Hooks, new_key

__all__ = ["QuoteChecks"]


class QuoteChecks(Hooks):
    """For backends that are `CanQuote`."""

    def test_asking_for_a_price_starts_nothing_and_the_same_job_has_the_same_price(self, tmp_path: Path) -> None:
        """Repeated quotes start no run, and the second one uploads nothing again."""
        backend = self.make_backend(tmp_path)
        if not isinstance(backend, CanQuote):
            pytest.skip("it doesn't quote prices")
        plan, started = backend.plan(self.make_spec()), self.runs_started(backend)
        before = self.requests_seen(backend)
        first = backend.quote(plan)
        between = self.requests_seen(backend)
        second = backend.quote(plan)
        after = self.requests_seen(backend)
        assert self.runs_started(backend) == started, "asking for a price started a run"
        assert (first.usd, first.tokens) == (second.usd, second.tokens), (
            f"the same job costs {first.usd}, then {second.usd}"
        )
        assert first.source, "the quote names no source"
        if before is not None and between is not None and after is not None:
            assert after - between <= between - before, "the second time more was sent than the first"

    def test_the_price_that_was_told_at_the_submission_is_kept_with_the_run(self, tmp_path: Path) -> None:
        """It is in the ref, so that the final price can be held against it.

        Submitting again under the same key keeps it.
        """
        backend = self.make_backend(tmp_path)
        if not isinstance(backend, CanQuote):
            pytest.skip("it doesn't quote prices")
        plan, key = backend.plan(self.make_spec()), new_key()
        asked = backend.quote(plan)
        ref = backend.submit(plan, key=key)
        kept = Quote.from_native(ref.native)
        assert kept is not None, f"the ref keeps no price: {dict(ref.native)}"
        assert kept.usd == asked.usd
        assert Quote.from_native(backend.submit(plan, key=key).native) == kept, "submitting again lost the price"
        self._stop(backend, ref)
