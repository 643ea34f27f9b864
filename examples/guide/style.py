"""Write about products in the style of a house, and have the texts judged without knowing who wrote them.

    python examples/guide/style.py              (a quarter of an hour on two fast cores)
    python examples/guide/style.py --small      (a minute or two; shows that it works, not how good it gets)

A part of a style can be checked by rules; whether a text is good can't. So the rules decide here, and the last step is
the blind comparison: by a person, or by a model that judges if GUIDE_API_KEY is set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from steps import BUDGET_USD, DATA, USD_PER_HOUR, Arguments, frontier, heading, show, show_costs
from style_rules import CLOSING, FACTS, house_rules

from ftsdk import SFT, Dataset, Endpoint, Eval, FineTuneJob, Gate, LoRA, Model
from ftsdk.cost import Situation, Workload, advise, api_price
from ftsdk.evals import Example, evaluate, prompted, read_results, targets
from ftsdk.evals.judges import pairwise_judge

SYSTEM = "Write about the product in our house style."
CAREFUL = f"""You write about products for a house that makes few things and makes them well.
Begin with the product's name. Write 25 to 75 words. Speak to the reader as "you". Name the material, the size and the
care, in the words that you are given. Be plain: no superlatives, no exclamation marks. End with a line of its own:
{CLOSING}"""
WORKLOAD = Workload(requests_per_month=2_000, input_tokens=60, output_tokens=90, peak_to_mean=6)
NEEDED = 0.9
"""Share of the rules that a text has to keep, on average. 45 texts can't show more than 91%, however good they are."""


def as_chat(table: Dataset) -> Dataset:
    """Return products with what is asked about them, and their text as the answer."""
    facts = "{name}, {kind}: {material}; {size}; {colour}; it {use}; care: {care}"
    return table.as_chat(system=SYSTEM, prompt=facts, completion="{text}")


def keeps_the_rules(row: dict[str, object]) -> bool:
    """Return whether a text that somebody wrote keeps the rules itself."""
    facts = {column: row[column] for column in FACTS}
    return house_rules(Example([], "", facts), str(row["text"])).value == 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Go the whole way."""
    asked = Arguments.read("Write about products in the style of a house.", arguments)

    heading("1. The data")
    table = Dataset.from_file(DATA / "products.jsonl")
    show(as_chat(table).report())
    cleaned = table.clean("encoding").clean("exact_duplicates")
    # No report knows the rules of the house; the scorer does. It finds the loud texts, and those that were cut off.
    kept = cleaned.filter(keeps_the_rules)
    texts = as_chat(kept).clean("quality")
    show(
        f"{len(table)} texts came; {len(table) - len(cleaned)} were repeats, {len(cleaned) - len(kept)} break the "
        f"rules of the house, {len(kept) - len(texts)} more have faults; {len(texts)} are left."
    )
    # Texts about products of one name stay together, so that the test asks for names that the model hasn't seen.
    train, validation, test = texts.split(validation=0.1, test=0.2, seed=7, group="name")
    if asked.small:
        train, validation, test = train.sample(16, seed=7), validation.sample(3, seed=7), test.sample(4, seed=7)

    heading("2. Does prompting do it already?")
    limit = 24 if asked.small else 140
    base, *_ = targets(Model(id=asked.model))
    examples = train.sample(1 if asked.small else 3, seed=1)
    others = [prompted(base, system=CAREFUL, examples=examples, name="few-shot"), *frontier(CAREFUL, examples)]
    # On the validation part: who tries prompts on the test part chooses the one that suits it.
    tried = Eval.of(validation, house_rules, name="style", columns=FACTS, max_new_tokens=limit)
    show(evaluate([tried], [base, *others], into=asked.folder / "style", title="prompting", budget_usd=BUDGET_USD))

    heading("3. The plan, and what it costs")
    job = FineTuneJob(
        name="guide-style",
        model=asked.model,
        train=train,
        validation=validation,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16, dropout=0.0),
        epochs=1 if asked.small else 4,
        batch_size=8,
        learning_rate=1e-3,
        backend=asked.backend,
    )
    show(job.plan())
    estimate = job.estimate(usd_per_hour=USD_PER_HOUR)
    show(estimate)
    show(
        advise(
            Situation(
                task="style",
                workload=WORKLOAD,
                api="anthropic/claude-haiku-4-5",
                has_metric=True,
                examples=len(texts),
                tried=("prompt", "few-shot", "base-model"),
                needed_score=NEEDED,
            )
        )
    )

    heading("4. The run")
    run = job.submit()
    run.wait()

    heading("5. Ship it?")
    against = {target.name: target for target in others}
    style = Eval.of(test, house_rules, name="style", columns=FACTS, max_new_tokens=limit)
    gate = Gate(metric="style", at_least=NEEDED, better_than="few-shot")
    # A text is accepted if it keeps all rules.
    report = run.evaluate([style], against=against, gate=gate, budget_usd=BUDGET_USD, usd_per_hour=USD_PER_HOUR)
    show(report)
    assert report.folder is not None
    answers = read_results(report.folder / "style" / "tuned.jsonl")
    for rule in answers[0].parts:
        show(f"  {rule:<28}{sum(answer.parts[rule] for answer in answers):>4.0f} of {len(answers)}")
    show(f"\nThe facts: {answers[0].prompt.splitlines()[-1]}\nThe text:  {answers[0].output}")

    heading("6. Which text is better, if nobody knows who wrote it?")
    prompted_answers = read_results(report.folder / "style" / "few-shot.jsonl")
    if "GUIDE_API_KEY" in os.environ:
        judge = Endpoint(
            url=os.environ["GUIDE_API_URL"],
            model=os.environ["GUIDE_API_MODEL"],
            api_key_env="GUIDE_API_KEY",
            price=api_price(os.environ.get("GUIDE_API_PRICE", "anthropic/claude-haiku-4-5")).token_price(),
        )
        question = f"Which text fits this house better? Its rules: {CAREFUL}"
        preference = pairwise_judge(judge, question, budget_usd=BUDGET_USD)
        show(preference.compare(prompted_answers, answers, into=report.folder / "preference"))
    else:
        show("By the rules alone: see how often the tuned model scored higher, in the report above.")
    show(f"You judge, in shuffled pairs without names: ftsdk eval compare {run.ref}@few-shot {run.ref}@tuned --human")

    heading("7. What went wrong in training, if anything?")
    show(run.diagnose())

    heading("8. What do a thousand texts cost?")
    show_costs(report, "style", training=estimate, workload=WORKLOAD, assumed_api=NEEDED)
    show("\nTo export or serve the model, see docs/how-to/serve-and-evaluate.md.")


if __name__ == "__main__":
    main()
