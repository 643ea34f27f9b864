"""Plans for Together: every field is honoured or refused, and the request is the one that the client sends."""

from __future__ import annotations

import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk import DPO, SFT, DoRA, EarlyStopping, FullFineTune, LoRA, Model, QLoRA, Together
from ftsdk.backends.managed.submission import job_label
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.limits import gaps_against, read_limits
from ftsdk.backends.together.translate import CAPABILITIES, estimate_arguments
from ftsdk.cost import PriceBook
from ftsdk.errors import BudgetExceededError, UnsupportedSpecError
from ftsdk.spec import JobSpec
from ftsdk.testing import a_dataset, a_spec

GOLDEN = Path(__file__).with_name("golden")
QWEN = Model(id="Qwen/Qwen3.5-9B")


def spec(**changes: Any) -> JobSpec:
    return a_spec(**{"model": QWEN, **changes})


def create(**changes: Any) -> dict[str, Any]:
    return Together().plan(spec(**changes)).request["create"]


def gap(**changes: Any) -> tuple[str, object, tuple[object, ...]]:
    with pytest.raises(UnsupportedSpecError) as caught:
        Together().plan(spec(**changes))
    (found,) = caught.value.gaps
    return found.field, found.asked, found.offered


PLANS = {
    "sft-lora": {},
    "sft-lora-everything-set": {
        "validation": a_dataset("held out", rows=10),
        "method": SFT(train_on="completion"),
        "tuning": LoRA(rank=32, alpha=16.0, dropout=0.1, target_modules=("v_proj", "q_proj")),
        "train": a_dataset(rows=160),
        "packing": False,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-4,
        "schedule": "linear",
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "max_grad_norm": 0.5,
        "max_length": 2048,
        "seed": 7,
        "early_stopping": EarlyStopping(patience=1, min_delta=0.01),
        "eval_steps": 10,
        "checkpoint_steps": 20,
        "budget_usd": 25,
    },
    "sft-full-constant": {"tuning": FullFineTune(), "schedule": "constant"},
    "dpo-lora": {"method": DPO(beta=0.2), "validation": a_dataset("held out", data_format="preference", rows=10)},
    "dpo-full": {"method": DPO(), "tuning": FullFineTune(), "model": Model(id="meta-llama/Llama-3.1-8B-Instruct")},
}


@pytest.mark.parametrize("name", sorted(PLANS))
def test_the_plan_is_the_one_that_was_reviewed(name: str) -> None:
    """Set FTSDK_UPDATE_GOLDEN=1 to write the plans anew, and review what changed."""
    plan = Together().plan(spec(**PLANS[name]))
    shown = {
        "request": plan.request,
        "adjustments": {a.field: a.chosen for a in plan.adjustments},
        "cost_note": plan.cost_note,
        "notes": plan.notes,
    }
    text = json.dumps(shown, indent=1, sort_keys=True) + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("FTSDK_UPDATE_GOLDEN"):
        file.write_text(text)
    assert file.read_text() == text


@pytest.mark.parametrize(("train_on", "sent"), [("completion", False), ("assistant", False), ("all", True)])
def test_what_the_loss_counts_is_said_to_the_service(train_on: Any, sent: bool) -> None:
    plan = Together().plan(spec(method=SFT(train_on=train_on)))
    assert plan.request["create"]["train_on_inputs"] is sent
    assert plan.request["upload"]["train_on"] == train_on


def test_dpo_says_nothing_of_inputs_and_sft_nothing_of_beta() -> None:
    assert "train_on_inputs" not in create(method=DPO())
    assert "dpo_beta" not in create()


@pytest.mark.parametrize("tuning", [LoRA(), FullFineTune()])
def test_lora_is_never_left_open(tuning: Any) -> None:
    assert create(tuning=tuning)["lora"] is isinstance(tuning, LoRA)


@pytest.mark.parametrize("tuning", [QLoRA(), DoRA()])
def test_tunings_that_the_service_has_not_are_refused(tuning: Any) -> None:
    assert gap(tuning=tuning) == ("tuning", tuning.kind, ("full", "lora"))


