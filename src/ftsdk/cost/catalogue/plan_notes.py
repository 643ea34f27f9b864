"""What a plan says about its model: conditions of its licence that matter, and a base model tuned as if it answered."""

from __future__ import annotations

from ftsdk.cost.catalogue.known_model import find_model
from ftsdk.spec import JobSpec

__all__ = ["model_notes"]


def model_notes(spec: JobSpec) -> tuple[str, ...]:
    """Return what is to be known of the spec's model; nothing of models that the catalogue hasn't got."""
    model = find_model(spec.model.id)
    if model is None:
        return ()
    notes: list[str] = []
    if model.conditions:
        names = " and ".join(licence.name for licence in model.licences if licence.conditions)
        read = max(licence.read for licence in model.licences)
        notes.append(
            f"the licence of {model.hub}, {names}: {'; '.join(model.conditions)} (read {read}; no legal advice)"
        )
    if model.kind == "base" and spec.model.chat_template is None:
        sibling = "" if model.instruct is None else f" Tune {model.instruct}, or"
        notes.append(
            f"{model.hub} is a base model: it has learned to continue text, not to answer, so a few hundred rows teach "
            f"it less than they teach a model that answers.{sibling or ' Tune a model that answers, or'} give it "
            "Model(chat_template=...) and more rows"
        )
    return tuple(notes)
