"""API or a model of your own: the whole question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.cost import (
    Api,
    Dedicated,
    ModelShape,
    Operations,
    PriceBook,
    Quality,
    SelfHosted,
    Serverless,
    Workload,
    crossover,
)
from ftsdk.cost.comparison.monte_carlo import Distribution, draw_samples, percentiles
from ftsdk.cost.comparison.options import Draw
from ftsdk.errors import SpecError
from ftsdk.protocol import CostRange
from ftsdk.protocol.estimates import Estimate

TODAY = date(2026, 11, 23)
BOOK = PriceBook.load(today=TODAY)
MAILS = Workload(requests_per_month=1_000_000, input_tokens=600, output_tokens=15, peak_to_mean=4)
HAIKU = "anthropic/claude-haiku-4-5"
L4 = SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod", replicas=2)
NO_PEOPLE = Operations(hours_per_month=0, hours_per_retrain=0, setup_hours=0)


def ask(**changes: Any) -> Any:
    asked: dict[str, Any] = {
        "workload": MAILS,
        "api": HAIKU,
        "self_hosted": L4,
        "book": BOOK,
        "scenarios": 2_000,
        **changes,
    }
    return crossover(**asked)


def test_every_line_has_a_source_and_every_price_a_day() -> None:
    answer = ask(training=12, retrains_per_year=4)
    for option in answer.options:
        assert sum(line.usd for line in option.lines) == pytest.approx(option.usd_per_month, abs=Decimal("0.03"))
        assert all(line.source for line in option.lines)
        assert option.lines[0].as_of is not None
    assert answer.option("api").usd_per_month == Decimal("675")
    assert answer.option("self-hosted").lines[0].usd == Decimal("715.4")  # 2 x 730 h x $0.49


def test_the_break_even_volume_is_where_both_cost_the_same() -> None:
    answer = ask(operations=NO_PEOPLE, self_hosted=L4.replace(gpu_usd_per_hour=Decimal("0.274")))
    (point,) = answer.break_even_requests
    # $400.04 a month over $0.675 per thousand: the guide's 0.59 million.
    assert point == pytest.approx(2 * 730 * 0.274 / 0.000675, rel=1e-6)
    at_it = ask(
        workload=MAILS.replace(requests_per_month=point),
        operations=NO_PEOPLE,
        self_hosted=L4.replace(gpu_usd_per_hour=Decimal("0.274")),
    )
    assert at_it.option("api").usd_per_month == pytest.approx(
        at_it.option("self-hosted").usd_per_month, abs=Decimal("0.02")
    )


def test_steps_can_cross_the_line_several_times() -> None:
    # One replica takes little more than the traffic that pays for it.
    own = L4.replace(replicas=1, requests_per_s_per_replica=0.1, gpu_usd_per_hour=Decimal("0.2265"))
    answer = ask(
        workload=MAILS.replace(requests_per_month=100_000.0, peak_to_mean=1.0),
        self_hosted=own,
        operations=Operations(hours_per_month=0.2, usd_per_hour=Decimal(75), hours_per_retrain=0, setup_hours=0),
        dedicated=None,
        serverless=None,
    )
    points = answer.break_even_requests
    assert len(points) > 3
    assert list(points) == sorted(points)
    assert "crossings" in str(answer)
    kinds = [point.cheaper_above for point in answer.crossings]
    assert all(a != b for a, b in pairwise(kinds))


def test_the_api_bills_the_mean_and_gpus_are_bought_for_the_peak() -> None:
    flat, peaky = (ask(workload=MAILS.replace(requests_per_month=20e6, peak_to_mean=peak)) for peak in (1.0, 10.0))
    assert flat.option("api").usd_per_month == peaky.option("api").usd_per_month
    assert flat.option("self-hosted").usd_per_month < peaky.option("self-hosted").usd_per_month


def test_what_a_rejected_answer_costs_decides_more_than_tokens() -> None:
    worse = Quality(api_accepted=0.97, own_accepted=0.92, rejected="review", review_usd=Decimal("0.05"))
    answer = ask(quality=worse)
    review = {
        option.name: sum(line.usd for line in option.lines if line.label == "review") for option in answer.options
    }
    assert review["api"] == Decimal(1500)
    assert review["self-hosted"] == Decimal(4000)
    assert answer.saving_usd_per_month < ask().saving_usd_per_month - 2000


def test_asking_again_costs_one_over_the_share_that_is_accepted() -> None:
    answer = ask(quality=Quality(api_accepted=0.5, own_accepted=1.0))
    assert answer.option("api").usd_per_month == Decimal(1350)
    assert answer.option("api").usd_per_1k_accepted == Decimal("1.35")


def test_answers_that_fall_back_are_paid_at_the_api() -> None:
    answer = ask(quality=Quality(api_accepted=1.0, own_accepted=0.9, rejected="fallback"))
    assert next(
        line.usd for line in answer.option("self-hosted").lines if line.label == "fallback to the API"
    ) == Decimal("67.5")


def test_a_tokenizer_that_makes_more_tokens_costs_more() -> None:
    plain = ask(api=Api(model=HAIKU)).option("api").usd_per_month
    assert ask(api=Api(model=HAIKU, tokenizer_ratio=1.3)).option("api").usd_per_month == pytest.approx(
        plain * Decimal("1.3")
    )
    newer = ask(api="anthropic/claude-haiku-5-5")
    assert any("30% more tokens" in note for note in newer.notes)


def test_cached_input_and_batch_prices_lower_the_api_s_bill() -> None:
    plain, long = ask().option("api").usd_per_month, MAILS.replace(input_tokens=6000.0)
    cached = long.replace(cached_input_share=0.9)
    assert ask(workload=cached).option("api").usd_per_month < ask(workload=long).option("api").usd_per_month
    assert ask(api=Api(model=HAIKU, is_batch=True)).option("api").usd_per_month == plain / 2


def test_a_prompt_over_a_cliff_is_billed_at_the_higher_tier_as_a_whole() -> None:
    long = MAILS.replace(input_tokens=101_000, output_tokens=10, requests_per_month=1000.0)
    api = Api(model="anthropic/claude-haiku-5-5", tokenizer_ratio=1)
    answer = ask(
        workload=long,
        api=api,
        self_hosted=L4.replace(requests_per_s_per_replica=1.0, context_tokens=131_072),
        dedicated=None,
        serverless=None,
    )
    assert answer.option("api").usd_per_month == pytest.approx(Decimal("50.5") + Decimal("0.025"), abs=Decimal("0.02"))
    assert any("higher tier" in note for note in answer.notes)


def test_training_may_be_dollars_a_range_or_an_estimate() -> None:
    spread = CostRange(low=Decimal(8), likely=Decimal(12), high=Decimal(18), source="three runs")
    upfront = [
        ask(training=given).upfront_usd for given in (12, Decimal(12), spread, Estimate(backend="acme", cost=spread))
    ]
    assert len(set(upfront)) == 1
    assert (
        ask(training=0).upfront_usd == ask().upfront_usd == upfront[0] - 18
    )  # 12 and half as much for runs thrown away
    assert "training is left out" in str(ask())
    with pytest.raises(SpecError, match="isn't an amount"):
        ask(training=-1)


def test_an_estimate_without_a_cost_is_refused_and_never_taken_for_nothing() -> None:
    with pytest.raises(
        SpecError, match=r"bills nothing\), and an unknown cost isn't taken as \$0.*usd_per_hour.*training=0"
    ):
        ask(training=Estimate(backend="local", cost_note="this machine bills nothing"))
    with pytest.raises(SpecError, match="has no cost"):
        ask(training=Estimate(backend="acme"))


@pytest.mark.parametrize(("low", "likely", "high"), [(5, 3, 9), (1, 9, 5), (-1, 3, 5)])
def test_a_range_that_is_none_is_refused(low: int, likely: int, high: int) -> None:
    with pytest.raises(SpecError, match="in this order"):
        ask(training=CostRange(low=Decimal(low), likely=Decimal(likely), high=Decimal(high), source="a slip"))


@pytest.mark.parametrize("ends", [(8, 12, 18), (4, 4, 9), (2, 2, 2), (0, 30, 31)])
def test_a_tenth_of_scenarios_lies_beyond_each_end_of_the_interval(
    ends: tuple[int, int, int],
) -> None:
    low, likely, high = ends
    one = Distribution(input="training_usd", kind="interval", low=low, likely=likely, high=high, why="a test")
    expected = Draw(requests=1.0, peak_to_mean=1.0, training_usd=float(likely), api_accepted=1.0, own_accepted=1.0)
    drawn = draw_samples((one,), expected, scenarios=200_000, seed=7).by_input["training_usd"]
    assert percentiles(drawn) == pytest.approx(ends, abs=0.01 * max(1, high - low) + 1e-9)
    assert drawn.min() >= 0


def test_retraining_more_often_costs_more() -> None:
    costs = [ask(training=100, retrains_per_year=n).option("self-hosted").usd_per_month for n in (0, 4, 12)]
    assert costs == sorted(costs)
    assert costs[2] - costs[0] == Decimal("450.00")  # 12 x (150 and 4 h at 75) / 12


def test_adapters_share_a_bill_and_pay_for_it_in_speed() -> None:
    alone, shared = ask(), ask(self_hosted=L4.replace(adapters=8))
    assert shared.option("self-hosted").lines[0].usd == pytest.approx(
        alone.option("self-hosted").lines[0].usd / 8, abs=Decimal("0.01")
    )
    assert shared.option("self-hosted").capacity.requests_per_s < alone.option("self-hosted").capacity.requests_per_s


def test_rare_requests_are_cheaper_on_sleeping_gpus_and_often_wait() -> None:
    answer = ask(workload=MAILS.replace(requests_per_month=2000.0), operations=NO_PEOPLE)
    assert answer.option("serverless").usd_per_month < answer.option("self-hosted").usd_per_month / 3
    assert "wait" in answer.option("serverless").note
    busy = ask(operations=NO_PEOPLE)
    assert busy.option("serverless").note.startswith("0.0%")


@pytest.mark.parametrize(
    "name",
    [
        "requests_per_month",
        "gpu_usd_per_hour",
        "api_price_ratio",
        "input_tokens",
        "hours_per_month",
        "training_usd",
        "own_accepted",
        "tokenizer_ratio",
    ],
)
def test_the_solved_value_makes_both_cost_the_same(name: str) -> None:
    base: dict[str, Any] = {
        "workload": MAILS.replace(requests_per_month=4e6),
        "training": 12,
        "retrains_per_year": 4,
        "quality": Quality(api_accepted=0.95, own_accepted=0.95, rejected="review", review_usd=Decimal("0.02")),
    }
    solved = ask(**base, solve_for=name).solved
    assert solved.values, name
    value = solved.values[0]
    if name == "api_price_ratio":
        api = ask(**base).option("api")
        tokens, review = api.lines
        own = ask(**base).option("self-hosted").usd_per_month
        assert float(tokens.usd) * value + float(review.usd) == pytest.approx(float(own), rel=1e-4)
        return
    match name:
        case "gpu_usd_per_hour":
            base["self_hosted"] = L4.replace(gpu_usd_per_hour=value)
        case "hours_per_month":
            base["operations"] = Operations(hours_per_month=value)
        case "own_accepted":
            base["quality"] = base["quality"].replace(own_accepted=value)
        case "tokenizer_ratio":
            base["api"] = Api(model=HAIKU, tokenizer_ratio=value)
        case "training_usd":
            base["training"] = value
        case _:
            base["workload"] = base["workload"].replace(**{name: value})
    again = ask(**base)
    assert float(again.saving_usd_per_month) == pytest.approx(0, abs=0.05)


def test_the_volume_may_be_left_out_only_if_it_is_solved_for() -> None:
    unknown = Workload(input_tokens=600, output_tokens=15)
    with pytest.raises(SpecError, match="solve_for='requests_per_month'"):
        ask(workload=unknown)
    answer = ask(workload=unknown, solve_for="requests_per_month")
    assert answer.workload.requests_per_month == answer.solved.values[0]
    assert float(answer.saving_usd_per_month) == pytest.approx(0, abs=0.05)
    with pytest.raises(SpecError, match="did you mean 'requests_per_month'"):
        ask(solve_for="request_per_month")


def test_a_value_that_fits_nowhere_isn_t_taken_for_a_crossing() -> None:
    solved = ask(solve_for="input_tokens", workload=MAILS.replace(requests_per_month=1000.0)).solved
    assert all(value < 100_000 for value in solved.values)


def test_the_same_seed_gives_the_same_answer_another_nearly_the_same() -> None:
    first, again, other = ask(seed=1, scenarios=20_000), ask(seed=1, scenarios=20_000), ask(seed=2, scenarios=20_000)
    assert first == again
    assert first.likelihood.p_self_hosted_cheaper == pytest.approx(other.likelihood.p_self_hosted_cheaper, abs=0.02)


def test_far_below_and_far_above_break_even_there_is_no_doubt() -> None:
    assert ask(workload=MAILS.replace(requests_per_month=10_000.0)).likelihood.p_self_hosted_cheaper < 0.01
    assert ask(workload=MAILS.replace(requests_per_month=100e6)).likelihood.p_self_hosted_cheaper > 0.99


def test_the_probabilities_of_being_cheapest_add_up() -> None:
    odds = ask(other_apis=["openai/gpt-4o-mini"]).likelihood.p_cheapest
    assert sum(odds.values()) == pytest.approx(1)
    assert set(odds) == {"api", "self-hosted", "dedicated", "serverless", "openai/gpt-4o-mini"}


def test_the_distributions_and_assumptions_are_in_the_output() -> None:
    text = ask().details()
    for said in (
        "lognormal",
        "triangular",
        "operations.hours_per_month = 4.0",
        "P(self-hosting is cheaper)",
        "after 36",
        "L4 at runpod is 75 days old",
    ):
        assert said in text, said
    assert "operations.hours_per_month" not in ask(operations=Operations(hours_per_month=4)).details()


def test_an_answer_prints_in_about_ten_lines() -> None:
    text = str(ask(solve_for="gpu_usd_per_hour"))
    assert len(text.splitlines()) <= 10
    for said in ("P(self-hosting is cheaper)", "Break-even", "Payback", "Solved for", "runpod.io/pricing"):
        assert said in text, said
    assert "training is left out" in text  # a note that changes the reading
    assert "days old" not in text


def test_the_answer_is_plain_data_and_html_with_nothing_unescaped() -> None:
    answer = ask(api=Api(model="me/<b>x</b>", input_usd_per_mtok=1, output_usd_per_mtok=5, source="<script>"))
    assert json.loads(json.dumps(answer.to_dict()))["options"][0]["usd_per_month"] == 675
    assert "<script>" not in answer.to_html()
    assert "<b>x</b>" not in answer.to_html()


def test_an_unknown_price_is_refused_and_nothing_costs_zero() -> None:
    with pytest.raises(SpecError, match="claude-haiku-4-5"):
        ask(api="anthropic/claude-haiku-4-6")
    with pytest.raises(SpecError, match="sold by"):
        ask(self_hosted=L4.replace(gpu="H200", provider="lambda"))
    with pytest.raises(SpecError, match="only half of the price"):
        ask(api=Api(model=HAIKU, input_usd_per_mtok=1))
    with pytest.raises(SpecError, match="modal has no GPU"):
        ask(serverless=Serverless(gpu="RTX4090"))


def test_serverless_is_billed_at_serverless_prices() -> None:
    line = ask(serverless=Serverless(provider="runpod", gpu="RTX4090")).option("serverless").lines[0]
    assert "at $1.10" in line.detail  # a pod is $0.74
    line = ask(serverless=Serverless(provider="runpod")).option("serverless").lines[0]
    assert "L4 at $0.69" in line.detail
    assert "L4 at $0.672" in ask(serverless=Serverless(provider="gcp")).option("serverless").lines[0].detail


@pytest.mark.parametrize("provider", ["aws", "lambda", "together", "huggingface"])
def test_a_provider_whose_gpus_never_stop_isn_t_serverless(provider: str) -> None:
    with pytest.raises(SpecError, match="doesn't sell GPUs that stop when idle; gcp, modal, runpod do"):
        ask(serverless=Serverless(provider=provider, gpu="H100"))
    own_price = Serverless(provider=provider, gpu="H100", gpu_usd_per_hour=Decimal(3))
    assert ask(serverless=own_price).option("serverless").lines[0].source == "given in the call"


@pytest.mark.parametrize("requests", [1e5, 6e6, 60e6])
@pytest.mark.parametrize("gpu", ["H100", "A100-80GB"])
def test_the_placement_left_open_is_the_cheapest_of_all(gpu: str, requests: float) -> None:
    traffic = Workload(requests_per_month=requests, input_tokens=1500, output_tokens=300)

    def usd(**placement: Any) -> Decimal:
        own = SelfHosted(model="meta-llama/Llama-3.3-70B-Instruct", gpu=gpu, provider="runpod", **placement)
        answer = ask(workload=traffic, self_hosted=own, dedicated=None, serverless=None)
        return answer.option("self-hosted").usd_per_month

    assert usd() == min(usd(gpus_per_replica=gpus) for gpus in (1, 2, 4, 8))


def test_the_break_even_volume_holds_where_the_placement_changes() -> None:
    own = SelfHosted(model="meta-llama/Llama-3.3-70B-Instruct", gpu="H100", provider="runpod")
    base: dict[str, Any] = {"self_hosted": own, "api": "openai/gpt-4o", "dedicated": None, "serverless": None}
    unknown = Workload(input_tokens=1500, output_tokens=300)
    answer = ask(workload=unknown, solve_for="requests_per_month", **base)
    assert answer.break_even_requests
    assert float(answer.saving_usd_per_month) == pytest.approx(0, abs=1)


def test_other_apis_keep_their_own_acceptance() -> None:
    quality = Quality(api_accepted=0.9, own_accepted=0.9, rejected="review", review_usd=Decimal("0.05"))
    mini = Api(model="openai/gpt-4o-mini", accepted=0.6)
    answer = ask(quality=quality, other_apis=[mini, "openai/gpt-6-luna"])
    review = {one.name: line.usd for one in answer.options for line in one.lines if line.label == "review"}
    assert review["openai/gpt-4o-mini"] == 4 * review["api"] == 4 * review["openai/gpt-6-luna"]
    assert any("openai/gpt-6-luna is assumed to be accepted as often" in note for note in answer.notes)
    with pytest.raises(SpecError, match=r"Quality\(api_accepted"):
        ask(api=mini)


def test_a_default_option_that_can_t_be_priced_is_left_out_with_a_note() -> None:
    answer = ask(self_hosted=L4.replace(gpu="RTX4090"))
    assert "serverless" not in {option.name for option in answer.options}
    assert any("no serverless option" in note for note in answer.notes)


def test_your_own_prices_and_measurements_replace_ours() -> None:
    shape = ModelShape(name="mine", params_b=3, layers=30, kv_heads=8, head_dim=128)
    own = SelfHosted(
        model="mine/private",
        gpu="L4",
        provider="runpod",
        shape=shape,
        requests_per_s_per_replica=10,
        gpu_usd_per_hour=Decimal("0.3"),
    )
    answer = ask(self_hosted=own, dedicated=Dedicated(gpu_usd_per_hour=Decimal(2)), operations=NO_PEOPLE)
    assert answer.option("self-hosted").usd_per_month == Decimal(219)
    assert answer.option("self-hosted").capacity.limited_by == "measured"
    assert answer.option("dedicated").lines[0].source == "given in the call"


@settings(max_examples=25, deadline=None)
@given(st.floats(1e3, 1e8), st.floats(1.0, 3.0), st.floats(1, 20))
def test_cost_never_falls_when_volume_length_or_peak_rises(requests: float, factor: float, peak: float) -> None:
    base = Workload(requests_per_month=requests, input_tokens=500, output_tokens=50, peak_to_mean=peak)
    changes = [
        {"requests_per_month": requests * factor},
        {"input_tokens": 500 * factor},
        {"output_tokens": 50 * factor},
        {"peak_to_mean": peak * factor},
    ]
    before = ask(workload=base, scenarios=100)
    for change in changes:
        after = ask(workload=base.replace(**change), scenarios=100)
        for option in ("api", "self-hosted", "dedicated"):
            assert after.option(option).usd_per_month >= before.option(option).usd_per_month - Decimal("0.01"), (
                option,
                change,
            )


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_picture_is_drawn_and_the_same_answer_draws_the_same_file(tmp_path: Path, ending: str) -> None:
    answer = ask()
    first, second = (answer.plot(tmp_path / f"{n}.{ending}").read_bytes() for n in (1, 2))
    assert first[:4] in (b"\x89PNG", b"<?xm")
    if ending == "png":
        assert first == second
    else:
        assert b"claude-haiku-4-5" in first or b"<path" in first


def test_the_picture_says_in_its_title_what_was_found() -> None:
    # Text in an SVG is drawn as outlines; its glyphs can't be read back, so the title's function is asked.
    from ftsdk.cost.comparison.figure import title

    assert (
        title(ask()) == "Self-hosting beats anthropic/claude-haiku-4-5 from 1.69M requests a month"
    )  # (715.40 + 300 + 125) / 0.675 per 1,000
    never = ask(
        api="openai/gpt-6-luna",
        self_hosted=L4.replace(requests_per_s_per_replica=0.05),
        dedicated=None,
        serverless=None,
    )
    assert title(never) == "openai/gpt-6-luna is cheaper than self-hosting at every volume"


def test_a_picture_needs_an_ending_that_says_how(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"one of \.svg, \.png, \.pdf"):
        ask().plot(tmp_path / "picture.docx")


def test_cost_questions_load_no_chart_library_or_numpy_early() -> None:
    code = (
        "import sys, ftsdk.cost as c; c.SelfHosted; print([m for m in ('numpy', 'matplotlib', 'genai_prices', 'torch') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ})
    assert done.stdout.strip() == "[]"


def test_a_model_of_your_own_generates_its_reasoning_too() -> None:
    capacities = [
        ask(self_hosted=L4.replace(reasoning_tokens=tokens)).option("self-hosted").capacity for tokens in (0.0, 500.0)
    ]
    quick, slow = (one.requests_per_s for one in capacities if one is not None)
    assert slow < quick / 3
