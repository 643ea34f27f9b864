"""For tests of backends, of ftsdk itself and of code that uses it: public, and in the wheel.

- `BackendConformance`: inherit it to test a backend against everything that `ftsdk.protocol` promises. Needs pytest.
- `ScriptedBackend`: a backend whose runs play a script, without a network, a clock or threads.
- `build_tiny_model`: a model so small that a test can train it. Needs torch and transformers.
- `ftsdk.testing.together`: a service on loopback that stands in for Together. Nothing is needed but the client that
  talks to it.
- `ftsdk.testing.support`: what backends declare, as a table for documentation.
- `a_spec`, `a_dataset`, `field_samples`, `spec_with`: small valid specs, and two values for every optional field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk.testing.scripted import ScriptedBackend
from ftsdk.testing.scripts import SCRIPTS, Fault
from ftsdk.testing.specs import Sample, a_dataset, a_spec, field_samples, optional_fields, spec_with
from ftsdk.testing.tiny import build_tiny_model

if TYPE_CHECKING:
    from ftsdk.testing.conformance import BackendConformance

__all__ = [
    "SCRIPTS",
    "BackendConformance",
    "Fault",
    "Sample",
    "ScriptedBackend",
    "a_dataset",
    "a_spec",
    "build_tiny_model",
    "field_samples",
    "optional_fields",
    "spec_with",
]


def __getattr__(name: str) -> object:
    # The suite needs pytest, which the core doesn't: it is imported when it is asked for.
    if name == "BackendConformance":
        from ftsdk.testing.conformance import BackendConformance

        return BackendConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
