"""Whether to fine-tune: the questions, and the numbers behind the answers."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.cost import Api, Operations, PriceBook, Situation, Workload, advise
from ftsdk.errors import SpecError

BOOK = PriceBook.load(today=date(2026, 11, 23))
MAILS = Workload(requests_per_month=3e6, input_tokens=600, output_tokens=15, peak_to_mean=4)
READY: dict[str, Any] = {
    "task": "classification",
    "workload": MAILS,
    "api": "anthropic/claude-haiku-4-5",
    "has_metric": True,
    "tried": ("prompt", "few-shot"),
    "examples": 3000,
    "api_score": 0.90,
    "needed_score": 0.96,
}


def ask(**changes: Any) -> Any:
    return advise(Situation(**{**READY, **changes}), book=BOOK)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "fine-tune"),
        ({"has_metric": False}, "measure first"),
        ({"has_changing_facts": True}, "retrieve first"),
        ({"has_changing_facts": True, "tried": ("prompt", "few-shot", "retrieval")}, "fine-tune"),
        ({"tried": ("prompt",)}, "prompt first"),
        ({"examples": 40}, "collect data first"),
        ({"needed_score": 0.85, "workload": MAILS.replace(requests_per_month=20_000.0)}, "use the API"),
        ({"needed_score": 0.85, "workload": MAILS.replace(requests_per_month=30e6)}, "fine-tune"),
        (
            {"needed_score": 0.85, "workload": MAILS.replace(requests_per_month=20_000.0), "must_self_host": True},
            "fine-tune",
        ),
    ],
)
def test_simpler_things_come_before_training(changes: dict[str, Any], verdict: str) -> None:
    assert ask(**changes).verdict == verdict


def test_the_api_that_costs_a_tenth_needs_ten_times_the_volume() -> None:
    dear, cheap = (
        ask(api=api).candidates[0].break_even_requests for api in ("anthropic/claude-haiku-4-5", "openai/gpt-6-luna")
    )
    assert cheap > 8 * dear


def test_a_gpu_that_is_here_is_used_if_the_model_fits() -> None:
    assert ask(gpu_memory_gb=16).backend == "local"
    assert ask(task="reasoning", gpu_memory_gb=48).tuning == "LoRA(rank=32)"
    large = ask(task="reasoning", gpu_memory_gb=16)
    assert large.backend == "local"
    assert large.tuning == "QLoRA(rank=32)"
    # A 7B model in four bits was measured at 11.5 GB with rows of 512 tokens.
    assert ask(task="reasoning", gpu_memory_gb=10).backend in ("modal", "together")


def test_longer_rows_cost_more_to_train_and_need_a_larger_gpu() -> None:
    short, long = ask(), ask(workload=MAILS.replace(input_tokens=3000.0))
    assert long.candidates[0].training.likely > short.candidates[0].training.likely
    assert ask(task="chat", gpu_memory_gb=36).tuning.startswith("LoRA")
    assert ask(task="chat", gpu_memory_gb=36, workload=MAILS.replace(input_tokens=3000.0)).tuning.startswith("QLoRA")


def test_the_price_of_training_names_its_model_its_gpu_and_its_day() -> None:
    training = ask(must_self_host=True).candidates[0].training
    assert training.low < training.likely < training.high
    assert "the model of training time on" in training.source
    assert "modal.com/pricing" in training.source


def test_data_that_may_not_leave_isn_t_sent_to_a_managed_service() -> None:
    assert ask(must_self_host=True).backend == "modal"


def test_the_minimum_of_a_managed_job_is_counted() -> None:
    advice = ask(examples=300)
    assert "together $4" in advice.backend_reason
    assert advice.candidates[0].training.likely < 4


def test_preference_pairs_come_after_examples() -> None:
    assert "DPO" not in ask().method
    assert "then DPO() on the 2,000 pairs" in ask(preference_pairs=2000).method


def test_advice_prints_in_about_ten_lines() -> None:
    text = str(ask(has_metric=None))
    assert len(text.splitlines()) <= 10
    assert text.startswith("FINE-TUNE: ")


def test_every_reason_has_a_source_and_the_text_has_the_numbers() -> None:
    advice = ask(has_metric=None)
    assert all(reason.source for reason in advice.because)
    text = advice.details()
    assert "FINE-TUNE" in text
    assert "P(self-hosting is cheaper)" in text
    assert "can a good answer be told from a bad one?" in text
    assert [c.params_b for c in advice.candidates] == sorted(c.params_b for c in advice.candidates)
    assert json.loads(json.dumps(advice.to_dict()))["verdict"] == "fine-tune"


def test_what_a_person_puts_right_is_part_of_the_comparison() -> None:
    without, with_review = ask(), ask(review_usd=Decimal("0.05"))
    assert with_review.answer.saving_usd_per_month > without.answer.saving_usd_per_month
    assert with_review.candidates[0].p_cheaper > without.candidates[0].p_cheaper


def test_working_hours_can_turn_the_answer_round() -> None:
    busy = {
        "needed_score": 0.85,
        "workload": MAILS.replace(requests_per_month=5e6),
        "tried": ("prompt", "few-shot", "smaller-model"),
    }
    assert ask(**busy).verdict == "fine-tune"
    assert ask(**busy, operations=Operations(hours_per_month=60)).verdict == "use the API"


def test_without_a_volume_there_is_no_advice() -> None:
    with pytest.raises(SpecError, match="without a volume"):
        ask(workload=Workload(input_tokens=600, output_tokens=15))
    with pytest.raises(SpecError, match="did you mean 'has_metric'"):
        Situation.from_dict(
            {"task": "json", "workload": {"input_tokens": 1, "output_tokens": 1}, "api": "a/b", "has_metrics": True}
        )


LONG = MAILS.replace(input_tokens=20_000.0)
MODEST = MAILS.replace(requests_per_month=20_000.0)


@pytest.mark.parametrize(
    ("missing", "said"), [("api_score", "api_score isn't given"), ("needed_score", "needed_score isn't given")]
)
def test_an_api_that_nobody_scored_is_not_called_good_enough(missing: str, said: str) -> None:
    advice = ask(workload=MODEST, **{missing: None})
    assert advice.verdict == "use the API"
    assert said in advice.because[0].text
    assert "it is good enough" not in str(advice)
    assert missing in advice.next_steps[0]


def test_private_data_is_priced_without_managed_services() -> None:
    large: dict[str, Any] = {"task": "reasoning", "workload": LONG, "latency": "offline"}
    assert "together" in ask(**large).candidates[0].backend_reason
    advice = ask(**large, must_self_host=True)
    assert all(one.backend == "modal" for one in advice.candidates)
    assert all("modal.com" in one.training.source for one in advice.candidates)
    assert "together" not in str(advice)
    assert "on GPUs that you rent: your data goes there" in advice.backend_reason
    assert advice.answer is not None
    assert "dedicated" not in [option.name for option in advice.answer.options]
    assert any("gpu_memory_gb" in step for step in advice.next_steps)


def test_a_gpu_on_which_nothing_fits_is_told_so() -> None:
    advice = ask(gpu_memory_gb=1)
    assert advice.backend != "local"
    assert "doesn't fit on your 1 GB" in advice.backend_reason


def test_a_run_on_the_gpu_that_is_here_has_no_price_anywhere_in_the_advice() -> None:
    advice = ask(gpu_memory_gb=24)
    assert advice.candidates[0].backend == "local"
    assert advice.candidates[0].training.likely == 0
    assert "a run" not in advice.next_steps[0] + advice.next_steps[1]
    assert "training on your own GPU" in str(advice)


def test_the_price_of_a_review_without_scores_is_reported_as_not_counted() -> None:
    assert any(
        "review_usd isn't counted: without api_score" in reason.text
        for reason in ask(review_usd=5, api_score=None).because
    )
    assert not any(reason.source == "review_usd" for reason in ask(review_usd=5).because)


def test_an_untried_larger_model_is_suggested_where_the_gap_is_the_reason() -> None:
    assert "larger model at an API" in ask().next_steps[0]
    assert "larger model" not in str(ask(tried=("prompt", "few-shot", "larger-model")))
    assert "larger model at an API" not in str(ask(must_self_host=True))


def test_quality_that_costs_more_than_the_api_is_advised_with_its_price() -> None:
    advice = ask(workload=MAILS.replace(requests_per_month=1.0))
    (caveat,) = [reason.text for reason in advice.because if "a month more than the API" in reason.text]
    assert "$1,241 a month more than the API" in caveat
    assert "for each answer that gets better" in caveat
    inside = ask(workload=MAILS.replace(requests_per_month=1.0), must_self_host=True)
    assert any("a month more than the API, for data that doesn't go there" in reason.text for reason in inside.because)
    assert "keep the API" not in str(inside)


def test_as_many_examples_are_written_down_as_are_needed_to_measure() -> None:
    for score, examples in ((None, 385), (0.9, 139), (0.0, 139)):
        advice = ask(has_metric=False, api_score=score)
        assert f"{examples} examples give" in advice.because[0].text
        assert f"write down for {examples} inputs" in advice.next_steps[0]


def test_models_that_fit_nowhere_are_left_out_with_a_reason() -> None:
    some = ask(task="reasoning", workload=MAILS.replace(input_tokens=30_000.0), latency="offline")
    assert [candidate.model for candidate in some.candidates] == ["Qwen/Qwen3-8B", "Qwen/Qwen3-14B"]
    assert [reason.source for reason in some.left_out] == ["Qwen/Qwen3.5-27B"]
    assert "left out, Qwen/Qwen3.5-27B: no GPU" in some.details()
    none = ask(workload=MAILS.replace(input_tokens=190_000.0))
    assert (none.verdict, none.backend, none.candidates, none.answer) == ("use the API", None, (), None)
    assert len(none.left_out) == 3
    with pytest.raises(SpecError, match="the data may not leave, and no model fits on any GPU"):
        ask(workload=MAILS.replace(input_tokens=190_000.0), must_self_host=True)


def test_volumes_read_as_a_sentence_also_where_none_pays() -> None:
    never = str(ask(operations=Operations(hours_per_month=1e9), workload=MODEST))
    assert "never cheaper than the API, P" in never
    assert "always cheaper than the API" in str(ask(api_score=0.0, review_usd=5, workload=MODEST))


def test_advice_is_shown_as_html_with_its_sources_as_links() -> None:
    html = ask().to_html()
    assert "<p><b>FINE-TUNE</b></p>" in html
    assert "<a href='https://" in html
    assert "Qwen/Qwen3.5-0.8B (0.752B)" in html


def test_the_commands_of_the_next_steps_exist() -> None:
    steps = " ".join(
        step
        for changes in ({}, {"examples": 40}, {"has_metric": False}, {"tried": ()})
        for step in ask(**changes).next_steps
    )
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert set(re.findall(r"ftsdk (\w+)", steps)) == {"preview"}
    assert "preview" in known


ENOUGH: dict[str, Any] = {
    "api": "openai/gpt-4o",
    "api_score": 0.97,
    "needed_score": 0.95,
    "workload": MAILS.replace(requests_per_month=2e6),
}


def test_a_cheaper_api_is_named_before_a_fine_tune() -> None:
    advice = ask(**ENOUGH)
    assert advice.verdict == "use the API"
    assert "a cheaper API, openai/gpt-6-luna, costs $135.00 a month" in advice.because[0].text
    assert "measure openai/gpt-6-luna on the same examples" in advice.next_steps[0]
    assert ask(**ENOUGH, tried=("prompt", "few-shot", "smaller-model")).verdict == "fine-tune"


def test_an_api_that_was_measured_is_used_if_it_is_good_enough() -> None:
    mini, luna = Api(model="openai/gpt-4o-mini", accepted=0.96), Api(model="openai/gpt-6-luna", accepted=0.80)
    advice = ask(**ENOUGH, other_apis=(mini, luna))
    assert "openai/gpt-4o-mini is good enough (96%, 95% needed)" in advice.because[0].text
    assert advice.next_steps[0] == "move to openai/gpt-4o-mini"
    assert "openai/gpt-6-luna" not in [one.model for one in advice.alternatives]


def test_an_api_that_closes_the_gap_may_cost_more() -> None:
    better = Api(model="openai/gpt-6.1-sol", accepted=0.97)
    advice = ask(other_apis=(better,), workload=MODEST)
    assert advice.verdict == "use the API"
    assert "openai/gpt-6.1-sol is good enough (97%, 96% needed)" in advice.because[0].text


def test_no_other_api_is_named_where_data_may_not_leave() -> None:
    assert ask(**ENOUGH, must_self_host=True).alternatives == ()
    assert ask().alternatives == ()


def test_a_cheaper_api_dearer_than_your_own_model_stops_no_fine_tune() -> None:
    advice = ask(needed_score=0.85, workload=MAILS.replace(requests_per_month=60e6))
    assert advice.verdict == "fine-tune"
    assert any("still more than" in reason.text for reason in advice.because)


def test_structured_output_comes_before_a_fine_tune_for_json() -> None:
    advice = ask(task="json")
    assert advice.verdict == "prompt first"
    assert "structured output" in advice.because[0].text
    assert ask(task="json", tried=("prompt", "few-shot", "structured-output")).verdict == "fine-tune"


def test_low_volumes_are_offered_serverless_gpus() -> None:
    reasons = [reason.text for reason in ask(task="style", workload=MODEST.replace(requests_per_month=300.0)).because]
    assert any("serverless GPUs are cheaper" in text and "wait" in text for text in reasons)
    assert not any("serverless" in reason.text for reason in ask().because)


FORM: dict[str, Any] = {"invalid_share": 0.06, "workload": MODEST}


def test_form_that_closes_the_gap_is_enforced_before_a_fine_tune() -> None:
    advice = ask(**FORM)
    assert advice.verdict == "constrain first"
    assert "response_format" in advice.next_steps[0]
    assert advice.constrained is not None
    assert (advice.constrained.form, advice.constrained.examples) == ("choices", 139)
    assert advice.constrained.usd is not None
    assert 0 < advice.constrained.usd < 1
    assert advice.to_dict()["constrained"]["call"].startswith("constrained(Endpoint(")
    assert ask(**{**FORM, "invalid_share": 0.05}).verdict == "fine-tune"  # 95% at most, and 96% is needed


def test_form_that_was_enforced_is_not_asked_for_again() -> None:
    tried = ("prompt", "few-shot", "structured-output", "constrained-decoding")
    assert ask(**FORM, tried=tried).verdict == "fine-tune"
    assert ask(**FORM, tried=tried).constrained is None
    assert ask(**FORM, other_apis=(Api(model="openai/gpt-6.1-sol", accepted=0.97),)).verdict == "use the API"


def test_answers_that_are_text_have_no_form_to_enforce() -> None:
    assert ask(task="style", invalid_share=0.06).constrained is None
    assert ask(invalid_share=0.0).constrained is None


def test_a_base_model_that_was_measured_decides() -> None:
    advice = ask(base_score=0.97)
    assert advice.verdict == "use the base model"
    assert "there is nothing to train" in advice.because[0].text
    below = ask(base_score=0.93)
    assert below.verdict == "fine-tune"
    assert any("an open model without tuning reaches 93%; 96% is needed" in one.text for one in below.because)
    assert ask(base_score=0.97, needed_score=None).verdict == ask(needed_score=None).verdict


def test_an_answer_is_not_both_good_and_of_a_wrong_form() -> None:
    with pytest.raises(SpecError, match="more than all answers"):
        ask(api_score=0.9, invalid_share=0.2)


def test_the_command_takes_shares_of_form_and_of_the_base_model() -> None:
    words = ["--task", "json", "--requests", "3e4", "--input-tokens", "600", "--output-tokens", "15", "--metric"]
    words += ["--api", "anthropic/claude-haiku-4-5", "--tried", "prompt", "--tried", "few-shot", "--examples", "3000"]
    words += ["--tried", "structured-output", "--api-score", "0.9", "--needed-score", "0.95"]
    asked = CliRunner().invoke(app, ["advise", *words, "--invalid-share", "0.06"])
    assert asked.output.startswith("CONSTRAIN FIRST"), asked.output
    measured = CliRunner().invoke(app, ["advise", *words, "--base-score", "0.96"])
    assert measured.output.startswith("USE THE BASE MODEL"), measured.output
