"""The scripted backend keeps every promise, so that what the planted bugs break is theirs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conformance_samples import billed_by_the_hour

from ftsdk.errors import UnsupportedSpecError
from ftsdk.protocol import Capabilities
from ftsdk.testing import BackendConformance, Fault, ScriptedBackend, a_spec
from ftsdk.testing.conformance import Costly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestScripted(BackendConformance):
    def make_backend(self, tmp_path: Path) -> ScriptedBackend:
        return ScriptedBackend(root=tmp_path / "place")

    def requests_seen(self, backend: Any) -> int:
        return len(backend.requests)

    def runs_started(self, backend: Any) -> int:
        return len(backend.runs)

    @contextmanager
    def lost_answer(self, backend: Any) -> Iterator[None]:
        sent = sum(request["call"] == "submit" for request in backend.requests)
        backend._faults = (Fault(call="submit", first=sent + 1, loses_answer=True),)
        yield
        backend._faults = ()

    def run_in_unknown_state(self, tmp_path: Path):
        backend = ScriptedBackend(root=tmp_path / "place", script="unknown_state")
        ref = self._submitted(backend)
        for _ in range(6):
            backend.status(ref)
        return backend, ref, "defragmenting"

    def failed_run(self, tmp_path: Path):
        backend = ScriptedBackend(root=tmp_path / "place", script="fails")
        return backend, self._submitted(backend)

    def billing_backend(self, tmp_path: Path) -> ScriptedBackend | None:
        return ScriptedBackend(root=tmp_path / "place", cost_usd=(1, 2, 3))

    def costly_run(self, tmp_path: Path) -> Costly | None:
        return billed_by_the_hour(ScriptedBackend(root=tmp_path / "place", script="never_ends"))


class TestScriptedThatOffersLittle(TestScripted):
    """A place that can do one thing only must refuse the rest, and is held to it by the same suite."""

    def make_backend(self, tmp_path: Path) -> ScriptedBackend:
        little = Capabilities(
            methods=frozenset({"sft"}),
            tunings=frozenset({"lora"}),
            formats=frozenset({"chat"}),
            model_sources=frozenset({"hub"}),
            fields=frozenset({"epochs", "learning_rate", "tuning.rank"}),
        )
        return ScriptedBackend(root=tmp_path / "place", capabilities=little)

    def billing_backend(self, tmp_path: Path) -> None:
        return None  # without the field there is no budget to keep

    def costly_run(self, tmp_path: Path) -> None:
        return None

    def test_everything_that_is_set_and_not_offered_is_named_at_once(self, tmp_path: Path) -> None:
        spec = a_spec(seed=1, packing=True, epochs=2)
        with pytest.raises(UnsupportedSpecError) as caught:
            self.make_backend(tmp_path).plan(spec)
        assert [gap.field for gap in caught.value.gaps] == ["packing", "seed"]
