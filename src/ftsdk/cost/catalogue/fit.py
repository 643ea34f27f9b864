"""On which cards a model of the catalogue is trained, computed from its sizes."""

from __future__ import annotations

from dataclasses import replace

from ftsdk.cost.catalogue.known_model import KnownModel
from ftsdk.cost.facts.devices import Device, known_devices
from ftsdk.cost.training.job_memory import loss_of, memory_of_tuning
from ftsdk.cost.training.memory import peak_memory, verdict
from ftsdk.spec import SFT, FullFineTune, LoRA, QLoRA, Tuning

__all__ = ["fits_in", "smallest_card", "tunings_that_fit"]

_ROW_TOKENS = 2048
"""Tokens of the one row at a time that has to fit."""
_TUNINGS: tuple[Tuning, ...] = (FullFineTune(), LoRA(), QLoRA())


def fits_in(model: KnownModel, tuning: Tuning, memory_gib: float, *, row_tokens: int = _ROW_TOKENS) -> bool:
    """Return whether one device trains a model, one row at a time, with a margin of error."""
    # As SFT holds its logits: what compares answers takes more.
    memory = replace(memory_of_tuning(tuning, precision=None, longest_tokens=row_tokens), loss=loss_of(SFT()))
    return verdict(peak_memory(memory, model.shape), memory_gib) == "fits"


def tunings_that_fit(model: KnownModel, memory_gib: float) -> tuple[str, ...]:
    """Return the kinds of tuning that fit into one device, the ones that train most first: full, lora, qlora."""
    return tuple(tuning.kind for tuning in _TUNINGS if fits_in(model, tuning, memory_gib))


def smallest_card(model: KnownModel, tuning: Tuning) -> Device | None:
    """Return the card with the least memory that trains a model; None: no single one does."""
    cards = sorted((d for d in known_devices() if d.memory_gib), key=lambda d: (d.memory_gib or 0, d.name))
    return next((card for card in cards if fits_in(model, tuning, card.memory_gib or 0)), None)
