"""A service on loopback that stands in for Together, for tests without an account, a network or a price.

Public, and in the wheel.

- `TogetherService`: the service; the real client talks to it through `base_url`.
- `Scenario`, `SCENARIOS`: what happens to jobs and files there.
- `WireFault`, `Chaos`: requests that fail, by a list or at random from a seed.
- `ModelOffer`, `Hardware`: what it offers.
- `Weights`, `small_adapter`, `pack`, `hostile_archive`: what it has for download.

It was written from what is published and from the client's source, without the real service. Where nothing says
what the real one does, the strictest answer was taken, and the docstring says so.
"""

from __future__ import annotations

from ftsdk.testing.together.answers import Recorded
from ftsdk.testing.together.offers import HARDWARE, MODELS, Hardware, ModelOffer
from ftsdk.testing.together.scenarios import SCENARIOS, Chaos, FaultKind, Scenario, WireFault
from ftsdk.testing.together.service import TogetherService
from ftsdk.testing.together.weights import Weights, hostile_archive, pack, small_adapter

__all__ = [
    "HARDWARE",
    "MODELS",
    "SCENARIOS",
    "Chaos",
    "FaultKind",
    "Hardware",
    "ModelOffer",
    "Recorded",
    "Scenario",
    "TogetherService",
    "Weights",
    "WireFault",
    "hostile_archive",
    "pack",
    "small_adapter",
]
