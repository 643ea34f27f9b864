"""Situations as practitioners describe them, with what a practitioner would answer, and the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from ftsdk.cost import Api, OwnGpu, PriceBook, Situation, Workload, advise

pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")

BOOK = PriceBook.load(today=date(2026, 11, 27))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A situation in words and in figures, and the answer."""

    words: str
    task: str
    requests: float
    tokens: tuple[float, float]
    """Of a prompt and of an answer."""
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    verdict: str
    because: tuple[str, ...]
    """Texts that are among the reasons."""
    steps: tuple[str, ...] = ()
    """Texts that are among the next steps."""
    absent: tuple[str, ...] = ()
    """Texts that are nowhere in the advice."""


PROMPTED = ("prompt", "few-shot")
SETTLED = (*PROMPTED, "smaller-model", "larger-model", "base-model", "small-classifier")

CASES = {
    "prompt-first": Case(
        words=(
            "We sort support mails into twelve queues. A one-line prompt to Claude gets 82%, we want 90%, and "
            "somebody read that fine-tuning helps. There are 4,000 labelled mails."
        ),
        task="classification",
        requests=50_000,
        tokens=(500, 5),
        given={"api_score": 0.82, "needed_score": 0.90, "examples": 4000},
        verdict="prompt first",
        because=("not tried yet: prompt and few-shot",),
        steps=("write the best prompt you can",),
    ),
    "retrieval-for-changing-facts": Case(
        words=(
            "Our chat bot has to know prices and opening hours of 200 shops, which change every week. We would "
            "like to train them into a model."
        ),
        task="chat",
        requests=200_000,
        tokens=(800, 200),
        given={"tried": PROMPTED, "has_changing_facts": True, "examples": 5000, "api_score": 0.6, "needed_score": 0.9},
        verdict="retrieve first",
        because=("training doesn't keep facts up to date",),
        steps=("by retrieval",),
    ),
    "structured-output-for-json": Case(
        words=(
            "Five percent of the orders that GPT-4o extracts aren't valid JSON, so we plan a fine-tune on 3,000 "
            "pairs. We have a good prompt with examples, and never used a schema."
        ),
        task="json",
        requests=300_000,
        tokens=(1500, 300),
        given={"api": "openai/gpt-4o", "tried": PROMPTED, "api_score": 0.95, "needed_score": 0.99, "examples": 3000},
        verdict="prompt first",
        because=("structured output (a JSON schema",),
    ),
    "answers-outside-of-the-classes": Case(
        words=(
            "Haiku sorts 900,000 mails a month into eight queues, well prompted: 92% right, 5% with a sentence "
            "instead of a queue's name. We need 96% and plan a fine-tune, so that it keeps to the names."
        ),
        task="classification",
        requests=900_000,
        tokens=(500, 5),
        given={
            "tried": (*PROMPTED, "larger-model"),
            "api_score": 0.92,
            "invalid_share": 0.05,
            "needed_score": 0.96,
            "examples": 4000,
        },
        verdict="constrain first",
        because=("5% of the answers have the wrong form, which constrained decoding rules out",),
        steps=(
            "measure anthropic/claude-haiku-4-5 with its answers held to the classes (response_format)",
            'constrained(Endpoint(url=..., model="claude-haiku-4-5").target("api"), choices=labels)',
            "measure groq/openai/gpt-oss-20b with constrained decoding",
            "examples, about $",
        ),
        absent=("schema=",),
    ),
    "form-is-the-smaller-part-of-the-gap": Case(
        words=(
            "Of the orders that our API extracts, 3% don't fit the schema, also with structured output, and 12% "
            "more have a wrong field. We need 95%; open models as they are were no better."
        ),
        task="json",
        requests=300_000,
        tokens=(1500, 300),
        given={
            "tried": (*SETTLED, "structured-output"),
            "api_score": 0.85,
            "invalid_share": 0.03,
            "needed_score": 0.95,
            "examples": 3000,
        },
        verdict="fine-tune",
        because=("its answers held to a JSON schema", "form alone lifts them to 88% at most"),
        steps=("with constrained decoding", "schema=schema"),
    ),
    "the-base-model-held-to-a-schema-suffices": Case(
        words=(
            "Doctors' letters that may not leave, fields as JSON, a workstation with an RTX 4090. An open model of "
            "4B fits the schema always, decoded with it, and gets 97% of the letters right; 95% is needed."
        ),
        task="json",
        requests=20_000,
        tokens=(1200, 100),
        given={
            "tried": (*PROMPTED, "structured-output", "constrained-decoding"),
            "base_score": 0.97,
            "needed_score": 0.95,
            "examples": 2500,
            "must_self_host": True,
            "own_gpu": OwnGpu(gpu="RTX4090"),
        },
        verdict="use the base model",
        because=("an open model without tuning is good enough (97%, 95% needed): there is nothing to train",),
        steps=("its answers held to a JSON schema",),
        absent=("at an API", "openai/"),
    ),
    "nothing-to-measure-with": Case(
        words="The answers of our writing assistant feel off, and nobody has written down what a good one is.",
        task="style",
        requests=100_000,
        tokens=(400, 300),
        given={"has_metric": False, "tried": PROMPTED, "examples": 2000},
        verdict="measure first",
        because=("nothing shows yet which model is better",),
        steps=("make an Eval",),
    ),
    "cheaper-api-of-the-same-provider": Case(
        words=(
            "GPT-4o classifies 2 million mails a month at 97%, 95% would do, and the bill hurts. Should we "
            "train a small model of our own?"
        ),
        task="classification",
        requests=2_000_000,
        tokens=(600, 15),
        given={"api": "openai/gpt-4o", "tried": PROMPTED, "api_score": 0.97, "needed_score": 0.95, "examples": 3000},
        verdict="use the API",
        because=("a cheaper API, openai/gpt-6-luna",),
        steps=("measure openai/gpt-6-luna on the same examples",),
    ),
    "a-measured-api-closes-the-gap": Case(
        words="Haiku reaches 88% and we need 95%. We measured Sonnet too: 96%. Traffic is small.",
        task="extraction",
        requests=20_000,
        tokens=(1200, 150),
        given={
            "tried": (*PROMPTED, "larger-model"),
            "api_score": 0.88,
            "needed_score": 0.95,
            "examples": 2500,
            "other_apis": (Api(model="anthropic/claude-sonnet-5-5", accepted=0.96),),
        },
        verdict="use the API",
        because=("anthropic/claude-sonnet-5-5 is good enough (96%, 95% needed)",),
        steps=("move to anthropic/claude-sonnet-5-5",),
    ),
    "low-volume-stays-with-the-api": Case(
        words="The API is good enough, and we send 3,000 requests a month. Would our own model be cheaper?",
        task="extraction",
        requests=3_000,
        tokens=(1500, 200),
        given={"tried": SETTLED, "api_score": 0.97, "needed_score": 0.95, "examples": 2500},
        verdict="use the API",
        because=("it is good enough (97%, 95% needed)", "serverless GPUs are cheaper"),
        steps=("stay with the API",),
    ),
    "small-classifier-first": Case(
        words=(
            "Four million tickets a month, eight classes, 10,000 labelled ones. No API that we tried, large or "
            "small, gets beyond 91%, and we need 95%."
        ),
        task="classification",
        requests=4_000_000,
        tokens=(300, 3),
        given={
            "tried": (*PROMPTED, "smaller-model", "larger-model"),
            "api_score": 0.91,
            "needed_score": 0.95,
            "examples": 10_000,
        },
        verdict="fine-tune",
        because=("a small classifier (embeddings and logistic regression", "reaches 91%; 95% is needed"),
        steps=("a small classifier on embeddings", "train Qwen/Qwen3.5-0.8B first, the smallest"),
    ),
    "style-that-no-prompt-reaches": Case(
        words=(
            "Product texts in our brand's voice: 1,500 good ones by our editors. Prompts with twenty of them get "
            "70% past the editors, also with the largest models and open ones; we need 90%."
        ),
        task="style",
        requests=150_000,
        tokens=(500, 250),
        given={"tried": SETTLED, "api_score": 0.70, "needed_score": 0.90, "examples": 1500},
        verdict="fine-tune",
        because=("the API, prompted well, reaches 70%; 90% is needed",),
        steps=("train Qwen/Qwen3-4B first",),
        absent=("not tried",),
    ),
    "latency": Case(
        words=(
            "Autocomplete in our editor. The API's answers are good, but take 900 ms, and so do those of its "
            "small models; users stop waiting after 300 ms."
        ),
        task="extraction",
        requests=3_000_000,
        tokens=(300, 20),
        given={
            "tried": SETTLED,
            "api_score": 0.95,
            "needed_score": 0.9,
            "examples": 5000,
            "is_api_too_slow": True,
            "latency": "interactive",
        },
        verdict="fine-tune",
        because=("the API answers too slowly",),
    ),
    "cost-at-volume": Case(
        words=(
            "Haiku extracts fields from 60 million forms a month at 96%, where 95% is needed. Smaller and open "
            "models as they are didn't reach it. We have 5,000 checked forms."
        ),
        task="extraction",
        requests=60_000_000,
        tokens=(900, 60),
        given={"tried": SETTLED, "api_score": 0.96, "needed_score": 0.95, "examples": 5000},
        verdict="fine-tune",
        because=("P(self-hosting is cheaper) = 100%",),
        absent=("not tried",),
    ),
    "private-data-on-the-own-card": Case(
        words=(
            "Letters of patients, which may not leave the hospital. There is a workstation with an RTX 4090, and "
            "3,000 letters are labelled."
        ),
        task="extraction",
        requests=20_000,
        tokens=(1200, 100),
        given={
            "tried": PROMPTED,
            "examples": 3000,
            "must_self_host": True,
            "own_gpu": OwnGpu(gpu="RTX4090", price_usd=2500),
        },
        verdict="fine-tune",
        because=("the data may not leave", "served on your own RTX4090, and trained there: nothing leaves"),
        steps=("measure Qwen/Qwen3-1.7B as it is", "on your own GPU, without a bill"),
        absent=("runpod", "modal", "together", "openai/"),
    ),
    "private-data-on-a-card-known-by-its-memory": Case(
        words="Contracts that may not leave our office, a card with 24 GB, 1,000 of them annotated.",
        task="extraction",
        requests=5_000,
        tokens=(2000, 150),
        given={"tried": PROMPTED, "examples": 1000, "must_self_host": True, "gpu_memory_gb": 24},
        verdict="fine-tune",
        because=("served on your own 24 GB card, and trained there: nothing leaves",),
        absent=("runpod", "modal", "together"),
    ),
    "private-data-without-a-card": Case(
        words="The same contracts, and no GPU in the house.",
        task="extraction",
        requests=5_000,
        tokens=(2000, 150),
        given={"tried": PROMPTED, "examples": 1000, "must_self_host": True},
        verdict="fine-tune",
        because=("on GPUs that you rent: your data goes there", "serverless GPUs are cheaper"),
        steps=("ask again with its gpu_memory_gb", "serve it on GPUs that stop when idle"),
    ),
    "too-little-data": Case(
        words="We need our own tone for chat answers and have 60 good dialogues. Prompts don't get there.",
        task="chat",
        requests=100_000,
        tokens=(600, 150),
        given={"tried": SETTLED, "api_score": 0.6, "needed_score": 0.85, "examples": 60},
        verdict="collect data first",
        because=("60 examples; chat needs at least 1,000",),
        steps=("collect 5,000 examples",),
    ),
    "dpo-after-sft": Case(
        words=(
            "Users vote on answers: 8,000 pairs of a better and a worse one, no other examples. Can we start with "
            "DPO? The API's answers win 55% of the votes, we want 70%."
        ),
        task="chat",
        requests=500_000,
        tokens=(500, 200),
        given={"tried": SETTLED, "api_score": 0.55, "needed_score": 0.70, "preference_pairs": 8000},
        verdict="fine-tune",
        because=("DPO comes after SFT",),
    ),
    "too-few-pairs-for-dpo": Case(
        words="2,000 good answers and 120 pairs of a better and a worse one: SFT, DPO, or both?",
        task="style",
        requests=150_000,
        tokens=(500, 250),
        given={
            "tried": SETTLED,
            "api_score": 0.7,
            "needed_score": 0.9,
            "examples": 2000,
            "preference_pairs": 120,
        },
        verdict="fine-tune",
        because=("120 pairs are too few for DPO",),
        absent=("then DPO()",),
    ),
    "answers-of-a-closed-model-as-examples": Case(
        words=(
            "We logged 20,000 answers of GPT-4o and want to train a small model on them, since the bill has six "
            "digits. No cheaper API was as good."
        ),
        task="json",
        requests=30_000_000,
        tokens=(1500, 300),
        given={
            "api": "openai/gpt-4o",
            "tried": (*SETTLED, "structured-output"),
            "api_score": 0.96,
            "needed_score": 0.95,
            "examples": 20_000,
            "examples_by": "openai/gpt-4o",
        },
        verdict="fine-tune",
        because=("the examples were written by openai/gpt-4o, whose terms restrict",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_a_practitioner_s(name: str) -> None:
    case = CASES[name]
    requests, (tokens_in, tokens_out) = case.requests, case.tokens
    workload = Workload(requests_per_month=requests, input_tokens=tokens_in, output_tokens=tokens_out, peak_to_mean=3)
    given: dict[str, Any] = {"api": "anthropic/claude-haiku-4-5", "has_metric": True, **case.given}
    advice = advise(Situation(**{"task": case.task, "workload": workload, **given}), book=BOOK)
    assert advice.verdict == case.verdict, str(advice)
    reasons = "\n".join(reason.text for reason in advice.because)
    steps = "\n".join(advice.next_steps)
    for text in case.because:
        assert text in reasons, reasons
    for text in case.steps:
        assert text in steps, steps
    everything = advice.details()
    for text in case.absent:
        assert text not in everything, everything
    assert len(str(advice).splitlines()) <= 10


def test_dpo_is_written_after_sft() -> None:
    case = CASES["dpo-after-sft"]
    workload = Workload(requests_per_month=case.requests, input_tokens=500, output_tokens=200)
    given: dict[str, Any] = {"api": "anthropic/claude-haiku-4-5", "has_metric": True, **case.given}
    advice = advise(Situation(**{"task": "chat", "workload": workload, **given}), book=BOOK)
    assert advice.method == 'SFT(train_on="completion"), then DPO() on the 8,000 pairs'


def test_there_are_at_least_fifteen_situations_each_in_words() -> None:
    assert len(CASES) >= 15
    assert all(len(case.words) > 40 for case in CASES.values())
