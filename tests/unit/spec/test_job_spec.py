from __future__ import annotations

from typing import ClassVar, Literal, get_args

import pytest

from ftsdk.errors import SpecError
from ftsdk.spec import (
    DPO,
    METHODS,
    SFT,
    TUNINGS,
    AnyMethod,
    AnyTuning,
    DataFormat,
    DoRA,
    EarlyStopping,
    FullFineTune,
    Hyperparameters,
    JobFields,
    JobSpec,
    LoRA,
    Model,
    QLoRA,
    default_learning_rate,
)
from ftsdk.spec.dataset_ref import MAKING_ROWS
from ftsdk.testing import a_dataset, a_spec

CHAT = a_dataset()
PAIRS = a_dataset(data_format="preference")


def test_the_smallest_job_is_a_model_and_data() -> None:
    spec = JobSpec(model=Model(id="a/b"), train=CHAT)
    assert spec.method == SFT()
    assert spec.tuning == LoRA()
    assert set(spec.to_dict()) == {"model", "train"}


# Pairs that don't fit


def test_dpo_on_conversations_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        SpecError, match=r"'dpo' needs preference data; train \(train\) has chat rows\. .*Dataset\.as_preference"
    ):
        a_spec(method=DPO(), train=CHAT)


def test_sft_on_pairs_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        SpecError, match=r"'sft' needs chat data; train \(train\) has preference rows\. .*Dataset\.as_chat"
    ):
        a_spec(train=PAIRS)


def test_validation_data_of_another_format_are_refused() -> None:
    with pytest.raises(SpecError, match=r"validation \(held out\) has preference rows"):
        a_spec(validation=a_dataset("held out", data_format="preference"))


@pytest.mark.parametrize("field", [{"early_stopping": EarlyStopping()}, {"eval_steps": 5}])
def test_what_needs_validation_data_is_refused_without_them(field) -> None:
    with pytest.raises(SpecError, match=rf"{next(iter(field))} needs validation data; pass validation="):
        a_spec(**field)
    assert a_spec(validation=a_dataset("held out"), **field).validation is not None


def test_validating_on_the_training_rows_is_refused() -> None:
    with pytest.raises(SpecError, match="same rows as train"):
        a_spec(train=CHAT, validation=CHAT)
    with pytest.raises(SpecError, match="same rows as train"):
        a_spec(train=CHAT, validation=CHAT.replace(name="under another name"))


def test_pairs_that_fit_are_built() -> None:
    spec = a_spec(
        method=DPO(beta=0.2), train=PAIRS, validation=a_dataset("held out", data_format="preference"), tuning=QLoRA()
    )
    assert spec.method.kind == "dpo"


# Models


@pytest.mark.parametrize(
    ("id", "source"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "hub"),
        ("gpt2", "hub"),
        ("./my-model", "folder"),
        ("../my-model", "folder"),
        ("/models/llama", "folder"),
        ("~/models/llama", "folder"),
        ("models/llama/8b", "folder"),
        ("C:\\models\\llama", "folder"),
        ("model.Q4_1.gguf", "gguf"),
        ("/models/model.gguf", "gguf"),
    ],
)
def test_where_a_model_comes_from_is_told_by_its_id(id: str, source: str) -> None:  # noqa: A002 - the field's name
    assert Model(id=id).source == source


def test_a_model_prints_as_people_write_it() -> None:
    assert str(Model(id="a/b")) == "a/b"
    assert str(Model(id="a/b", revision="main", adapter="runs/x")) == "a/b@main + runs/x"


# Defaults with a source


def test_alpha_is_twice_the_rank_unless_it_is_set() -> None:
    assert LoRA(rank=8).effective_alpha == 16.0
    assert DoRA(rank=8, alpha=8.0).effective_alpha == 8.0


@pytest.mark.parametrize("method", [method() for method in METHODS.values()], ids=lambda method: method.kind)
@pytest.mark.parametrize("tuning", [LoRA(), QLoRA(), DoRA(), FullFineTune()], ids=lambda tuning: tuning.kind)
def test_a_learning_rate_nobody_chose_has_a_source(method, tuning) -> None:
    rate, why = default_learning_rate(method, tuning)
    assert 0 < rate <= 2e-4
    assert "Zephyr" in why or "https://" in why
    assert (rate < 1e-4) == (isinstance(tuning, FullFineTune) or not isinstance(method, SFT))
    assert rate >= 5e-7


# Facts on the members of the unions


def test_a_method_without_its_facts_cannot_be_defined() -> None:
    with pytest.raises(
        TypeError,
        match="IPO must set these class variables: learning_rates, needs_reference, sequences_per_row, untrained",
    ):

        class IPO(AnyMethod):
            data_format: ClassVar[DataFormat] = "preference"
            kind: Literal["ipo"] = "ipo"


def test_a_tuning_without_its_facts_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="PromptTuning must set these class variables: adapts, quantizes"):

        class PromptTuning(AnyTuning):
            kind: Literal["prompt"] = "prompt"


@pytest.mark.parametrize(("base", "members"), [(AnyMethod, METHODS), (AnyTuning, TUNINGS)], ids=["methods", "tunings"])
def test_every_member_that_is_defined_is_in_the_union(base, members) -> None:
    def below(cls):
        return {cls}.union(*(below(child) for child in cls.__subclasses__()))

    defined = {cls for cls in below(base) if cls.__module__.startswith("ftsdk.") and "kind" in cls.model_fields}
    assert set(members.values()) == defined
    assert all(members[kind]().kind == kind for kind in members)


def test_every_format_names_the_call_that_makes_its_rows() -> None:
    assert set(MAKING_ROWS) == set(get_args(DataFormat)) == {method.data_format for method in METHODS.values()}


def test_what_a_run_is_called_and_may_cost_is_no_hyperparameter() -> None:
    assert set(JobFields.model_fields) - set(Hyperparameters.model_fields) == {"name", "budget_usd"}
