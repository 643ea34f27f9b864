"""What the Modal backend decides, without a network and without loading torch or modal."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk import BudgetExceededError, Dataset, FineTuneJob, FullFineTune, LoRA, Modal, QLoRA, UnsupportedSpecError
from ftsdk.backends.launchers.modal.gpus import offers, read_gpus
from ftsdk.backends.launchers.modal.image import pinned
from ftsdk.backends.launchers.modal.limits import GRACE_S, MIN_USEFUL_S, STARTUP_S, run_limits, worst_case_usd
from ftsdk.cost import PriceBook
from ftsdk.protocol import Plan


def data(n: int = 500, *, words: int = 0) -> Dataset:
    return Dataset.from_rows([{"q": f"question {i}" + " word" * words, "a": "yes"} for i in range(n)]).as_chat(
        prompt="{q}", completion="{a}"
    )


def plan(backend: Modal | None = None, **changes: Any) -> Plan:
    return FineTuneJob(
        **{"model": "example/Tiny-7B-Instruct", "train": data(), "backend": backend or Modal(), **changes}
    ).plan()


def refusal(backend: Modal, **changes: Any) -> dict[str, Any]:
    with pytest.raises(UnsupportedSpecError) as caught:
        plan(backend, **changes)
    return {gap.field: gap for gap in caught.value.gaps}


def chosen(made: Plan) -> dict[str, Any]:
    return {a.field: (a.chosen, a.reason) for a in made.adjustments}


# GPUs.


@pytest.mark.parametrize(
    ("gpu", "sent", "processes"),
    [
        ("H100", ["H100"], 1),
        ("h100:8", ["H100:8"], 8),
        ("H100!", ["H100!"], 1),
        (["H100:2", "A100-80GB:2"], ["H100:2", "A100-80GB:2"], 2),
        ("B200+", ["B200+"], 1),
    ],
)
def test_gpus_are_asked_for_as_modal_writes_them(gpu: Any, sent: list[str], processes: int) -> None:
    launch = plan(Modal(gpu=gpu)).request["launch"]
    assert (launch["gpu"], launch["processes"], launch["device"]) == (sent, processes, "cuda")


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ("H1000", "did you mean 'H100'"),
        ("A10:8", "1 to 4 of A10"),
        ("H100:0", "1 to 8 of H100"),
        ([], "names no GPU"),
        (["H100:2", "A100-80GB"], "same count"),
        (["cpu", "H100"], "no alternatives"),
        ("H100:8:2", "Modal rents no"),
    ],
)
def test_gpus_that_cannot_be_had_are_refused_with_what_can(gpu: Any, said: str) -> None:
    gap = refusal(Modal(gpu=gpu))["backend.gpu"]
    assert said in gap.reason
    assert gap.offered


@given(st.text(max_size=12))
def test_no_text_breaks_the_reading_of_gpus(text: str) -> None:
    choices, gaps = read_gpus(text, offers())
    assert len(choices) + len(gaps) == (0 if text == "cpu" else 1)


def test_alternatives_are_planned_for_the_weakest_of_them() -> None:
    made = plan(Modal(gpu=["H100", "T4"]), model="example/Tiny-135M")
    assert made.request["training"]["dtype"] == "float16"
    assert made.request["training"]["micro_batch_size"] == 2


def test_a_gpu_is_chosen_by_memory_and_the_plan_says_why() -> None:
    small, large = chosen(plan(model="example/Tiny-135M")), chosen(plan(model="example/Large-70B", tuning=LoRA()))
    assert small["backend.gpu"][0] == "L4"
    assert "margin for error" in small["backend.gpu"][1]
    assert "from its name" in small["backend.gpu"][1]
    assert offers().gpus[large["backend.gpu"][0]].memory_gib >= 180


def test_quantised_weights_take_a_smaller_gpu_and_whole_ones_a_larger() -> None:
    book = offers()

    def memory_of_choice(tuning: Any) -> float:
        return book.gpus[chosen(plan(model="example/Mid-32B", tuning=tuning))["backend.gpu"][0]].memory_gib

    assert memory_of_choice(QLoRA()) < memory_of_choice(LoRA())


def test_what_fits_on_no_gpu_is_refused_with_the_sum() -> None:
    gap = refusal(Modal(), model="example/Huge-70B", tuning=FullFineTune())["backend.gpu"]
    assert "trained states" in gap.reason
    assert "B300" in gap.reason


def test_a_model_of_unknown_size_gets_a_large_gpu_and_the_plan_says_so() -> None:
    gpu, reason = chosen(plan(model="example/mystery"))["backend.gpu"]
    assert gpu == "A100-80GB"
    assert "doesn't contain its size" in reason


LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"


@pytest.mark.parametrize(
    ("model", "tuning", "words", "gpu", "at_once"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", LoRA(), 100, "L4", 4),
        (LLAMA_8B, LoRA(), 100, "L4", 4),
        (LLAMA_8B, LoRA(), 1200, "H100", 16),
        (LLAMA_8B, QLoRA(), 100, "A100-80GB", 16),
        # Weights, gradients and moments in 32 bits are 120 GiB.
        (LLAMA_8B, FullFineTune(), 100, "B200", 16),
        (LLAMA_8B, FullFineTune(), 1200, "B200", 16),
        (LLAMA_70B, QLoRA(), 100, "B200", 16),
        # 131 GiB of weights.
        (LLAMA_70B, LoRA(), 1200, "B200", 4),
    ],
)
def test_the_gpu_is_the_one_that_a_careful_colleague_would_take(
    model: str, tuning: Any, words: int, gpu: str, at_once: int
) -> None:
    made = plan(model=model, tuning=tuning, train=data(3000, words=words), epochs=3)
    assert made.request["launch"]["gpu"] == [gpu]
    assert made.request["training"]["micro_batch_size"] == at_once
    assert made.estimate is not None
    assert made.estimate.memory is not None
    assert made.estimate.memory.verdict == "fits"
    assert made.estimate.seconds is not None
    assert made.estimate.seconds.high < made.request["launch"]["timeout_s"]


def test_what_modal_calls_a100_is_planned_for_as_the_one_with_40_gib() -> None:
    made = plan(Modal(gpu="A100"))
    assert made.hardware is not None
    assert (made.hardware.name, made.hardware.memory_gib) == ("A100-40GB", 40)
    assert made.request["launch"]["gpu"] == ["A100"]


@pytest.mark.parametrize(
    ("gpu", "changes", "told"),
    [
        (
            "H100:8",
            {"tuning": FullFineTune()},
            "each of the 8 devices holds all of it. Take LoRA() or QLoRA(), a larger gpu= or a smaller model",
        ),
        ("L40S", {"tuning": LoRA()}, "Take QLoRA(), a larger gpu= or a smaller model"),
        (
            "L40S",
            {"tuning": QLoRA(), "train": data(50, words=30_000)},
            "Take shorter rows (max_length=), a larger gpu= or a smaller model",
        ),
    ],
)
def test_a_plan_likely_to_run_out_of_memory_says_so_first(gpu: str, changes: dict[str, Any], told: str) -> None:
    made = plan(Modal(gpu=gpu), model=LLAMA_70B, **changes)
    note = next(line for line in str(made).splitlines() if line.startswith("Note: "))
    assert note.startswith("Note: the training will likely run out of memory: about ")
    assert told in note
    assert "even one row" in chosen(made)["micro_batch_size"][1]


# Limits.


@pytest.mark.parametrize(
    ("options", "field", "offered"),
    [
        ({"timeout_s": 86_401}, "backend.timeout_s", 86_400),
        ({"timeout_s": 0}, "backend.timeout_s", 1),
        ({"max_attempts": 12}, "backend.max_attempts", 11),
        ({"max_attempts": 0}, "backend.max_attempts", 1),
        ({"nodes": 33, "gpu": "H100:8"}, "backend.nodes", 32),
        ({"nodes": 2, "gpu": "H100"}, "backend.gpu", "H100:8"),
        ({"nodes": 2, "gpu": "cpu"}, "backend.nodes", 1),
        ({"cpu": 0.01}, "backend.cpu", 0.125),
    ],
)
def test_a_limit_of_modal_is_refused_with_the_nearest_that_can_be_had(
    options: dict[str, Any], field: str, offered: Any
) -> None:
    assert refusal(Modal(**options))[field].offered == (offered,)


def test_two_hosts_of_eight_are_sixteen_processes() -> None:
    made = plan(Modal(gpu="H100:8", nodes=2))
    assert (made.request["launch"]["nodes"], made.request["launch"]["processes"]) == (2, 16)
    assert any("never tested on Modal itself" in note for note in made.notes)


def test_every_option_changes_the_request_and_rebuilds_the_backend() -> None:
    base = plan(Modal()).request["launch"]
    options: dict[str, Any] = {
        "gpu": ["H100", "A100-80GB"], "cpu": 8.0, "memory_gib": 99.0, "region": "us",
        "timeout_s": 1234, "max_attempts": 2,
        "environment": "dev", "volume": "mine", "secret": "huggingface",
    }  # fmt: skip
    for name, value in options.items():
        backend = Modal(**{name: value})
        assert plan(backend).request["launch"] != base, name
        assert dict(backend.options) == {name: value}
        assert plan(Modal(**backend.options)) == plan(backend)


# Money.


def test_the_budget_is_a_hard_cap_on_the_worst_case() -> None:
    made = plan(Modal(gpu="H100"), budget_usd=10)
    launch, cost = made.request["launch"], made.cost
    assert cost is not None
    worst = worst_case_usd(launch["timeout_s"], launch["max_attempts"], Decimal(launch["usd_per_s"]))
    assert cost.high <= worst <= 10
    assert launch["total_s"] * Decimal(launch["usd_per_s"]) <= 10
    assert "budget_usd=10 buys" in chosen(made)["backend.timeout_s"][1]


@given(
    budget=st.decimals(min_value="0.01", max_value=1000, places=2),
    rate=st.decimals(min_value="0.0001", max_value="0.02", places=5),
    timeout=st.none() | st.integers(1, 86_400),
    attempts=st.none() | st.integers(1, 11),
)
def test_no_budget_is_ever_exceeded_by_the_worst_case(
    budget: Decimal, rate: Decimal, timeout: int | None, attempts: int | None
) -> None:
    try:
        limits = run_limits(
            budget_usd=budget, usd_per_s=rate, timeout_s=timeout, max_attempts=attempts, default_timeout_s=3600
        )
    except BudgetExceededError:
        assert worst_case_usd(timeout or MIN_USEFUL_S, attempts or 1, rate) > budget - rate
        return
    assert worst_case_usd(limits.timeout_s, limits.max_attempts, rate) <= budget
    assert limits.total_s * rate <= budget
    assert (timeout or limits.timeout_s, attempts or limits.max_attempts) == (limits.timeout_s, limits.max_attempts)
    assert limits.timeout_s >= (timeout or MIN_USEFUL_S)


def test_a_budget_below_one_useful_attempt_is_refused_with_its_cost() -> None:
    with pytest.raises(BudgetExceededError, match=r"one useful attempt.*\$\d+\.\d\d.*Raise the budget"):
        plan(Modal(gpu="H100:8"), budget_usd=1)


def test_named_attempts_are_kept_or_refused_but_never_fewer() -> None:
    assert plan(Modal(gpu="L4", max_attempts=5), budget_usd=20).request["launch"]["max_attempts"] == 5
    with pytest.raises(BudgetExceededError, match="max_attempts=11"):
        plan(Modal(gpu="H100", max_attempts=11), budget_usd=2)


def test_a_training_that_cannot_be_paid_at_its_fastest_is_refused() -> None:
    with pytest.raises(BudgetExceededError, match="at its fastest"):
        plan(Modal(gpu="A100-80GB"), train=data(5000), epochs=300, budget_usd=3)


def test_prices_follow_region_nodes_cpu_and_memory() -> None:
    def rate(**options: Any) -> Decimal:
        return Decimal(
            plan(Modal(**{"gpu": "A10", "cpu": 4.0, "memory_gib": 32.0, **options})).request["launch"]["usd_per_s"]
        )

    plain = rate()
    assert plain == Decimal("0.000306") + 4 * Decimal("0.0000131") + 32 * Decimal("0.00000222")
    assert rate(region="us") == plain * Decimal("1.5")
    assert rate(region="us-west") == plain * Decimal("1.75")
    assert rate(gpu="A10:2") - plain == Decimal("0.000306")
    assert rate(cpu=5.0) - plain == Decimal("0.0000131")
    assert rate(memory_gib=33.0) - plain == Decimal("0.00000222")
    assert rate(gpu="H100") > rate(gpu="H100!"), "an H100 may be served by an H200, and its price sets the limits"


def test_every_price_has_a_day_and_is_exact() -> None:
    for gpu in offers().gpus.values():
        assert gpu.price.as_of.year == 2026
        assert 0 < gpu.usd_per_s <= gpu.ceiling_usd_per_s
        assert isinstance(gpu.usd_per_s, Decimal)


def test_the_seconds_around_an_attempt_are_counted() -> None:
    assert worst_case_usd(600, 2, Decimal("0.001")) == Decimal("0.001") * (2 * (STARTUP_S + 600 + GRACE_S) + STARTUP_S)


# The image.


def test_the_image_has_the_versions_of_this_machine() -> None:
    image = plan(Modal(gpu="L4")).request["launch"]["image"]
    assert image["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert image["source"] is True
    assert any(p.startswith("pydantic==") for p in image["packages"])
    assert not any("+" in p for p in image["packages"])


def test_installed_packages_are_pinned_and_other_extras_left_out() -> None:
    there = {"torch": "2.13.0+cpu", "httpx": "0.28.1"}
    wanted = (
        "httpx>=0.27",
        "torch>=2.6; extra == 'local'",
        "peft>=0.18; extra == 'local'",
        "modal<1.7; extra == 'modal'",
    )
    assert pinned(wanted, there.get) == {"httpx": "httpx==0.28.1", "torch": "torch==2.13.0", "peft": "peft>=0.18"}


# Models of this machine.


def test_a_local_model_travels_and_is_named_as_the_worker_finds_it(model_of_headers: Path) -> None:
    request = plan(Modal(gpu="L4"), model=str(model_of_headers)).request
    assert request["training"]["model"]["id"] == "./inputs/model/model"
    assert request["inputs"] == {"inputs/model/model": str(model_of_headers)}


def test_a_hub_model_stays_a_hub_model() -> None:
    request = plan(Modal(gpu="L4")).request
    assert request["training"]["model"]["id"] == "example/Tiny-7B-Instruct"
    assert "inputs" not in request


PLANNING = """
import sys
from ftsdk import Dataset, FineTuneJob, Modal
train = Dataset.from_rows([{"q": "a", "a": "b"}]).as_chat(prompt="{q}", completion="{a}")
FineTuneJob(model="example/Tiny-7B", train=train, backend=Modal()).plan()
print(sorted({"modal", "torch", "transformers", "grpclib"} & set(sys.modules)))
"""


def test_planning_loads_neither_modal_nor_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PLANNING], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prices_come_from_the_price_book_and_a_price_of_ones_own_counts() -> None:
    listed = PriceBook.load().price("modal", "gpu/L4")
    assert offers().gpus["L4"].usd_per_s == listed.usd
    dearer = PriceBook.load(overrides=[listed.replace(usd=2 * listed.usd)])
    assert offers(dearer).gpus["L4"].usd_per_s == 2 * listed.usd
    assert offers(dearer).gpus["L4"].ceiling_usd_per_s == 2 * listed.usd
    assert offers(dearer).gpus["T4"] == offers().gpus["T4"]
