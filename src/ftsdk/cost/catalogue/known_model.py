"""A model of the catalogue, and its licence."""

from __future__ import annotations

import functools
from datetime import date
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field

from ftsdk._rich_text import rich_text
from ftsdk.cost.facts.shapes import Shape, shape_from_size, shape_named
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest

__all__ = ["KnownModel", "Licence", "find_model", "known_models", "model_named"]

Source = Annotated[str, Field(pattern=r"^https://\S+$")]
Day = Annotated[date, Field(strict=False)]


class Licence(Value):
    """What a licence asks for, as far as it was read: no legal advice."""

    name: str
    commercial: bool | None
    """Whether it allows commercial use; None: it has terms of its own that weren't read, so read them."""
    conditions: tuple[str, ...] = ()
    """What it asks for beyond keeping its text and notices."""
    max_users_millions: float | None = None
    """Monthly users of the licensee beyond which it doesn't hold."""
    name_begins_with: str | None = None
    """How the name of a tuned model that is distributed has to begin."""
    excluded_regions: tuple[str, ...] = ()
    """Where it grants no rights to whoever lives or is based there: `EU`."""
    source: Source
    read: Day
    """The day on which the source was read."""


class KnownModel(Value):
    """A model that is fine-tuned, with what is known of it. What no source said is None."""

    hub: str
    """Its id on the hub."""
    family: str
    kind: Literal["base", "instruct"]
    """Whether it was trained to answer, or only to continue text."""
    instruct: str | None = None
    """Of a base model: its sibling that answers."""
    thinking: Literal["always", "optional"] | None = None
    """Whether it writes its reasoning before the answer. None: it doesn't, or no source says so."""
    system_role: bool | None = None
    template: str | None = None
    """What is special about its chat template."""
    licence: Licence
    also: Licence | None = None
    """A further licence that binds: that of the model it was made from."""
    gated: bool | None = None
    """Whether its terms have to be accepted on the hub before it can be downloaded."""
    parameters_b: float
    """Parameters in billions; of a mixture of experts, all of them."""
    active_b: float | None = None
    """Of a mixture of experts, the billions of parameters that work on one token."""
    context: int | None = None
    """The context window, in tokens."""
    year: int
    """In which it was released."""
    tuned_at: tuple[str, ...] = ()
    """Services whose catalogue names it, at a price by its size or by its name."""
    source: Source
    more_sources: tuple[Source, ...] = ()
    """Further sources, such as that of its template."""
    read: Day

    @property
    def licences(self) -> tuple[Licence, ...]:
        """The licences that bind."""
        return (self.licence,) if self.also is None else (self.licence, self.also)

    @property
    def allows_commercial_use(self) -> bool | None:
        """Whether every licence allows it; None: one has terms that weren't read."""
        found = [licence.commercial for licence in self.licences]
        return None if None in found else all(found)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the licences ask for."""
        return tuple(condition for licence in self.licences for condition in licence.conditions)

    @property
    def shape(self) -> Shape:
        """Its sizes, from the table or guessed from its parameters."""
        return shape_named(self.hub) or shape_from_size(self.hub, self.parameters_b)

    def __str__(self) -> str:
        size = f"{self.parameters_b:.3g}B" + (f", {self.active_b:.3g}B active" if self.active_b else "")
        names = " and ".join(licence.name for licence in self.licences)
        traits = [
            self.kind,
            *([f"thinks: {self.thinking}"] if self.thinking else []),
            *(["gated"] if self.gated else []),
        ]
        context = "" if self.context is None else f", {self.context:,} tokens"
        return f"{self.hub} ({size}{context}; {', '.join(traits)}; {names})"

    __rich__ = rich_text


@functools.cache
def known_models() -> tuple[KnownModel, ...]:
    """Return the models of the catalogue."""
    import yaml

    text = (resources.files("ftsdk.cost.catalogue") / "models.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    licences = {name: Licence(name=name, **_dated(row)) for name, row in data["licences"].items()}
    return tuple(_model(row, licences) for row in data["models"])


def find_model(hub: str) -> KnownModel | None:
    """Return the model with this hub id; None if the catalogue hasn't got it."""
    return next((model for model in known_models() if model.hub.lower() == hub.lower()), None)


def model_named(hub: str) -> KnownModel:
    """Return the model with this hub id.

    Raises:
        SpecError: The catalogue hasn't got it.
    """
    found = find_model(hub)
    if found is None:
        names = [model.hub for model in known_models()]
        raise SpecError(f"the catalogue has no {hub!r}{nearest(hub, names)}; `ftsdk models list` shows all")
    return found


def _model(row: dict[str, Any], licences: dict[str, Licence]) -> KnownModel:
    fields = _dated(row)
    shape = shape_named(fields["hub"])
    if shape is not None:
        fields.setdefault("parameters_b", round(shape.parameters / 1e9, 3))
        if shape.context is not None:
            fields.setdefault("context", shape.context)
    named: dict[str, Any] = {key: licences[fields.pop(key)] for key in ("licence", "also") if key in fields}
    return KnownModel(**fields, **named)


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