@pytest.mark.parametrize(
    ("changes", "field", "offered"),
    [
        ({"epochs": 1.5}, "epochs", (1, 2)),
        ({"batch_size": 12}, "batch_size", (8, 16)),
        ({"batch_size": 4}, "batch_size", (8,)),
        ({"tuning": LoRA(alpha=7.9)}, "tuning.alpha", (7, 8)),
        ({"tuning": LoRA(alpha=0.4)}, "tuning.alpha", (1,)),
        ({"tuning": LoRA(rank=128)}, "tuning.rank", (64,)),
        ({"max_length": 100_000}, "max_length", (65536,)),
        ({"method": DPO(), "max_length": 512}, "max_length", ()),
        ({"max_steps": 10}, "max_steps", ()),
        ({"dtype": "bfloat16"}, "dtype", ()),
        ({"max_truncated": 0.5}, "max_truncated", ()),
        ({"model": QWEN.replace(chat_template="{{ messages }}")}, "model.chat_template", ()),
        ({"model": QWEN.replace(revision="main")}, "model.revision", ()),
        ({"model": QWEN.replace(adapter="./adapter")}, "model.adapter", ()),
        ({"checkpoint_steps": 10}, "checkpoint_steps", ()),
        ({"checkpoint_steps": 9, "packing": False, "train": a_dataset(rows=160)}, "checkpoint_steps", (6, 10)),
        ({"checkpoint_steps": 10, "packing": False, "train": a_dataset(rows=161)}, "checkpoint_steps", ()),
        ({"model": Model(id="openai/gpt-oss-20b"), "tuning": FullFineTune()}, "tuning", ("lora",)),
        ({"model": Model(id="mistralai/Mixtral-8x7B-Instruct-v0.1")}, "tuning", ("full",)),
        ({"model": Model(id="deepseek-ai/DeepSeek-V3.1"), "tuning": LoRA(rank=32)}, "tuning.rank", (16,)),
    ],
)
def test_what_cannot_be_exact_is_refused_with_the_nearest_that_works(
    changes: dict[str, Any], field: str, offered: tuple[object, ...]
) -> None:
    named, _, nearest = gap(**changes)
    assert (named, nearest) == (field, offered)


def test_a_batch_is_made_of_what_the_service_takes_at_once() -> None:
    assert {k: create(batch_size=32)[k] for k in ("batch_size", "gradient_accumulation_steps")} == {
        "batch_size": 8,
        "gradient_accumulation_steps": 4,
    }


def test_an_open_batch_size_is_the_service_s_choice_and_reported() -> None:
    plan = Together().plan(spec())
    assert {k: plan.request["create"][k] for k in ("batch_size", "gradient_accumulation_steps")} == {
        "batch_size": "max",
        "gradient_accumulation_steps": 2,
    }
    (adjustment,) = [a for a in plan.adjustments if a.field == "batch_size"]
    assert adjustment.chosen == 16
    assert "8 sequences at a time" in adjustment.reason


def test_a_default_batch_size_that_does_not_fit_is_changed_and_reported() -> None:
    plan = Together().plan(spec(model=Model(id="meta-llama/Llama-3.3-70B-Instruct"), tuning=FullFineTune()))
    (adjustment,) = [a for a in plan.adjustments if a.field == "batch_size"]
    assert adjustment.chosen == 32


def test_a_constant_rate_is_a_linear_one_that_does_not_fall() -> None:
    assert {k: create(schedule="constant")[k] for k in ("lr_scheduler_type", "min_lr_ratio")} == {
        "lr_scheduler_type": "linear",
        "min_lr_ratio": 1.0,
    }
    assert create(schedule="linear")["min_lr_ratio"] == 0.0


@given(steps=st.integers(1, 60), rows=st.integers(1, 20), epochs=st.integers(1, 5))
def test_distances_in_steps_become_exact_counts_or_are_refused(steps: int, rows: int, epochs: int) -> None:
    asked = {"packing": False, "batch_size": 8, "train": a_dataset(rows=8 * rows), "epochs": epochs}
    total = rows * epochs
    if total % steps == 0:
        assert create(**asked, checkpoint_steps=steps)["n_checkpoints"] * steps == total
        return
    field, _, offered = gap(**asked, checkpoint_steps=steps)
    assert field == "checkpoint_steps"
    assert offered
    for nearest in offered:
        assert create(**asked, checkpoint_steps=nearest)["n_checkpoints"] * nearest == total


@given(patience=st.integers(1, 12), epochs=st.integers(1, 6))
def test_early_stopping_has_enough_validations_and_one_per_epoch_end(patience: int, epochs: int) -> None:
    sent = create(
        validation=a_dataset("held out", rows=8), early_stopping=EarlyStopping(patience=patience), epochs=epochs
    )
    # The service's own rule, with a warm-up of 0.
    assert sent["n_evals"] >= patience + sent["early_stopping_warmup_evals"] + 1
    assert sent["n_evals"] % epochs == 0


