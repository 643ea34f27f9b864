"""The Together backend, with the real client against a service on loopback, keeps every promise of the waist."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from conformance_samples import method_for, rows

from ftsdk import Model, Together
from ftsdk.data import Store
from ftsdk.spec import DataFormat, JobSpec
from ftsdk.testing import BackendConformance, Sample, field_samples
from ftsdk.testing.together import FaultKind

pytest.importorskip("together", reason="the extra 'together' isn't installed")
from ftsdk.testing.together import TogetherService

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

CREATE, LIST = "POST /v1/fine-tunes", "GET /v1/fine-tunes"


class TestTogether(BackendConformance):
    service: TogetherService

    @pytest.fixture(autouse=True)
    def _service(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with TogetherService() as self.service:
            monkeypatch.setenv("TOGETHER_API_KEY", self.service.key)
            yield

    def make_backend(self, tmp_path: Path) -> Together:
        # The client's own retries would make each fault strike three times, and wait in between.
        return Together(
            base_url=f"{self.service.base_url}/v1",
            max_retries=0,
            poll_s=0,
            timeout_s=2,
            settle_s=0,
            sleep=lambda _: None,
        )

    def make_spec(self, *, data_format: DataFormat = "chat", with_validation: bool = False) -> JobSpec:
        train, validation = rows(data_format, 16, "question"), rows(data_format, 16, "another")
        store = Store()
        store.put(train)
        store.put(validation)
        method = method_for(data_format)
        held_out: dict[str, Any] = {"validation": validation.ref()} if with_validation else {}
        # Without packing the number of steps is known, so that distances in steps can be planned.
        return JobSpec(model=Model(id="Qwen/Qwen3.5-9B"), train=train.ref(), packing=False, **method, **held_out)

    def make_model(self, source: str) -> Model | None:
        return Model(id="Qwen/Qwen3.5-27B") if source == "hub" else super().make_model(source)

    def make_samples(self) -> Sequence[Sample]:
        # 16 rows, 16 a step, 3 epochs: 3 steps; and the model takes 8 sequences at a time.
        fitting = {"batch_size": (8, 16), "checkpoint_steps": (1, 3), "eval_steps": (1, 3)}
        return [replace(sample, values=fitting.get(sample.path, sample.values)) for sample in field_samples()]

    def requests_seen(self, backend: Any) -> int:
        return len(self.service.requests)

    def runs_started(self, backend: Any) -> int:
        return len(self.service.jobs)

    def secrets(self) -> Sequence[str]:
        return [self.service.key]

    def wire_faults(self, backend: Any) -> Mapping[str, AbstractContextManager[object]]:
        kinds: dict[str, FaultKind] = {
            "401": "401",
            "404": "404",
            "429": "429",
            "503": "503",
            "timeout": "late",
            "garbage": "garbage",
        }
        return {fault: self.service.failing(kind) for fault, kind in kinds.items()}

    @contextmanager
    def lost_answer(self, backend: Any) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.service.failing("closed_after", on=CREATE))
            # Listed twice before the job is created; afterwards, when it is looked for, the list is out of order.
            stack.enter_context(self.service.failing("503", on=LIST, skip=2))
            yield

    def run_in_unknown_state(self, tmp_path: Path):
        self.service.scenario = "unknown_state"
        backend = self.make_backend(tmp_path)
        ref = self._submitted(backend)
        for _ in range(50):
            if backend.status(ref).state == "unknown":
                # The service moves with each look at a job; here it must not move.
                self.service.moves_on_look = False
                return backend, ref, "defragmenting"
        raise AssertionError("the service never showed its unknown status")

    def failed_run(self, tmp_path: Path):
        self.service.scenario = "fails"
        backend = self.make_backend(tmp_path)
        return backend, self._submitted(backend)

    def billing_backend(self, tmp_path: Path) -> Together:
        return self.make_backend(tmp_path)

    # No costly_run(): the service's price is known, and within the budget, before a job is created; no step can take it
    # beyond.
