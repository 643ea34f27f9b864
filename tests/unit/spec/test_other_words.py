"""What other tools call things, and other likely slips: the error has the sentence that helps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftsdk import SFT, Dataset, Eval, FineTuneJob, Local, LoRA, PromptTuning, SpecError
from ftsdk.cost import Workload
from ftsdk.spec import JobFields
from ftsdk.spec.other_words import INSTEAD_OF_WORD

ROWS = Dataset.from_rows([{"prompt": f"a{n}", "completion": "b"} for n in range(4)])


def job(**fields: object) -> FineTuneJob:
    return FineTuneJob.model_validate({"model": "m/x", "train": ROWS}).replace(**fields)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: job(method="sft"), "write method=SFT()"),
        (lambda: job(tuning="QLoRA"), "write tuning=QLoRA()"),
        (lambda: job(tuning="lorra"), "did you mean 'lora'"),
        (lambda: job(method=SFT), "write method=SFT(), with brackets"),
        (lambda: job(backend=Local), "write backend=Local(), with brackets"),
        (lambda: job(backend="Modal").resolved_backend, "write 'modal'"),
        (lambda: job(lr=1e-4), "here it is learning_rate"),
        (lambda: job(num_train_epochs=1), "here it is epochs"),
        (lambda: job(per_device_train_batch_size=4), "here it is batch_size"),
        (lambda: job(gpu="H100"), "backend=Modal(gpu='H100')"),
        (lambda: job(evals=Eval.exact_match(ROWS)), "should be a list"),
        (lambda: job(budget_usd="20"), "write it without quotes"),
        (lambda: job(budget_usd="$20"), "US dollars as a number"),
        (lambda: job(train="file.jsonl"), "Dataset.from_file"),
        (lambda: job(early_stopping=True), "write EarlyStopping()"),
        (lambda: job(dtype="bf16"), "write 'bfloat16'"),
        (lambda: job(tuning={"kind": "lora", "r": 8}), "here it is rank"),
        (lambda: LoRA.from_dict({"lora_alpha": 32}), "here it is alpha"),
        (lambda: LoRA.from_dict({"Rank": 32}), "write 'rank'"),
        (lambda: LoRA.from_dict({"use_rslora": True}), "here it is rank_stabilized"),
        (lambda: LoRA.from_dict({"init_lora_weights": "pissa"}), "here it is init"),
        (lambda: PromptTuning.from_dict({"num_virtual_tokens": 8}), "here it is virtual_tokens"),
        (lambda: SFT.from_dict({"neftune_noise_alpha": 5}), "here it is neftune_alpha"),
        (lambda: job(neftune_noise_alpha=5), "method=SFT(neftune_alpha=5)"),
        (lambda: job(optimizer="adamw_bnb_8bit"), "write 'adamw_8bit'"),
        (lambda: job(optim="adamw"), "here it is optimizer"),
        (lambda: LoRA.from_dict({"target_modules": "all-linear"}), "leave it out"),
        (lambda: SFT.from_dict({"train_on_inputs": False}), "SFT(train_on=...)"),
        (lambda: setattr(job(), "epochs", 4), ".replace(epochs=...)"),
        (lambda: delattr(job(), "epochs"), "frozen"),
    ],
)
def test_a_likely_slip_is_answered_with_what_to_write(made: Callable[[], object], said: str) -> None:
    with pytest.raises(SpecError) as error:
        made()
    assert said in str(error.value)


def test_no_word_of_another_tool_is_a_field_of_a_job() -> None:
    assert not INSTEAD_OF_WORD.keys() & JobFields.model_fields.keys()


def test_values_that_are_no_part_of_a_job_have_no_such_hints() -> None:
    with pytest.raises(SpecError) as error:
        Workload.from_dict({"requests_per_month": 1, "input_tokens": 1, "output_tokens": 1, "gpu": "L4"})
    assert "here it is" not in str(error.value)
