"""A scripted backend whose runs are served by the stand-in for Together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftsdk.backends.together.client import Wire
from ftsdk.backends.together.serving import TogetherServing
from ftsdk.protocol import RunRef
from ftsdk.protocol.serving import ServingOffer, ServingPlan, ServingStatus
from ftsdk.testing import ScriptedBackend


def serving_at(url: str, key: str, *, project_id: str | None = None, max_retries: int = 0) -> TogetherServing:
    """Together's serving through the real client, which talks to the stand-in."""
    wire = Wire(key=key, base_url=url, project_id=project_id, timeout_s=5, max_retries=max_retries)
    return TogetherServing(wire.serving(), clock=lambda: 1_800_000_000.0, sleep=lambda seconds: None)


class ServedBackend(ScriptedBackend):
    """Serves the model of one job at `serving_url` as that of each of its runs; the key is in TOGETHER_API_KEY."""

    def __init__(self, *, serving_url: str, job: str, **options: Any) -> None:
        super().__init__(**options)
        self._serving_url = serving_url
        self._job = job
        self.serving = serving_at(serving_url, os.environ["TOGETHER_API_KEY"])

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "serving_url": self._serving_url, "job": self._job}

    def serving_offers(self, ref: RunRef) -> Sequence[ServingOffer]:
        return self.serving.offers(self._job)

    def start_serving(
        self, ref: RunRef, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]
    ) -> None:
        self.serving.start(self._job, plan, name=name, note=note)

    def poll_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        return self.serving.poll(name, native)

    def stop_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        return self.serving.stop(name, native)
