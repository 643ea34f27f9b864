"""Every spec that can be built can be written and read back, equal; and the JSON Schema agrees with the values."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.errors import SpecError
from ftsdk.spec import (
    DPO,
    IA3,
    METHODS,
    SFT,
    DatasetRef,
    DoRA,
    EarlyStopping,
    FullFineTune,
    JobSpec,
    LoRA,
    Model,
    PrefixTuning,
    Privacy,
    PromptTuning,
    QLoRA,
    Range,
    set_fields,
)
from ftsdk.spec.base import Value
from ftsdk.testing import a_dataset, a_spec, field_samples, spec_with

LEFT_OUT = object()

words = st.text(min_size=1, max_size=20)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


def numbers(low: float, high: float, **bounds: Any) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, **bounds)


def some(
    kind: type[Value], *, always: tuple[str, ...] = (), **fields: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """A value with any of its fields left out, because that is something else than set to the default."""
    required = {name for name, field in kind.model_fields.items() if field.is_required()} | set(always)
    given_or_not = {
        name: strategy if name in required else st.just(LEFT_OUT) | strategy for name, strategy in fields.items()
    }
    assert set(kind.model_fields) - {"kind"} == set(fields), "a field has no strategy"
    return st.fixed_dictionaries(given_or_not).map(
        lambda drawn: kind(**{name: value for name, value in drawn.items() if value is not LEFT_OUT})
    )


adapters: dict[str, Any] = {
    "rank": st.integers(1, 4096),
    "alpha": st.none() | numbers(0, 1e6, exclude_min=True),
    "dropout": numbers(0, 1, exclude_max=True),
    "target_modules": st.none() | st.lists(words, min_size=1, max_size=4).map(tuple) | st.just(r".*\.(q|v)_proj"),
    "layers": st.none() | st.lists(st.integers(0, 200), min_size=1, max_size=4, unique=True).map(tuple),
    "rank_stabilized": st.booleans(),
}
before_rows = {"virtual_tokens": st.integers(1, 4096), "init_text": st.none() | words}


def some_lora(kind: type[Value], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A regular expression chooses blocks by itself."""
    by_name: dict[str, Any] = {
        **adapters,
        "target_modules": st.none() | st.lists(words, min_size=1, max_size=4).map(tuple),
    }
    by_pattern: dict[str, Any] = {**adapters, "layers": st.none()}
    return some(kind, always=(), **by_name, **fields) | some(kind, always=(), **by_pattern, **fields)


tunings = (
    some_lora(LoRA, init=st.sampled_from(["random", "pissa", "olora"]))
    | some_lora(DoRA)
    | some_lora(QLoRA, double_quantization=st.booleans())
    | st.builds(IA3)
    | some(PromptTuning, **before_rows)
    | some(PrefixTuning, **before_rows)
    | st.builds(FullFineTune)
)
models = some(
    Model,
    id=words.filter(lambda text: text == text.strip()),
    revision=st.none() | words,
    adapter=st.none() | words,
    chat_template=st.none() | words,
    trust_remote_code=st.booleans(),
    add_tokens=st.none() | st.lists(words.filter(str.strip), min_size=1, max_size=3, unique=True).map(tuple),
)


