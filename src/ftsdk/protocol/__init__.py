"""What jobs and backends share: the `Backend` protocol, its values and its events. No IO, no vendor."""

from __future__ import annotations

from ftsdk.protocol.backend import (
    Backend,
    CanCheckAccess,
    CanFind,
    CanListOrphans,
    CanQuote,
    CanRecover,
    CanResume,
    Orphan,
    Recovered,
)
from ftsdk.protocol.billing import Billing, FixedPrice, HourlyBilling, NotBilled, Rate, TokenBilling
from ftsdk.protocol.capabilities import Capabilities, find_gaps, refuse
from ftsdk.protocol.estimates import CostRange
from ftsdk.protocol.events import CheckpointEvent, EvalEvent, Event, LogEvent, StateEvent, StepEvent, read_event
from ftsdk.protocol.plan import Adjustment, Plan
from ftsdk.protocol.run_state import TERMINAL, Artifact, RunRef, RunState, RunStatus, check_succeeded
from ftsdk.protocol.workload import Execution, Workload

__all__ = [
    "TERMINAL",
    "Adjustment",
    "Artifact",
    "Backend",
    "Billing",
    "CanCheckAccess",
    "CanFind",
    "CanListOrphans",
    "CanQuote",
    "CanRecover",
    "CanResume",
    "Capabilities",
    "CheckpointEvent",
    "CostRange",
    "EvalEvent",
    "Event",
    "Execution",
    "FixedPrice",
    "HourlyBilling",
    "LogEvent",
    "NotBilled",
    "Orphan",
    "Plan",
    "Rate",
    "Recovered",
    "RunRef",
    "RunState",
    "RunStatus",
    "StateEvent",
    "StepEvent",
    "TokenBilling",
    "Workload",
    "check_succeeded",
    "find_gaps",
    "read_event",
    "refuse",
]
