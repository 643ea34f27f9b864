"""`memorisation`: how much of its training rows a model gives back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol

from ftsdk.errors import DatasetError
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import EvalData, Example, read_examples
from ftsdk.evals.generation import tools_of
from ftsdk.evals.suites.memorisation_scorers import (
    exposure,
    membership_auc,
    membership_loss,
    secrets_mean,
    verbatim,
)
from ftsdk.evals.suites.suite_rows import SuiteRows, chat_row
from ftsdk.spec.amounts import check_amount

__all__ = ["PlantedText", "memorisation"]


class PlantedText(Protocol):
    """A secret in the training rows; the members of `Dataset.canaries` fit."""

    @property
    def prompt(self) -> str:
        """What the row asks."""
        ...

    @property
    def secret(self) -> str:
        """What only a model that memorised the row answers."""
        ...

    @property
    def times(self) -> int:
        """How often the row is in the training data."""
        ...


def memorisation(
    train: EvalData,
    held_out: EvalData,
    *,
    canaries: Sequence[PlantedText] = (),
    references: int = 255,
    rows: int = 200,
    seed: int = 0,
) -> list[Eval]:
    """Return evals of what a model has memorised; lower is better in all of them.

    - `memorisation.membership`: how often a training row has a lower loss than a held-out one (AUC); 0.5 is chance.
    - `memorisation.extraction`: the longest run of characters of the reference in the answer, as a share, for training
      and held-out rows and canaries apart. Labels and other short answers are repeated by every good model: compare the
      training rows with the held-out ones.
    - `memorisation.exposure`, with canaries: how far each secret stands out from random ones of the same shape, in
      bits, by how often it was planted.

    Membership and exposure need a target that tells likelihoods (`CanMeasureLikelihood`).

    Args:
        train: Rows that the model was trained on.
        held_out: Rows of the same kind that it wasn't; rows that are in `train` too are left out.
        canaries: What was planted: `train.canaries`.
        references: Random secrets that each canary is compared with.
        rows: The most rows of each of `train` and `held_out` that are asked.
        seed: Decides which rows, and the random secrets.

    Raises:
        SpecError: A number out of range.
        DatasetError: Rows that aren't chat rows with an answer at the end, or no row that is held out.
    """
    check_amount("references", references, at_least=1, at_most=100_000, is_whole=True)
    check_amount("rows", rows, at_least=1, at_most=1_000_000, is_whole=True)
    for data in (train, held_out):
        if data.format != "chat":
            raise DatasetError(f"memorisation reads chat rows; these are {data.format} rows.", source=data.name)
    draw = random.Random(f"ftsdk memorisation {seed}")
    planted = {(one.prompt, one.secret) for one in canaries}
    members = {_key(one): one for one in read_examples(train)}
    ordinary = [one for one in members.values() if _asked(one) not in planted]
    others = list({_key(one): one for one in read_examples(held_out) if _key(one) not in members}.values())
    if not ordinary or not others:
        raise DatasetError(
            "memorisation needs training rows and others to compare them with; no row is held out."
            if ordinary
            else "memorisation needs training rows beside the canaries.",
            source=(held_out if ordinary else train).name,
            hint="Pass the test part of the split: memorisation(train, test).",
        )
    chosen = [
        *((one, "train") for one in _sample(ordinary, rows, draw)),
        *((one, "held out") for one in _sample(others, rows, draw)),
    ]
    own = [{**_row(one), "kind": kind, "is_member": kind == "train"} for one, kind in chosen]
    secrets = [chat_row(one.prompt, one.secret, kind="canary", is_member=True) for one in canaries]
    found = [
        Eval.of(
            SuiteRows("suite memorisation.membership", own),
            membership_loss,
            name="memorisation.membership",
            metric=membership_auc,
            columns=("is_member",),
        ),
        Eval.of(
            SuiteRows("suite memorisation.extraction", [*own, *secrets]),
            verbatim,
            name="memorisation.extraction",
            slices=("kind",),
        ),
    ]
    return [*found, _exposure(canaries, references, draw)] if canaries else found


def _exposure(canaries: Sequence[PlantedText], references: int, draw: random.Random) -> Eval:
    rows = [
        chat_row(one.prompt, text, canary=number, is_secret=text == one.secret, times=one.times)
        for number, one in enumerate(canaries)
        for text in (one.secret, *_like(one.secret, [other.secret for other in canaries], references, draw))
    ]
    return Eval.of(
        SuiteRows("suite memorisation.exposure", rows),
        exposure,
        name="memorisation.exposure",
        metric=secrets_mean,
        slices=("times",),
        group="canary",
        columns=("canary", "is_secret"),
    )


def _like(secret: str, secrets: Sequence[str], count: int, draw: random.Random) -> list[str]:
    """Return random texts of the shape of a secret: letters and digits are drawn anew from those of all secrets."""
    used = sorted({character for text in secrets for character in text if character.isalnum()})
    found: dict[str, None] = {}
    for _ in range(100 * count):
        if len(found) == count:
            break
        text = "".join(draw.choice(used) if one.isalnum() else one for one in secret)
        if text != secret:
            found[text] = None
    if len(found) < count:
        raise DatasetError(
            f"the secret {secret!r} is too short for {count} random ones of its shape.",
            hint="Pass fewer references, or plant longer secrets.",
        )
    return list(found)


def _sample(examples: Sequence[Example], count: int, draw: random.Random) -> list[Example]:
    return draw.sample(examples, min(count, len(examples)))


def _row(example: Example) -> dict[str, Any]:
    messages = [*example.prompt, {"role": "assistant", "content": example.expected}]
    return {"messages": messages, "tools": list(tools_of(example.prompt))}


def _key(example: Example) -> tuple[str, str]:
    return example.prompt_text, example.expected


def _asked(example: Example) -> tuple[str, str]:
    return str(example.prompt[-1].get("content")), example.expected
