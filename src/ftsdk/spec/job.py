"""The specification of a fine-tune: what decides the weights, and nothing about where."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, model_validator

from ftsdk.spec.base import Usd, Value
from ftsdk.spec.dataset_ref import DatasetRef
from ftsdk.spec.method import DPO, SFT, Method
from ftsdk.spec.model import Model
from ftsdk.spec.tuning import FullFineTune, LoRA, Tuning

__all__ = ["EarlyStopping", "Hyperparameters", "JobSpec", "default_learning_rate"]


class EarlyStopping(Value):
    """Stop when the validation loss no longer falls, and keep the best weights. Needs validation data."""

    patience: Annotated[int, Field(ge=1)] = 2
    """Validations in a row without improvement before stopping."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """How much the loss must fall to count as improvement."""


class Hyperparameters(Value):
    """The fields that a `FineTuneJob` and its `JobSpec` share.

    A field that is None is the backend's to choose, and its plan says what it chose and why.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")] | None = None
    """A name for people, at most 40 letters, digits, dots, dashes and underscores."""
    method: Method = SFT()
    """What is learned: `SFT()` or `DPO()`."""
    tuning: Tuning = LoRA()
    """Which weights move: `LoRA()`, `QLoRA()`, `DoRA()` or `FullFineTune()`."""
    epochs: Annotated[float, Field(gt=0, le=1000)] = 3
    """Passes over the training data. 3 is the usual start for a few thousand rows (Alpaca, Zephyr, TRL's default)."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many optimizer steps, even if `epochs` asks for more."""
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    """Sequences per optimizer step, over all devices and accumulation steps (QLoRA used 16, section B.2)."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """Peak learning rate. None: by method and tuning, see `default_learning_rate` (2e-4 for SFT with LoRA)."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after warmup."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps over which the learning rate rises (QLoRA and Alpaca use 0.03)."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] | None = None
    max_grad_norm: Annotated[float, Field(ge=0)] | None = None
    """Gradients are clipped to this norm; 0 doesn't clip."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens per row; longer rows are cut at the end, counted and reported. None: as long as the model allows."""
    max_truncated: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the rows that may lose trained tokens to `max_length`; above it the run is refused."""
    packing: bool | None = None
    """Put several rows into one sequence."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of data order, adapter initialisation and dropout."""
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Number format of the computation. None: what the device is good at."""
    early_stopping: EarlyStopping | None = None
    eval_steps: Annotated[int, Field(ge=1)] | None = None
    """Measure validation loss every so many optimizer steps. None: at the end of each epoch."""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Keep a resumable checkpoint every so many optimizer steps."""
    budget_usd: Annotated[Usd, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})] | None = None
    """The most that the run may cost. Refused before the start if it could cost more, cancelled in flight if it does."""


class JobSpec(Hyperparameters):
    """What a backend gets: a job whose data is named by content, and nothing that points to one machine but the model."""

    model: Model
    train: DatasetRef
    validation: DatasetRef | None = None

    @model_validator(mode="after")
    def _pairs_that_fit(self) -> JobSpec:
        needs = "preference" if isinstance(self.method, DPO) else "chat"
        advice = (
            "DPO learns from pairs: use Dataset.as_preference(prompt=, chosen=, rejected=)"
            if needs == "preference"
            else "SFT learns from conversations: use Dataset.as_chat(...), or method=DPO() for preference rows"
        )
        for part, data in (("train", self.train), ("validation", self.validation)):
            if data is not None and data.format != needs:
                raise ValueError(f"method {self.method.kind!r} needs {needs} data; {part} ({data.name}) has {data.format} rows. {advice}")
        if self.validation is None:
            for field in ("early_stopping", "eval_steps"):
                if getattr(self, field) is not None:
                    raise ValueError(f"{field} needs validation data; pass validation=, for example from Dataset.split(validation=0.1)")
        if self.validation is not None and self.validation.fingerprint == self.train.fingerprint:
            raise ValueError("validation has the same rows as train, so its loss says nothing; use Dataset.split(validation=0.1)")
        return self


def default_learning_rate(method: SFT | DPO, tuning: Tuning) -> tuple[float, str]:
    """Give the learning rate for a job that sets none, and where it comes from.

    Returns:
        The peak learning rate, and a sentence with its source (all read 2026-11-23).
    """
    full = isinstance(tuning, FullFineTune)
    if isinstance(method, DPO):
        if full:
            return 5e-7, "Zephyr's DPO recipe for full fine-tuning (https://arxiv.org/abs/2310.16944, section 4)"
        return 5e-6, "Zephyr's DPO recipe with QLoRA (huggingface/alignment-handbook, config_qlora.yaml)"
    if full:
        return 2e-5, "Alpaca's and Zephyr's recipe for full fine-tuning (https://arxiv.org/abs/2310.16944, section 4)"
    return 2e-4, "QLoRA's recipe for models up to 13B (https://arxiv.org/abs/2305.14314, section B.2)"
