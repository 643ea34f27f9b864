from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.errors import SpecError, UnsupportedSpecError
from ftsdk.protocol import (
    TERMINAL,
    Adjustment,
    Capabilities,
    CheckpointEvent,
    CostRange,
    EvalEvent,
    Execution,
    LogEvent,
    Plan,
    Rate,
    RunRef,
    RunState,
    RunStatus,
    StateEvent,
    StepEvent,
    TokenBilling,
    Workload,
    find_gaps,
    read_event,
    refuse,
)
from ftsdk.spec import DPO, EarlyStopping, FullFineTune, LoRA, Model
from ftsdk.testing import a_dataset, a_spec

LITTLE = Capabilities(
    methods=frozenset({"sft"}),
    tunings=frozenset({"lora"}),
    formats=frozenset({"chat"}),
    model_sources=frozenset({"hub"}),
    fields=frozenset({"epochs", "tuning.rank"}),
)


# Refs


def test_a_ref_is_read_as_it_was_printed() -> None:
    ref = RunRef(backend="local", id="20261123-ab12cd")
    assert str(ref) == "local:20261123-ab12cd"
    assert RunRef.parse(" local:20261123-ab12cd\n") == ref


def test_an_id_may_hold_a_colon() -> None:
    assert RunRef.parse("modal:ap-1:fc-2") == RunRef(backend="modal", id="ap-1:fc-2")


@pytest.mark.parametrize("text", ["", "local", "local:", ":20261123", " : "])
def test_what_is_no_ref_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SpecError, match="a run ref looks like 'local:20261123-ab12cd'"):
        RunRef.parse(text)


def test_refs_can_be_put_into_sets() -> None:
    ref = RunRef(backend="local", id="a", native={"job": "1"})
    assert {ref, RunRef(backend="local", id="a", native={"job": "1"})} == {ref}


def test_a_ref_is_frozen_and_pickles() -> None:
    ref = RunRef(backend="local", id="a", native={"job": "1"})
    with pytest.raises(FrozenInstanceError):
        ref.id = "b"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(ref)) == ref


# States and events


@pytest.mark.parametrize("state", get_args(RunState))
def test_a_status_is_terminal_when_its_state_is(state: RunState) -> None:
    assert RunStatus(state=state).is_terminal == (state in {"succeeded", "failed", "cancelled"})


def test_unknown_is_not_the_end() -> None:
    assert "unknown" not in TERMINAL
    assert set(get_args(RunState)) >= TERMINAL


@pytest.mark.parametrize(
    "event",
    [
        StateEvent(
            seq=0, at=1.5, state="failed", native="error", reason="no", diagnosis={"kind": "crash", "message": "no"}
        ),
        StepEvent(seq=1, at=2, step=3, total_steps=9, loss=0.5, tokens=100),
        EvalEvent(seq=2, at=2, step=3, metrics={"loss": 0.5}),
        CheckpointEvent(seq=3, at=2, step=3, path="checkpoints/checkpoint-3"),
        LogEvent(seq=4, at=2, message="naïve 🙂", level="warning"),
    ],
    ids=lambda event: event.kind,
)
def test_an_event_is_read_as_it_was_written(event) -> None:
    assert read_event(event.to_json(), seq=event.seq) == event
    assert read_event(event.to_json().encode(), seq=event.seq) == event


def test_an_event_of_an_unknown_kind_becomes_a_log_line_with_its_time() -> None:
    line = '{"kind": "gpu_migrated", "seq": 7, "at": 1800000000.5, "to": "rack 9"}'
    assert read_event(line, seq=7) == LogEvent(seq=7, at=1800000000.5, message=line)


def test_an_event_with_a_field_from_the_future_becomes_a_log_line() -> None:
    line = '{"kind": "step", "seq": 1, "at": 2, "step": 3, "entropy": 0.5}'
    assert read_event(line, seq=1) == LogEvent(seq=1, at=2.0, message=line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no json",
        "[]",
        "null",
        '{"at": "noon"}',
        '{"at": NaN}',
        '{"at": 1e999}',
        "[" * 100_000,
        b"\xff\xfe",
        "\ud800",
    ],
)
def test_no_line_is_too_strange(line: str | bytes) -> None:
    event = read_event(line, seq=3)
    assert isinstance(event, LogEvent)
    assert (event.seq, event.at) == (3, 0.0)
    event.to_json().encode()


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
@settings(max_examples=100, deadline=None, database=None)
def test_any_bytes_become_an_event(line: str | bytes) -> None:
    event = read_event(line, seq=5)
    assert read_event(event.to_json(), seq=event.seq) == event