@given(rank=st.integers(1, 64), alpha=st.integers(1, 512))
def test_whole_alphas_arrive_as_they_were_set(rank: int, alpha: int) -> None:
    sent = create(tuning=LoRA(rank=rank, alpha=float(alpha)))
    assert (sent["lora_r"], sent["lora_alpha"]) == (rank, alpha)


def test_dropout_is_left_out_of_dpo_unless_it_is_asked_for() -> None:
    assert create(method=DPO())["lora_dropout"] == 0.0
    assert create(method=DPO(), tuning=LoRA(dropout=0.1))["lora_dropout"] == 0.1


def test_an_untunable_model_is_refused_with_the_nearest_tunable_ones() -> None:
    field, asked, offered = gap(model=Model(id="Qwen/Qwen3-8B"))
    assert (field, asked) == ("model", "Qwen/Qwen3-8B")
    assert offered[0] == "Qwen/Qwen3.5-9B"


def test_a_model_name_given_by_the_user_is_used_without_offline_limits() -> None:
    plan = Together(models={"example/tiny-instruct": "example/tiny"}).plan(a_spec(batch_size=12))
    assert plan.request["create"]["model"] == "example/tiny"
    assert plan.request["create"]["batch_size"] == 12
    assert "before anything is uploaded" in plan.notes[-1]


def test_a_name_that_is_only_inferred_is_said_to_be() -> None:
    assert "inferred" in Together().plan(spec(model=Model(id="Qwen/Qwen3.5-4B"))).notes[-1]
    assert not [note for note in Together().plan(spec()).notes if "inferred" in note]


def test_the_hub_id_and_the_services_own_name_mean_one_model() -> None:
    for name in ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference"):
        assert create(model=Model(id=name))["model"] == "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "$0.34 per million tokens"),
        ({"method": DPO()}, "$0.84 per million tokens"),
        ({"tuning": FullFineTune()}, "$0.54 per million tokens"),
        ({"tuning": FullFineTune()}, "an upper bound"),
        ({"model": Model(id="moonshotai/Kimi-K2.6"), "tuning": LoRA(rank=8)}, "no source has its price"),
        ({}, "at least $4.00 a job"),
    ],
)
def test_the_plan_tells_the_price_that_is_known_with_its_source(changes: dict[str, Any], says: str) -> None:
    plan = Together().plan(spec(**changes))
    assert says in plan.cost_note
    assert plan.cost is None


@pytest.mark.parametrize(
    ("model", "budget", "least"), [("Qwen/Qwen3.5-9B", 3.99, "$4.00"), ("deepseek-ai/DeepSeek-V3.1", 19, "$20.00")]
)
def test_a_budget_below_the_least_that_a_job_costs_is_refused_offline(model: str, budget: float, least: str) -> None:
    with pytest.raises(BudgetExceededError, match=r"Raise the budget") as caught:
        Together().plan(spec(model=Model(id=model), budget_usd=budget))
    assert least in str(caught.value)


def test_a_budget_of_just_the_least_is_taken() -> None:
    assert Together().plan(spec(budget_usd=4)).request["budget_usd"] == 4.0


@pytest.mark.parametrize("budget", ["12.3456789012345678901", "12.5"])
def test_a_budget_is_requested_to_its_last_digit(budget: str) -> None:
    request = json.loads(json.dumps(Together().plan(spec(budget_usd=Decimal(budget))).request))
    assert str(request["budget_usd"]) == budget


@given(key=st.text("abcXYZ0123456789._-", min_size=1, max_size=80), name=st.one_of(st.none(), st.text(max_size=60)))
def test_suffixes_fit_and_differ_by_key(key: str, name: str | None) -> None:
    suffix = job_label(key, {"a": 1}, name=name)
    assert 0 < len(suffix) <= 40
    assert set(suffix) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert suffix == job_label(key, {"a": 1}, name=name)
    assert suffix != job_label(f"{key}x", {"a": 1}, name=name)
    assert suffix != job_label(key, {"a": 2}, name=name)


