"""What costs money and belongs to no run, looked for at each backend once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, FineTuneJob
from ftsdk.errors import BackendError
from ftsdk.protocol import Orphan
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.orphans import find_orphans
from ftsdk.testing import ScriptedBackend
from ftsdk.testing.scripts import Fault


class Leaky(ScriptedBackend):
    """Lists an app for each run that has ended or isn't known, and remembers the states that it was given."""

    given: Mapping[str, str] = {}

    def list_orphans(self, states: Mapping[str, str]) -> Sequence[Orphan]:
        self.given = dict(states)
        return [Orphan(kind="app", native="app-1", name="left", advice="stop it")]


def submit(backend: ScriptedBackend, model: Path) -> str:
    rows = Dataset.from_rows([{"prompt": "a", "completion": "b"}])
    return FineTuneJob(model=str(model), train=rows, backend=backend).submit().ref.partition(":")[2]


def test_an_orphan_is_listed_once_with_the_states_of_now(tmp_path: Path, model_of_headers: Path) -> None:
    one, two = (Leaky(root=tmp_path / "runs", script=script) for script in ("succeeds", "never_ends"))
    run = submit(one, model_of_headers)
    Ledger().intend(Record(ref="elsewhere:20260101-a", name=None, plan={}, options={}))
    found = find_orphans(backends=[one, two, ScriptedBackend(root=tmp_path / "other")])
    assert [orphan.native for orphan in found] == ["app-1"]
    assert list(one.given) == [run]
    assert one.given[run] in ("queued", "running")


def test_a_run_whose_state_cannot_be_had_keeps_the_one_last_seen(tmp_path: Path, model_of_headers: Path) -> None:
    faults: Any = [Fault(call="status", times=99)]
    backend = Leaky(root=tmp_path / "runs", faults=faults)
    run = submit(backend, model_of_headers)
    find_orphans(backends=[backend])
    assert backend.given == {run: "queued"}


def test_a_backend_that_cannot_be_reached_is_an_error_not_no_orphans(tmp_path: Path, model_of_headers: Path) -> None:
    class Down(Leaky):
        def list_orphans(self, states: Mapping[str, str]) -> Sequence[Orphan]:
            raise BackendError("the service is down")

    backend = Down(root=tmp_path / "runs")
    submit(backend, model_of_headers)
    with pytest.raises(BackendError, match="down"):
        find_orphans(backends=[backend])
