"""Read a customer's message into a repair order: strict JSON, valid by a schema, with the right values in it.

    python examples/guide/json_extraction.py            (a quarter of an hour on two fast cores)
    python examples/guide/json_extraction.py --small    (a minute or two; shows that it works, not how good it gets)

Constrained decoding makes every answer valid, without any training. It doesn't make the values right. So both are
measured, from the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from steps import BUDGET_USD, DATA, USD_PER_HOUR, Arguments, frontier, heading, show, show_costs

from ftsdk import SFT, Dataset, Eval, FineTuneJob, Gate, LoRA, Model
from ftsdk.cost import Situation, Workload, advise
from ftsdk.evals import constrained, evaluate, prompted, read_results, targets

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "phone": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
        "device": {
            "type": "object",
            "properties": {
                "kind": {"enum": ["kettle", "toaster", "lamp", "radio", "fan", "mixer"]},
                "bought_on": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
            },
            "required": ["kind"],
            "additionalProperties": False,
        },
        "fault": {"enum": ["no_power", "noise", "leak", "smell", "broken_part"]},
        "urgency": {"enum": ["low", "normal", "high"]},
        "limit_eur": {"type": "number"},
        "visit": {
            "type": "object",
            "properties": {
                "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
                "time": {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"},
            },
            "required": ["date", "time"],
            "additionalProperties": False,
        },
    },
    "required": ["customer", "device", "fault", "urgency"],
    "additionalProperties": False,
}
SYSTEM = "Write the repair order as JSON."
CAREFUL = f"""You read messages of customers into repair orders. Answer with JSON on one line, and nothing else.
It has to fit this schema: {json.dumps(SCHEMA)}
Leave out what the message doesn't have. Urgency is "normal" unless the message has a word about it."""
WORKLOAD = Workload(requests_per_month=100_000, input_tokens=90, output_tokens=70, peak_to_mean=4)
NEEDED_VALID, NEEDED_FIELDS = 0.95, 0.9
"""What 92 messages can show; 99% takes about 420, all of them valid."""


def is_of_this_message(row: dict[str, Any]) -> bool:
    """Return whether an order has the name that the message has: some were typed in from another one."""
    *_, message, order = (said["content"] for said in row["messages"])
    return json.loads(order)["customer"]["name"].lower() in message.lower()


def evals_of(orders: Dataset, max_new_tokens: int | None) -> dict[str, Eval]:
    """Return what is measured. The second judges the answers to the first, as they have one name: none is asked twice.

    Args:
        orders: The examples.
        max_new_tokens: Longest answer; None: as long as the longest order.
    """
    asked: dict[str, Any] = {"name": "orders", "schema": SCHEMA, "max_new_tokens": max_new_tokens}
    return {
        "valid by the schema": Eval.of(orders, "json_schema", conformance_only=True, **asked),
        "right values": Eval.of(orders, "json_schema", **asked),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Go the whole way."""
    asked = Arguments.read("Read messages into repair orders.", arguments)

    heading("1. The data")
    table = Dataset.from_file(DATA / "repairs.jsonl")
    chats = table.as_chat(system=SYSTEM, prompt="{message}", completion="{order}")
    show(chats.report())
    # The phone numbers stay: the order must have them. The shop's customers agreed to that, and the model stays here.
    cleaned = chats.clean("encoding", "quality").clean("exact_duplicates")
    orders = cleaned.filter(is_of_this_message)
    show(
        f"{len(table)} orders came; {len(table) - len(cleaned)} were cleaned away, {len(cleaned) - len(orders)} more "
        f"belong to another message, {len(orders)} are left."
    )
    train, validation, test = orders.split(validation=0.1, test=0.2, seed=7)
    if asked.small:
        train, validation, test = train.sample(16, seed=7), validation.sample(3, seed=7), test.sample(4, seed=7)

    heading("2. Does prompting, or decoding that is held to the schema, do it already?")
    limit = 24 if asked.small else None
    base, *_ = targets(Model(id=asked.model))
    examples = train.sample(1 if asked.small else 3, seed=1)
    few_shot = prompted(base, system=CAREFUL, examples=examples, name="few-shot")
    others = [few_shot, constrained(few_shot, schema=SCHEMA), *frontier(CAREFUL, examples)]
    # On the validation part: who tries prompts on the test part chooses the one that suits it.
    for title, tried in evals_of(validation, limit).items():
        folder = asked.folder / "json"
        show(evaluate([tried], [base, *others], into=folder, title=f"prompting: {title}", budget_usd=BUDGET_USD))

    heading("3. The plan, and what it costs")
    job = FineTuneJob(
        name="guide-json",
        model=asked.model,
        train=train,
        validation=validation,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16, dropout=0.0),
        epochs=1 if asked.small else 2,
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
                task="extraction",
                workload=WORKLOAD,
                api="anthropic/claude-haiku-4-5",
                has_metric=True,
                examples=len(orders),
                tried=("prompt", "few-shot", "structured-output", "base-model"),
                needed_score=NEEDED_FIELDS,
            )
        )
    )

    heading("4. The run")
    run = job.submit()
    run.wait()

    heading("5. Ship it?")
    tuned = targets(run.base_model(), run.model())[1]
    against = {target.name: target for target in (*others, constrained(tuned, schema=SCHEMA))}
    gates = {
        "valid by the schema": Gate(metric="orders", at_least=NEEDED_VALID),
        "right values": Gate(metric="orders", at_least=NEEDED_FIELDS, better_than="few-shot+schema"),
    }
    reports = {
        title: run.evaluate(
            [item], against=against, gate=gates[title], budget_usd=BUDGET_USD, usd_per_hour=USD_PER_HOUR
        )
        for title, item in evals_of(test, limit).items()
    }
    for title, report in reports.items():
        show(f"\n{title}")
        show(report)
    report = reports["right values"]
    assert report.folder is not None
    answers = read_results(report.folder / "orders" / "tuned.jsonl")
    for name in sorted({name for answer in answers for name in answer.parts}):
        having = [answer.parts[name] for answer in answers if name in answer.parts]
        show(f"  {name:<20}{sum(having):>4.0f} of {len(having)} right")

    heading("6. What went wrong in training, if anything?")
    show(run.diagnose())

    heading("7. What do a thousand orders cost?")
    show_costs(report, "orders", training=estimate, workload=WORKLOAD, assumed_api=NEEDED_FIELDS)
    show("\nTo export or serve the model, see docs/how-to/serve-and-evaluate.md.")


if __name__ == "__main__":
    main()
