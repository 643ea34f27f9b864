"""Write in a house style: 1,200 texts, LoRA rank 32, 5 epochs. When does a model of your own pay, if at all?

    python examples/cost/style.py

Style is what prompts do worst, so the reason to tune is quality. A marketing team's volume is small, so the reason not
to rent a GPU all month is money. Nothing is sent anywhere.
"""

from __future__ import annotations

from decimal import Decimal

from ftsdk.cost import Operations, Quality, SelfHosted, Workload, crossover

TEXT = {"input_tokens": 400, "output_tokens": 500}
EXAMPLES, EPOCHS = 1_200, 5
USD_PER_MTOK, LEAST_USD = 0.34, 4.0


def main() -> None:
    """Bill the training, then compare for a small and a large volume."""
    millions = EXAMPLES * EPOCHS * (TEXT["input_tokens"] + TEXT["output_tokens"]) / 1e6
    usd = USD_PER_MTOK * millions
    print("1. The training\n")
    print(
        f"  Assumed: 400 tokens in and 500 out per text. {EXAMPLES:,} texts x {EPOCHS} epochs = {millions:.1f}M tokens."
    )
    print(
        f"  At 0.34 US dollars per million (Qwen3.5-9B with LoRA, together.ai, 2026-09-11) they cost {usd:.2f}, so the"
    )
    print(
        f"  minimum of {LEAST_USD:.2f} is billed. The guide's '$50-200 managed' is for jobs of 150M tokens and more.\n"
    )

    quality = Quality(
        api_accepted=0.75, own_accepted=0.90, measured_on=100, rejected="review", review_usd=Decimal("1.50")
    )
    for volume in (2_000, 200_000):
        print(f"2. {volume:,} texts a month; an editor corrects what isn't accepted, two minutes each\n")
        print("  Assumed: 75 of 100 texts are accepted from the prompted API, and 90 of 100 from the tuned model. A")
        print("  correction costs $1.50.\n")
        answer = crossover(
            workload=Workload(requests_per_month=volume, **TEXT, peak_to_mean=6),
            api="anthropic/claude-haiku-4-5",
            self_hosted=SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod"),
            training=max(usd, LEAST_USD),
            retrains_per_year=2,
            operations=Operations(hours_per_month=2, setup_hours=16),
            quality=quality,
        )
        print(answer, "\n")
        for option in answer.options[:2]:
            review = next(line.usd for line in option.lines if line.label == "review")
            print(
                f"  {option.name}: {review:,.2f} of {option.usd_per_month:,.2f} US dollars a "
                "month are the editor's time"
            )
        print()
    print("3. What this means\n")
    print(
        "  Nearly all of the cost is the editor's time. 15 more accepted texts in a hundred are worth $450 a month at"
    )
    print(
        "  2,000 texts, which is more than the tokens cost. At small volumes, serve the tuned model on a GPU that stops"
    )
    print(
        "  when idle, or share one between several adapters. If both were accepted equally often, the API would be far"
    )
    print("  cheaper at 2,000 texts: measure acceptance before anything else.")


if __name__ == "__main__":
    main()
