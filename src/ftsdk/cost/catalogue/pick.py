"""Which model to tune for a task: by licence, by what fits, and by the size that such tasks take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ftsdk._rich_text import rich_text
from ftsdk.cost.catalogue.fit import tunings_that_fit
from ftsdk.cost.catalogue.known_model import KnownModel, known_models
from ftsdk.cost.catalogue.services import services_that_tune
from ftsdk.cost.facts.devices import find_device
from ftsdk.errors import SpecError

__all__ = ["Picked", "Task", "pick_models"]

Task = Literal["classification", "extraction", "json", "style", "chat", "reasoning"]
_USUAL_B = {"classification": 1.7, "extraction": 4.0, "json": 4.0, "style": 8.0, "chat": 8.0, "reasoning": 14.0}
"""Billions of parameters that such tasks usually take after a fine-tune: judgement, as in `../advice/advice.yaml`."""
_TUNINGS = {"lora": "LoRA", "qlora": "QLoRA", "dora": "DoRA"}


@dataclass(frozen=True, kw_only=True)
class Picked:
    """A model that suits, and what to know of it."""

    model: KnownModel
    tuning: str | None
    """The tuning that fits the card and trains most; None: no card was named."""
    notes: tuple[str, ...]
    """Conditions of its licence and what is unusual about it."""

    def __str__(self) -> str:
        how = "" if self.tuning is None else f": {_TUNINGS.get(self.tuning, self.tuning)} fits"
        return "\n".join([f"{self.model}{how}", *(f"  {note}" for note in self.notes)])

    __rich__ = rich_text


def pick_models(
    task: Task,
    *,
    gpu: str | None = None,
    memory_gib: float | None = None,
    context: int | None = None,
    commercial: bool = True,
    users_millions: float = 0,
    own_name: bool = False,
    region: str | None = None,
    gated: bool = True,
    service: str | None = None,
    most_b: float | None = None,
    family: str | None = None,
    most: int = 3,
) -> tuple[Picked, ...]:
    """Return the models of the catalogue that suit a task, the best first.

    Answering models only. Nearest in size to what such tasks take, then the newest, then the one whose licence asks for
    least. An evaluation of your own overrules this.

    Args:
        task: What it will do.
        gpu: The card that trains it, such as `L4`.
        memory_gib: The memory of that card, in GiB, if its name isn't known.
        context: Tokens that it must be able to read; models of unknown context are left out then.
        commercial: Whether it will be used commercially; models whose terms weren't read are left out then.
        users_millions: Monthly users of your products, in millions.
        own_name: Whether the tuned model is distributed under a name that you choose freely.
        region: Where you live or are based, such as `EU`: a licence can exclude it.
        gated: Whether a model may be used whose terms have to be accepted on the hub.
        service: A service that tunes it, such as `together`.
        most_b: The most billions of parameters.
        family: Only this family.
        most: How many models are returned.

    Raises:
        SpecError: The task or the card isn't known.
    """
    if task not in _USUAL_B:
        raise SpecError(f"task must be one of {', '.join(_USUAL_B)}; got {task!r}")
    card = memory_gib if gpu is None else find_device(gpu).memory_gib
    found: list[Picked] = []
    for model in known_models():
        binds = model.licences
        if (
            model.kind == "base"
            or (commercial and model.allows_commercial_use is not True)
            or (not gated and model.gated)
            or any(one.max_users_millions is not None and users_millions > one.max_users_millions for one in binds)
            or (own_name and any(one.name_begins_with for one in binds))
            or (region is not None and any(region.upper() in one.excluded_regions for one in binds))
            or (context is not None and (model.context or 0) < context)
            or (most_b is not None and model.parameters_b > most_b)
            or (family is not None and model.family.lower() != family.lower())
            # What always thinks before it answers costs tokens where an answer is a word.
            or (model.thinking == "always" and task != "reasoning")
            or (service is not None and service not in services_that_tune(model))
        ):
            continue
        tunings = () if card is None else tunings_that_fit(model, card)
        adapters = [kind for kind in tunings if kind != "full"]
        if card is not None and not adapters:
            continue
        found.append(Picked(model=model, tuning=adapters[0] if adapters else None, notes=_notes(model)))
    usual = _USUAL_B[task]

    def distance(picked: Picked) -> tuple[bool, float, int, int]:
        model = picked.model
        steps = abs(math.log2(model.parameters_b / usual))
        thinks = task == "reasoning" and model.thinking is None
        return thinks, round(steps), -model.year, len(model.conditions)

    return tuple(sorted(found, key=distance)[:most])


def _notes(model: KnownModel) -> tuple[str, ...]:
    notes = [*model.conditions]
    if model.gated:
        notes.append("its terms have to be accepted on the hub, and HF_TOKEN set")
    if model.thinking == "optional":
        notes.append("it may think before it answers: tune and measure it in the mode that you will serve")
    if model.template is not None:
        notes.append(f"its template is {model.template}")
    return tuple(notes)
