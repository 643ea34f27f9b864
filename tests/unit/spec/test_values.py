from __future__ import annotations

import math
import pickle
from decimal import Decimal
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.spec import (
    DPO,
    KTO,
    ORPO,
    SFT,
    DoRA,
    EarlyStopping,
    FullFineTune,
    JobSpec,
    LoRA,
    Model,
    QLoRA,
    SimPO,
    set_fields,
)
from ftsdk.testing import a_dataset, a_spec

PLAIN: dict[str, Any] = a_spec().to_dict()


# Words that nobody knows


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epohcs": 3}, "epohcs: unknown option 'epohcs'; did you mean 'epochs'?"),
        ({"learning_rat": 1e-4}, "learning_rat: unknown option 'learning_rat'; did you mean 'learning_rate'?"),
        ({"tuning": {"kind": "lora", "rnak": 64}}, "tuning.rnak: unknown option 'rnak'; did you mean 'rank'?"),
        (
            {"tuning": {"kind": "qlora", "double_quantisation": True}},
            "tuning.double_quantisation: unknown option 'double_quantisation'; did you mean",
        ),
        (
            {"method": {"kind": "sft", "trian_on": "all"}},
            "method.trian_on: unknown option 'trian_on'; did you mean 'train_on'?",
        ),
        (
            {"model": {"id": "a/b", "revison": "main"}},
            "model.revison: unknown option 'revison'; did you mean 'revision'?",
        ),
        (
            {"train": {**PLAIN["train"], "fromat": "chat"}},
            "train.fromat: unknown option 'fromat'; did you mean 'format'?",
        ),
        (
            {"early_stopping": {"patince": 3}},
            "early_stopping.patince: unknown option 'patince'; did you mean 'patience'?",
        ),
        ({"tuning": {"kind": "lorra"}}, "tuning: unknown kind 'lorra'; did you mean 'lora'?"),
        ({"method": {"kind": "reinforce"}}, "method: unknown kind 'reinforce'; known: dpo, kto, orpo, sft, simpo"),
        ({"tuning": {"rank": 3}}, "tuning: needs 'kind'"),
        ({"schedule": "cosin"}, "schedule: input should be 'cosine', 'linear' or 'constant', got 'cosin'"),
        ({"zzz": 1}, "unknown option 'zzz'; known: batch_size, budget_usd"),
    ],
)
def test_a_misspelt_word_gets_the_nearest_right_one_at_any_depth(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        JobSpec.from_dict({**PLAIN, **changes})
    assert says in str(caught.value)


def test_a_misspelt_argument_gets_the_nearest_right_one() -> None:
    with pytest.raises(SpecError, match="did you mean 'rank'"):
        LoRA(rnak=64)  # type: ignore[call-arg]


def test_an_option_of_another_member_of_the_union_is_refused() -> None:
    with pytest.raises(SpecError, match=r"tuning.rank: unknown option 'rank'"):
        JobSpec.from_dict({**PLAIN, "tuning": {"kind": "full", "rank": 8}})
    with pytest.raises(SpecError, match=r"method.beta: unknown option 'beta'"):
        JobSpec.from_dict({**PLAIN, "method": {"kind": "sft", "beta": 0.1}})


def test_all_that_is_wrong_is_said_at_once_and_kept_as_data() -> None:
    with pytest.raises(SpecError) as caught:
        JobSpec.from_dict({**PLAIN, "seed": -1, "epohcs": 3, "tuning": {"kind": "lora", "rank": 0, "alhpa": 1.0}})
    assert {problem.path for problem in caught.value.problems} == {"seed", "epohcs", "tuning.rank", "tuning.alhpa"}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SpecError, match=r"(?s)model: is required.*train: is required"):
        JobSpec.from_dict({})


# Numbers that can't be


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 1001),
        ("epochs", math.nan),
        ("epochs", math.inf),
        ("max_steps", 0),
        ("batch_size", 0),
        ("batch_size", 65537),
        ("learning_rate", 0.0),
        ("learning_rate", 1.5),
        ("learning_rate", math.nan),
        ("warmup_ratio", -0.1),
        ("warmup_ratio", 1.0),
        ("weight_decay", -0.1),
        ("weight_decay", 1.1),
        ("max_grad_norm", -1.0),
        ("max_length", 7),
        ("max_truncated", 1.1),
        ("seed", -1),
        ("seed", 2**32),
        ("eval_steps", 0),
        ("checkpoint_steps", 0),
        ("budget_usd", 0),
        ("budget_usd", -5),
        ("budget_usd", math.nan),
        ("budget_usd", math.inf),
        ("name", ""),
        ("name", "-a"),
        ("name", "a b"),
        ("name", "a" * 41),
        ("name", "../a"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"\n  {field}: "):
        a_spec(validation=a_dataset("validation"), **{field: value})