@st.composite
def specs(draw: st.DrawFn) -> JobSpec:
    is_dpo = draw(st.booleans())
    data_format = st.just("preference" if is_dpo else "chat")
    guesses = st.none() | some(Range, **dict.fromkeys(("low", "likely", "high"), st.integers(0, 10**12)))
    datasets = some(
        DatasetRef,
        fingerprint=hashes,
        format=data_format,
        rows=st.integers(1, 10**9),
        name=words,
        tokens=guesses,
        longest_tokens=guesses,
        sequences=st.none() | st.integers(1, 10**9),
        lineage=st.none() | st.just(({"file": "a.csv"}, {"clean": {"name": "empty", "version": 1, "removed": 3}})),
    )
    train = draw(datasets)
    validation = draw(st.none() | datasets.filter(lambda data: data.fingerprint != train.fingerprint))
    needs_validation = {
        "early_stopping": st.none() | some(EarlyStopping, patience=st.integers(1, 100), min_delta=numbers(0, 10)),
        "eval_steps": st.none() | st.integers(1, 10**6),
    }
    method = (
        some(DPO, beta=numbers(0, 10, exclude_min=True))
        if is_dpo
        else some(
            SFT,
            train_on=st.sampled_from(["completion", "assistant", "all"]),
            neftune_alpha=st.none() | numbers(0, 100, exclude_min=True),
            privacy=some(
                Privacy,
                epsilon=numbers(0, 1000, exclude_min=True),
                delta=numbers(0, 1, exclude_min=True, exclude_max=True),
                max_grad_norm=numbers(0, 1e6, exclude_min=True),
            ),
        )
    )
    strategy = some(
        JobSpec,
        # The default method wouldn't fit pairs, and some fields need validation data.
        always=("validation", "method") if is_dpo else ("validation",),
        model=models,
        train=st.just(train),
        validation=st.just(validation),
        method=method,
        tuning=tunings,
        name=st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", fullmatch=True),
        epochs=st.integers(1, 1000) | numbers(0, 1000, exclude_min=True),
        max_steps=st.none() | st.integers(1, 10**9),
        batch_size=st.integers(1, 65536),
        learning_rate=st.none() | numbers(0, 1, exclude_min=True),
        schedule=st.sampled_from(["cosine", "linear", "constant"]),
        warmup_ratio=numbers(0, 1, exclude_max=True),
        weight_decay=st.none() | numbers(0, 1),
        max_grad_norm=st.none() | numbers(0, 1e6),
        optimizer=st.sampled_from(["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]),
        max_length=st.none() | st.integers(8, 10**7),
        max_truncated=numbers(0, 1),
        packing=st.none() | st.booleans(),
        seed=st.integers(0, 2**32 - 1),
        dtype=st.none() | st.sampled_from(["bfloat16", "float16", "float32"]),
        checkpoint_steps=st.none() | st.integers(1, 10**6),
        budget_usd=st.none() | st.integers(1, 10**6) | st.decimals("0.01", 10**6, places=2),
        **{field: strategy if validation else st.none() for field, strategy in needs_validation.items()},
    )
    return draw(strategy)


thorough = settings(max_examples=30, deadline=None, database=None)


@given(specs())
@thorough
def test_a_spec_survives_json_and_plain_data(spec: JobSpec) -> None:
    for again in (
        JobSpec.from_json(spec.to_json()),
        JobSpec.from_dict(spec.to_dict()),
        JobSpec.from_json(spec.to_json(indent=2).encode()),
    ):
        assert again == spec
        # Not only equal: what was set stays set, and what was left open stays open.
        assert set_fields(again) == set_fields(spec)
        assert again.to_dict() == spec.to_dict()


@given(specs())
@thorough
def test_what_is_written_obeys_the_schema(spec: JobSpec) -> None:
    jsonschema.Draft202012Validator(JobSpec.json_schema()).validate(json.loads(spec.to_json()))


@given(specs())
@thorough
def test_a_copy_without_changes_is_equal(spec: JobSpec) -> None:
    assert spec.replace() == spec
    assert set_fields(spec.replace()) == set_fields(spec)


@given(specs())
@thorough
def test_what_was_set_is_what_is_written(spec: JobSpec) -> None:
    def written(data: dict[str, Any], prefix: str = "") -> set[str]:
        paths: set[str] = set()
        for name, value in data.items():
            if name != "kind":
                paths |= (
                    written(value, f"{prefix}{name}.") or {f"{prefix}{name}"}
                    if isinstance(value, dict)
                    else {f"{prefix}{name}"}
                )
        return paths

    # A union's member in which nothing is set is written for its kind alone.
    unions = {"method", "tuning"}
    assert written(spec.to_dict()) - unions == set(set_fields(spec))


# The schema


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(JobSpec.json_schema())


def test_the_schema_forbids_unknown_words_at_every_depth() -> None:
    schema = JobSpec.json_schema()
    assert [
        name
        for name, part in {"JobSpec": schema, **schema["$defs"]}.items()
        if part.get("additionalProperties") is not False
    ] == []


def test_the_schema_describes_every_field() -> None:
    schema = JobSpec.json_schema()
    parts = {"JobSpec": schema, **schema["$defs"]}
    plain = {"kind", "model", "train", "validation", "early_stopping", "format", "rows", "weight_decay", "packing"}
    bare = {
        f"{part}.{name}"
        for part, body in parts.items()
        for name, field in body["properties"].items()
        if "description" not in field
    }
    assert {path for path in bare if path.split(".")[1] not in plain} == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"epohcs": 3},
        {"epochs": 0},
        {"epochs": "3"},
        {"seed": 2**32},
        {"schedule": "cosin"},
        {"budget_usd": 0},
        {"budget_usd": "20"},
        {"tuning": {"kind": "lora", "rank": 0}},
        {"tuning": {"kind": "lora", "rnak": 1}},
        {"tuning": {"kind": "lora", "target_modules": []}},
        {"tuning": {"kind": "full", "rank": 1}},
        {"tuning": {"kind": "lorra"}},
        {"model": {"id": ""}},
        {"model": {}},
        {"train": {"fingerprint": "abc", "format": "chat", "rows": 1}},
    ],
    ids=str,
)
def test_the_schema_and_the_values_refuse_the_same(changes: dict[str, Any]) -> None:
    data = {**a_spec().to_dict(), **changes}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, JobSpec.json_schema())
    with pytest.raises(SpecError):
        JobSpec.from_dict(data)


@pytest.mark.parametrize("sample", field_samples(), ids=str)
def test_every_field_is_written_as_it_was_set(sample) -> None:
    base = a_spec(validation=a_dataset("validation", rows=5)) if sample.needs_validation else a_spec()
    if sample.method is not None:
        base = a_spec(method=METHODS[sample.method]())
    for value in sample.values:
        spec = spec_with(sample.path, value, base=base, method=sample.method, tuning=sample.tuning)
        again = JobSpec.from_json(spec.to_json())
        assert again == spec
        is_set = any(path == sample.path or path.startswith(f"{sample.path}.") for path in set_fields(again))
        assert is_set == (value is not None)


def test_decimals_are_written_as_numbers() -> None:
    assert json.loads(a_spec(budget_usd=Decimal("12.50")).to_json())["budget_usd"] == 12.5
