"""Sort mail into 8 categories: does a model of 135M parameters reach the 94% that a guide reports for prompting?

    python examples/guide/emails.py             (a quarter of an hour on two fast cores)
    python examples/guide/emails.py --small     (a minute or two; shows that it works, not how good it gets)

The whole way: look at the data and clean it, see whether prompting or constrained decoding does it already, plan,
train, compare, decide, and count the cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from steps import BUDGET_USD, DATA, USD_PER_HOUR, Arguments, frontier, heading, show, show_costs, without_leaks

from ftsdk import SFT, Dataset, Eval, FineTuneJob, Gate, LoRA, Model
from ftsdk.cost import Situation, Workload, advise
from ftsdk.evals import confusion_matrix, constrained, evaluate, prompted, read_results, targets

CATEGORIES = ("account", "advice", "billing", "delivery", "feedback", "returns", "technical", "warranty")
SYSTEM = f"Sort the mail into one category: {', '.join(CATEGORIES)}."
CAREFUL = f"""You sort the mail of a shop for lamps and kitchen machines. Answer with one category, and nothing else.
account: logging in, personal data, addresses, newsletters.
advice: questions before buying.
billing: charges, invoices, vouchers, money that hasn't come back.
delivery: where a parcel is, and how it gets to the customer.
feedback: praise, complaints and ideas that need no answer.
returns: sending something back, wrong goods, goods that were damaged on arrival.
technical: the app, pairing, updates, what a display says.
warranty: what broke after some time, repairs, spare parts.
{SYSTEM}"""
GUIDE_SHARE = 0.94
"""What a practitioner's guide reports for prompting a large model."""
WORKLOAD = Workload(requests_per_month=100_000, input_tokens=70, output_tokens=3, peak_to_mean=4)


def as_chat(table: Dataset) -> Dataset:
    """Return mails with what is asked about them, and their category as the answer."""
    return table.as_chat(system=SYSTEM, prompt="{text}\n\nCategory:", completion="{category}")


def one_of_each(mails: Dataset) -> Dataset:
    """Return one mail of each category, the shortest of those that aren't very short."""
    usual = sorted((row for row in mails if len(row["messages"][1]["content"]) > 80), key=lambda row: len(str(row)))
    first = {row["messages"][-1]["content"]: row for row in reversed(usual)}
    return Dataset.from_rows([first[category] for category in sorted(first)], name="examples")


def main(arguments: Sequence[str] | None = None) -> None:
    """Go the whole way."""
    asked = Arguments.read("Sort mail into 8 categories.", arguments)

    heading("1. The data")
    table = Dataset.from_file(DATA / "emails.jsonl")
    test = as_chat(Dataset.from_file(DATA / "emails_test.jsonl"))
    show(table.report())
    cleaned = (
        table.clean("empty", columns=["text"])
        .clean("encoding", "pii", "labels", column="category")
        .clean("exact_duplicates")
    )
    mails = as_chat(cleaned)
    show(mails.report(against={"test": test}))
    # The test mails were checked by two people and stay as they are; only the training mails are cleaned by a model.
    mails = without_leaks(mails, test).clean("label_errors")
    show(f"{len(table)} mails came, {len(mails)} are left to train on; {len(test)} checked ones are for the test.")
    train, validation, _ = mails.split(validation=0.1, seed=7)
    if asked.small:
        train, validation, test = train.sample(16, seed=7), validation.sample(4, seed=7), test.sample(8, seed=7)

    heading("2. Does prompting do it already?")
    base, *_ = targets(Model(id=asked.model))
    examples = one_of_each(train)
    few_shot = prompted(base, system=CAREFUL, examples=examples, name="few-shot")
    others = [few_shot, constrained(few_shot, choices=CATEGORIES), *frontier(CAREFUL, examples)]
    # On the validation part: who tries prompts on the test part chooses the one that suits it.
    tried = Eval.of(validation, "choice", name="accuracy", choices=CATEGORIES)
    show(evaluate([tried], [base, *others], into=asked.folder / "emails", title="prompting", budget_usd=BUDGET_USD))

    heading("3. The plan, and what it costs")
    job = FineTuneJob(
        name="guide-emails",
        model=asked.model,
        train=train,
        validation=validation,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16, dropout=0.0),
        epochs=1 if asked.small else 2,
        batch_size=8,
        learning_rate=1e-3,  # a small model: five times the default
        evals=[Eval.of(test, "choice", name="accuracy", choices=CATEGORIES, metric=["mean", "macro_f1"])],
        gate=Gate(metric="accuracy", at_least=GUIDE_SHARE, better_than="few-shot"),
        backend=asked.backend,
    )
    show(job.plan())
    estimate = job.estimate(usd_per_hour=USD_PER_HOUR)
    show(estimate)
    show(
        advise(
            Situation(
                task="classification",
                workload=WORKLOAD,
                api="anthropic/claude-haiku-4-5",
                has_metric=True,
                examples=len(mails),
                tried=("prompt", "few-shot", "structured-output", "base-model"),
                api_score=GUIDE_SHARE,
                needed_score=GUIDE_SHARE,
            )
        )
    )

    heading("4. The run")
    run = job.submit()
    run.wait()

    heading("5. Ship it?")
    against = {target.name: target for target in others}
    report = run.evaluate(against=against, budget_usd=BUDGET_USD, usd_per_hour=USD_PER_HOUR)
    show(report)
    assert report.folder is not None
    answers = read_results(report.folder / "accuracy" / "tuned.jsonl")
    show(confusion_matrix([answer.score for answer in answers]))
    for answer in [answer for answer in answers if answer.value < 1][:5]:
        mail = " ".join(answer.prompt.rpartition("user: ")[2].removesuffix("Category:").split())
        show(f"  {answer.expected} was taken for {answer.output.strip()!r}: {mail}")

    heading("6. What went wrong in training, if anything?")
    show(run.diagnose())

    heading("7. What do a thousand answers cost?")
    show_costs(report, "accuracy", training=estimate, workload=WORKLOAD, assumed_api=GUIDE_SHARE)
    show("\nTo export or serve the model, see docs/how-to/serve-and-evaluate.md.")


if __name__ == "__main__":
    main()
