"""Write in a house style: 1,200 texts, LoRA rank 32, 5 epochs. When does a model of your own pay, if at all?

    python examples/cost/style.py

A style is what prompts are worst at, so the reason to tune is quality; the volume of a marketing team is small, so the
reason not to host all day is money. Nothing is sent anywhere.
"""

from __future__ import annotations

from decimal import Decimal

from ftsdk.cost import Operations, Quality, SelfHosted, Workload, crossover

TEXT = {"input_tokens": 400, "output_tokens": 500}
EXAMPLES, EPOCHS = 1_200, 5


def main() -> None:
    """Bill the training, then compare for a small and a large volume."""
    tokens = EXAMPLES * EPOCHS * (TEXT["input_tokens"] + TEXT["output_tokens"])
    price = Decimal("0.34")
    billed = max(tokens / 1e6 * float(price), 4.0)
    print("1. The training\n")
    print(
        f"  Assumed: 400 tokens in and 500 out a text. {EXAMPLES:,} texts x {EPOCHS} epochs = {tokens / 1e6:.1f}M "
        "tokens;"
    )
    print(
        f"  at $0.34 per million (Qwen3.5-9B LoRA, together.ai, 2026-09-11) ${tokens / 1e6 * float(price):.2f}, so the "
        f"$4 minimum: ${billed:.2f}."
    )
    print("  The guide's '$50-200 managed' holds for jobs of 150M tokens and more.\n")

    quality = Quality(
        api_accepted=0.75, own_accepted=0.90, measured_on=100, rejected="review", review_usd=Decimal("1.50")
    )
    people = Operations(hours_per_month=2, setup_hours=16)
    for volume in (2_000, 200_000):
        print(f"2. {volume:,} texts a month; an editor puts right what isn't accepted, two minutes each\n")
        print(
            "  Assumed: 75 of 100 are accepted from the prompted API, 90 of 100 from the tuned model, an editor's "
            "correction costs $1.50.\n"
        )
        answer = crossover(
            workload=Workload(requests_per_month=volume, **TEXT, peak_to_mean=6),
            api="anthropic/claude-haiku-4-5",
            self_hosted=SelfHosted(
                model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod", latency="server"
            ),
            training=billed,
            retrains_per_year=2,
            operations=people,
            quality=quality,
        )
        print(answer, "\n")
    print("3. What this says\n")
    print(
        "  The editor's time is nearly all of the cost: 15 accepted texts more in a hundred are worth $450 a month at "
        "2,000 texts, which is"
    )
    print(
        "  more than the tokens cost. At small volume a GPU that sleeps, or one shared by several adapters, carries "
        "the tuned model."
    )
    print(
        "  If the two were accepted equally often, the API would win at 2,000 texts by a wide margin: measure it "
        "before anything else."
    )


if __name__ == "__main__":
    main()