LIMITS = {
    "lora_training": {

        "default_rank": 64, "max_rank": 32, "min_batch_size": 8, "max_batch_size": 8, "max_batch_size_dpo": 4,
        "target_modules": ["q_proj", "v_proj"],
    },
    "full_training": {"min_batch_size": 0, "max_batch_size": 0, "max_batch_size_dpo": 0},
    "supports_full_training": False,
    "max_num_epochs": 5,
    "max_num_evals": 4,
    "max_num_checkpoints": 3,
    "min_learning_rate": 1e-6,
    "max_learning_rate": 1e-3,
    "min_max_seq_length": 512,
    "max_seq_length_sft": 4096,
    "max_seq_length_dpo": 2048,
    "default_gradient_accumulation_steps": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tuning": LoRA(rank=33)}, "tuning.rank"),
        ({"tuning": LoRA(target_modules=("q_proj", "w_up"))}, "tuning.target_modules"),
        ({"tuning": FullFineTune()}, "tuning"),
        ({"epochs": 6}, "epochs"),
        ({"learning_rate": 0.01}, "learning_rate"),
        ({"learning_rate": 1e-7}, "learning_rate"),
        ({"max_length": 256}, "max_length"),
        ({"max_length": 8192}, "max_length"),
        ({"method": DPO(), "batch_size": 8}, "batch_size"),
        (
            {"packing": False, "batch_size": 8, "train": a_dataset(rows=80), "epochs": 1, "checkpoint_steps": 1},
            "checkpoint_steps",
        ),
        ({"validation": a_dataset("held out", rows=8), "epochs": 5}, "eval_steps"),
    ],
)
def test_the_services_own_limits_are_kept_and_the_field_is_named(changes: dict[str, Any], field: str) -> None:
    asked = spec(**changes)
    (found,) = gaps_against(asked, Together().plan(asked).request["create"], read_limits(LIMITS))
    assert found.field == field


def test_what_is_within_the_limits_is_no_gap() -> None:
    asked = spec(tuning=LoRA(rank=32, target_modules=("q_proj",)), max_length=4096, learning_rate=1e-3, epochs=5)
    assert gaps_against(asked, Together().plan(asked).request["create"], read_limits(LIMITS)) == []


def test_limits_that_are_missing_refuse_nothing() -> None:
    asked = spec()
    assert gaps_against(asked, Together().plan(asked).request["create"], read_limits({})) == []


def test_everything_that_the_client_would_estimate_is_estimated() -> None:
    """The client makes the same arguments of the same `create`."""
    pytest.importorskip("together", reason="the extra 'together' isn't installed")
    from together.lib.resources.fine_tuning import create_finetune_request
    from together.types.finetune_model_limits import FinetuneModelLimits

    full = {"min_batch_size": 8, "max_batch_size": 8, "max_batch_size_dpo": 8}
    lora = {**LIMITS["lora_training"], "max_batch_size_dpo": 8}
    limits = FinetuneModelLimits.construct(
        **{**LIMITS, "lora_training": lora, "full_training": full, "supports_full_training": True}
    )
    for changes in PLANS.values():
        sent = create(**{**changes, "max_length": None})
        files = {"training_file": "file-1", "validation_file": "file-2"}
        _, tuning, method = create_finetune_request(model_limits=limits, **files, **sent)
        ours = estimate_arguments(sent)
        assert (ours["training_type"], ours["training_method"]) == (tuning, method)


def test_every_field_that_is_declared_is_one_of_a_specs() -> None:
    from ftsdk.testing import optional_fields

    assert optional_fields() >= CAPABILITIES.fields


def test_the_catalogue_names_each_model_once_and_its_price_has_a_source() -> None:
    known, book = catalogue(), PriceBook.load(today=date(2026, 11, 23))
    assert len({model.hub for model in known.models}) == len(known.models)
    for model in known.models:
        assert model.lora is not None or model.full is not None, model.hub
        assert known.minimum(model, book).source.startswith("https://")
        price = known.price_per_mtok(model, a_spec(), book)
        assert price is None or price.source.startswith("https://")
    assert known.minimum(None, book).usd == Decimal(4)


def test_planning_needs_neither_the_client_nor_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    code = (
        "import sys; from ftsdk import Model, Together; from ftsdk.testing import a_spec\n"
        "Together().plan(a_spec(model=Model(id='Qwen/Qwen3.5-9B')))\n"
        "print([m for m in ('together', 'zstandard', 'torch', 'httpx') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_name_together_leads_to_this_backend() -> None:
    """By the entry point that the package declares, and by the public name."""
    import tomllib
    from importlib.metadata import EntryPoint

    declared = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]["entry-points"][
        "ftsdk.backends"
    ]
    assert EntryPoint(name="together", value=declared["together"], group="ftsdk.backends").load() is Together
    assert Together().name == "together"
