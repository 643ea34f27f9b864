"""The specification of a fine-tune: what decides the weights, and nothing about where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ftsdk.spec.base import OptionalPositiveUsd, Value, usd_default
from ftsdk.spec.dataset_ref import MAKING_ROWS, DatasetRef
from ftsdk.spec.method import METHODS, SFT, AnyMethod, LearningRate, Method
from ftsdk.spec.model import Model
from ftsdk.spec.other_words import INSTEAD_OF_WORD
from ftsdk.spec.tuning import AnyTuning, LoRA, Tuning

__all__ = ["EarlyStopping", "Hyperparameters", "JobFields", "JobSpec", "OptimizerName", "default_learning_rate"]

OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]
"""An optimizer, by how it holds its two moments of each trained weight."""


class EarlyStopping(Value):
    """Stop when the validation loss no longer falls, and keep the best weights. Needs validation data."""

    patience: Annotated[int, Field(ge=1)] = 2
    """Validations in a row without improvement before stopping."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """How much the loss must fall to count as improvement."""


class Hyperparameters(Value):
    """How to train: with model and data, what decides the weights.

    A field that is None is the backend's to choose, and its plan says what it chose and why.
    """

    other_words: ClassVar[Mapping[str, str]] = INSTEAD_OF_WORD

    method: Method = SFT()
    """What is learned, and from which data: `SFT()`; `DPO()`, `ORPO()` or `SimPO()`; `KTO()`."""
    tuning: Tuning = LoRA()
    """Which weights are trained: `LoRA()`, `QLoRA()`, `DoRA()`, `IA3()` or `FullFineTune()`; or, in place of weights,
    what stands before every row: `PromptTuning()`, `PrefixTuning()`."""
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
    optimizer: OptimizerName = "adamw"
    """AdamW in 32 bits; with moments of a byte each (https://arxiv.org/abs/2110.02861); or with moments that move to
    the host's memory when a GPU's runs out (QLoRA, section 3). All but the first are of bitsandbytes."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens per row; longer rows are cut at the end, counted and reported. None: as long as the model allows."""
    max_truncated: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of the rows that may lose trained tokens to `max_length`; with more, the run is refused."""
    packing: bool | None = None
    """Put several rows into one sequence."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of data order, adapter initialisation and dropout."""
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Number format of the computation. None: the fastest that the device supports well."""
    early_stopping: EarlyStopping | None = None
    eval_steps: Annotated[int, Field(ge=1)] | None = None
    """Measure the validation loss every this many optimizer steps. None: at the end of each epoch."""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Save a resumable checkpoint every this many optimizer steps."""


class JobFields(Hyperparameters):
    """The fields that a `FineTuneJob`, its file and its `JobSpec` share.

    Hyperparameters, and two that change no weight.

    `name` and `budget_usd` travel in the spec because a backend needs both when it plans: the one to label the run, the
    other to limit it where it runs.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")] | None = None
    """A display name of at most 40 letters, digits, dots, dashes and underscores."""
    budget_usd: OptionalPositiveUsd = usd_default(None)
    """The most that the run may cost, in US dollars. A run that could cost more isn't started; one that reaches it is
    cancelled."""


class JobSpec(JobFields):
    """What a backend receives: a job whose data is identified by content. Only a model's path may be this machine's."""

    model: Model
    train: DatasetRef
    validation: DatasetRef | None = None

    @model_validator(mode="after")
    def _pairs_that_fit(self) -> JobSpec:
        for part, data in (("train", self.train), ("validation", self.validation)):
            if data is not None and data.format != self.method.data_format:
                raise ValueError(f"{_mismatch(self.method, part, data)}. {_remedy(self.method, data)}")
        if self.validation is None:
            for field in ("early_stopping", "eval_steps"):
                if getattr(self, field) is not None:
                    raise ValueError(
                        f"{field} needs validation data; pass validation=, for example from "
                        "Dataset.split(validation=0.1)"
                    )
        if self.validation is not None and self.validation.fingerprint == self.train.fingerprint:
            raise ValueError(
                "validation has the same rows as train, so its loss says nothing; use Dataset.split(validation=0.1)"
            )
        return self


def _mismatch(method: Method, part: str, data: DatasetRef) -> str:
    return f"method {method.kind!r} needs {method.data_format} data; {part} ({data.name}) has {data.format} rows"


def _remedy(method: Method, data: DatasetRef) -> str:
    others = " or ".join(f"{other.__name__}()" for other in METHODS.values() if other.data_format == data.format)
    if data.format == "unpaired":  # shaping them anew would train on the bad answers too
        return f"Use method={others}, or the good answers alone: filter(lambda row: row['label']).as_chat(...)"
    return f"Use {MAKING_ROWS[method.data_format]}" + (f", or method={others} for {data.format} rows" if others else "")


def default_learning_rate(method: AnyMethod, tuning: AnyTuning) -> LearningRate:
    """Return the learning rate for a job that sets none, and its source.

    Returns:
        The peak learning rate, and a sentence with its source (all read 2026-11-23).
    """
    if tuning.usual_learning_rate is not None:
        return tuning.usual_learning_rate
    return method.learning_rates.adapter if tuning.adapts else method.learning_rates.full