@pytest.mark.parametrize(
    "build",
    [
        lambda: LoRA(rank=0),
        lambda: LoRA(rank=4097),
        lambda: LoRA(alpha=0.0),
        lambda: LoRA(dropout=1.0),
        lambda: LoRA(dropout=-0.1),
        lambda: LoRA(target_modules=()),
        lambda: DPO(beta=0.0),
        lambda: DPO(beta=11.0),
        lambda: KTO(desirable_weight=0.0),
        lambda: KTO(undesirable_weight=101.0),
        lambda: ORPO(beta=0.0),
        lambda: SimPO(beta=0.0),
        lambda: SimPO(gamma=-0.1),
        lambda: EarlyStopping(patience=0),
        lambda: EarlyStopping(min_delta=-1.0),
        lambda: Model(id=""),
        lambda: Model(id=" a/b"),
        lambda: a_dataset(rows=0),
        lambda: a_dataset().replace(fingerprint="abc"),
        lambda: a_dataset().replace(fingerprint="A" * 64),
    ],
)
def test_an_impossible_member_cannot_be_built(build) -> None:
    with pytest.raises(SpecError):
        build()


# Strictness


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", "2"),
        ("epochs", True),
        ("batch_size", "16"),
        ("batch_size", 16.0),
        ("batch_size", True),
        ("learning_rate", "1e-4"),
        ("seed", "7"),
        ("seed", 7.0),
        ("packing", 1),
        ("packing", "yes"),
        ("budget_usd", "20"),
        ("budget_usd", True),
        ("dtype", "bf16"),
        ("name", 7),
        ("tuning", "lora"),
        ("model", "a/b"),
        ("early_stopping", True),
    ],
)
def test_nothing_is_bent_into_shape(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"\n  {field}: "):
        a_spec(validation=a_dataset("validation"), **{field: value})
    with pytest.raises(SpecError, match=rf"\n  {field}: "):
        JobSpec.from_dict({**PLAIN, field: value})


def test_a_whole_number_is_a_number() -> None:
    assert a_spec(epochs=3).epochs == 3
    assert a_spec(learning_rate=1).learning_rate == 1


def test_lists_are_taken_where_tuples_are_meant_because_yaml_has_no_other() -> None:
    assert LoRA(target_modules=["q_proj"]).target_modules == ("q_proj",)  # type: ignore[arg-type]
    assert LoRA.from_dict({"kind": "lora", "target_modules": ["q_proj", "v_proj"]}).target_modules == (
        "q_proj",
        "v_proj",
    )
    with pytest.raises(SpecError, match="target_modules"):
        LoRA(target_modules="q_proj")  # type: ignore[arg-type]


def test_money_is_exact() -> None:
    assert a_spec(budget_usd=0.1).budget_usd == Decimal("0.1")
    assert a_spec(budget_usd=20).budget_usd == Decimal(20)
    assert a_spec(budget_usd=Decimal("19.99")).to_dict()["budget_usd"] == 19.99


# Frozen, compared by content


def test_a_value_never_changes() -> None:
    spec = a_spec()
    with pytest.raises(SpecError, match="frozen"):
        spec.seed = 7  # type: ignore[misc]
    with pytest.raises(SpecError, match="frozen"):
        spec.tuning.rank = 7  # type: ignore[misc, union-attr]


def test_equal_content_is_equal_and_hashes_alike() -> None:
    assert a_spec(seed=7) == a_spec(seed=7)
    assert hash(a_spec(seed=7)) == hash(a_spec(seed=7))
    assert a_spec(seed=7) != a_spec(seed=8)
    assert LoRA() != DoRA()


def test_values_pickle() -> None:
    spec = a_spec(tuning=QLoRA(rank=4), budget_usd=5, seed=1)
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert set_fields(again) == set_fields(spec)


def test_a_copy_with_changes_is_checked_like_a_new_value() -> None:
    spec = a_spec(seed=7).replace(epochs=1)
    assert (spec.seed, spec.epochs) == (7, 1)
    assert set(set_fields(spec)) - set(set_fields(a_spec())) == {"seed", "epochs"}
    with pytest.raises(SpecError, match="epochs"):
        spec.replace(epochs=0)
    with pytest.raises(SpecError, match="did you mean 'epochs'"):
        spec.replace(epcohs=1)


# What was set


def test_only_what_was_set_counts_as_set() -> None:
    base = set_fields(a_spec())
    spec = a_spec(seed=42, learning_rate=None, tuning=LoRA(rank=16), method=SFT())
    assert {path: value for path, value in set_fields(spec).items() if path not in base} == {
        "seed": 42,
        "tuning.rank": 16,
    }


def test_kinds_are_not_options() -> None:
    assert set_fields(FullFineTune()) == {}
    assert set_fields(LoRA(kind="lora", dropout=0.0)) == {"dropout": 0.0}


def test_a_value_in_which_nothing_is_set_stands_for_itself() -> None:
    validation = a_dataset("validation")
    assert (
        set_fields(a_spec(validation=validation, early_stopping=EarlyStopping()))["early_stopping"] == EarlyStopping()
    )
    inner = set_fields(a_spec(validation=validation, early_stopping=EarlyStopping(patience=2)))
    assert inner["early_stopping.patience"] == 2
    assert "early_stopping" not in inner


def test_what_was_set_survives_json() -> None:
    spec = a_spec(tuning=LoRA(dropout=0.05), seed=42)
    assert set_fields(JobSpec.from_json(spec.to_json())) == set_fields(spec)
