"""Fill a JSON form: 2,500 pairs, LoRA rank 16, 4 epochs. $800 a month self-hosted against $3,000 for the API?

    python examples/cost/json_output.py

$3,000 is exactly a million requests (1,500 tokens in, 300 out) on Claude Haiku 4.5. On a small model of late 2026 the
same million costs $300, and the answer is the opposite. Nothing is sent anywhere.
"""

from __future__ import annotations

from decimal import Decimal

from ftsdk.cost import Api, Operations, Quality, SelfHosted, Workload, crossover

FORM = {"input_tokens": 1_500, "output_tokens": 300}
GUIDE_SELF_USD = Decimal(800)


def main() -> None:
    """Reproduce the guide's figures, then vary the API and count invalid output."""
    no_hours = Operations(hours_per_month=0, hours_per_retrain=0, setup_hours=0)
    two_cards = SelfHosted(
        model="mistralai/Mistral-7B-Instruct-v0.3",
        gpu="A100-40GB",
        provider="lambda",
        replicas=2,
        gpu_usd_per_hour=GUIDE_SELF_USD / 2 / 730,
    )
    print("1. The guide's own figures\n")
    print("  Assumed: 1,500 tokens in and 300 out. $800 a month is two GPUs at $0.548 an hour. No working hours are")
    print("  counted.\n")
    print(f"  {'API':<30}{'$ for 1M requests':>18}{'break-even with $800':>22}")
    for api in ("openai/gpt-4o", "anthropic/claude-haiku-4-5", "openai/gpt-4o-mini", "openai/gpt-6-luna"):
        answer = crossover(
            workload=Workload(requests_per_month=1_000_000, **FORM, peak_to_mean=3),
            api=api,
            self_hosted=two_cards,
            operations=no_hours,
            dedicated=None,
            serverless=None,
            scenarios=1_000,
        )
        even = answer.break_even_requests[0] if answer.break_even_requests else float("nan")
        print(f"  {api:<30}{answer.option('api').usd_per_month:>18,.0f}{f'{even / 1e6:.2f}M':>22}")
    print("\n  The guide's $3,000 is a million requests a month on Claude Haiku 4.5. On gpt-6-luna they cost $300, and")
    print("  the API is cheaper at that volume.")

    print("\n2. With retries of invalid output, working hours, retraining and list prices\n")
    print("  Assumed: 97 of 100 answers of the API and 99 of 100 of the tuned model are valid, and each invalid one is")
    print("  requested again. 60% of the prompt is the same each time: 900 tokens, fewer than Claude Haiku caches.\n")
    answer = crossover(
        workload=Workload(requests_per_month=1_000_000, **FORM, peak_to_mean=3, cached_input_share=0.6),
        api=Api(model="anthropic/claude-haiku-4-5"),
        self_hosted=SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L40S", provider="runpod", replicas=2),
        training=6,
        retrains_per_year=4,
        quality=Quality(api_accepted=0.97, own_accepted=0.99),
        other_apis=["openai/gpt-6-luna", "openai/gpt-4o-mini"],
        solve_for="requests_per_month",
    )
    print(answer)


if __name__ == "__main__":
    main()