def test_a_very_long_line_is_cut() -> None:
    event = read_event("x" * 100_000, seq=0)
    assert isinstance(event, LogEvent)
    assert len(event.message) == 2000


def test_a_negative_position_is_refused() -> None:
    with pytest.raises(SpecError, match="seq"):
        LogEvent(seq=-1, at=0.0, message="")


# Plans


def test_a_plan_survives_json() -> None:
    plan = Plan(
        backend="x",
        spec=a_spec(tuning=LoRA(target_modules=("q_proj",)), budget_usd=20),
        request={"steps": 3, "limit": None, "names": ["a", {"b": None}]},
        adjustments=(
            Adjustment(field="max_length", chosen=None, reason="the place knows"),
            Adjustment(field="betas", chosen=[0.9, 0.999], reason="r"),
        ),
        workload=Workload.of(a_spec(), max_length=512, execution=Execution(steps=3, micro_batch_size=2)),
        billing=TokenBilling(usd_per_mtok=Rate(label="training", usd=Decimal("0.48"), source="a price list"), epochs=3),
        notes=("look out",),
    )
    again = Plan.from_json(json.dumps(plan.to_dict()))
    assert again == plan
    assert again.to_dict() == plan.to_dict()
    assert again.request["limit"] is None


def test_capabilities_survive_json() -> None:
    assert Capabilities.from_json(LITTLE.to_json()) == LITTLE
    assert Capabilities.from_dict(LITTLE.to_dict()) == LITTLE


def test_costs_are_exact() -> None:
    assert CostRange.from_dict({"low": 0.1, "likely": 0.2, "high": 0.3, "source": "s"}).low == Decimal("0.1")


# Gaps


def test_a_spec_that_asks_for_nothing_more_has_no_gaps() -> None:
    assert find_gaps(a_spec(), LITTLE) == []
    assert find_gaps(a_spec(name="mine", epochs=2, tuning=LoRA(rank=4)), LITTLE) == []


def test_each_field_that_was_set_and_is_not_offered_is_a_gap() -> None:
    gaps = find_gaps(a_spec(seed=0, packing=False, tuning=LoRA(dropout=0.0)), LITTLE)
    assert [(gap.field, gap.asked) for gap in gaps] == [("packing", False), ("seed", 0), ("tuning.dropout", 0.0)]


def test_a_field_set_to_its_default_counts_as_set() -> None:
    assert [gap.field for gap in find_gaps(a_spec(seed=42), LITTLE)] == ["seed"]


def test_a_field_left_to_the_backend_is_no_gap() -> None:
    assert find_gaps(a_spec(learning_rate=None, weight_decay=None), LITTLE) == []


def test_kinds_that_are_not_offered_are_gaps_that_list_the_offer() -> None:
    spec = a_spec(method=DPO(beta=0.2), tuning=FullFineTune(), model=Model(id="./here"))
    gaps = {gap.field: gap for gap in find_gaps(spec, LITTLE)}
    assert set(gaps) == {"method", "tuning", "train.format", "model.source"}, "method.beta goes with its method"
    assert gaps["tuning"].offered == ("lora",)
    assert gaps["train.format"].asked == "preference"


def test_validation_data_and_what_needs_them_are_gaps() -> None:
    spec = a_spec(validation=a_dataset("validation"), early_stopping=EarlyStopping())
    assert {gap.field for gap in find_gaps(spec, LITTLE)} == {"validation", "early_stopping"}


def test_a_field_that_holds_others_is_offered_with_any_of_them() -> None:
    offered = LITTLE.replace(fields=frozenset({"validation", "early_stopping.patience"}))
    spec = a_spec(validation=a_dataset("validation"), early_stopping=EarlyStopping())
    assert find_gaps(spec, offered) == []
    stricter = spec.replace(early_stopping=EarlyStopping(min_delta=0.1))
    assert [gap.field for gap in find_gaps(stricter, offered)] == ["early_stopping.min_delta"]


def test_refusing_no_gaps_does_nothing_and_refusing_some_names_all() -> None:
    refuse("x", [])
    with pytest.raises(
        UnsupportedSpecError, match=r"(?s)'x' doesn't support 2 of the fields.*packing = False.*seed = 0"
    ) as caught:
        refuse("x", find_gaps(a_spec(seed=0, packing=False), LITTLE))
    assert caught.value.backend == "x"
