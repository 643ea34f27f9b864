"""What a training depends on, as typed values: written into the plan by `translate`, read by the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ftsdk.spec import SFT, EarlyStopping, Method, Model, OptimizerName, Privacy, Value

__all__ = ["TrainingRequest", "TuningRequest"]

Steps = Annotated[int, Field(ge=1)]


class TuningRequest(Value):
    """A tuning with every number decided."""

    kind: str
    rank: Annotated[int, Field(ge=1)] | None = None
    alpha: float | None = None
    dropout: float | None = None
    target_modules: str | tuple[str, ...] | None = None
    """Names of layers, a regular expression for whole names, or `"all-linear"`."""
    layers: tuple[int, ...] | None = None
    """Numbers of the blocks that get adapters; None: all."""
    rank_stabilized: bool = False
    """Whether the scale is alpha / sqrt(rank)."""
    init: Literal["random", "pissa", "olora"] = "random"
    virtual_tokens: Annotated[int, Field(ge=1)] | None = None
    """Positions that stand before every row."""
    init_text: str | None = None
    dora: bool | None = None
    double_quantization: bool | None = None

    @property
    def adapts(self) -> bool:
        """Whether the weights stay frozen beside an adapter."""
        return self.kind != "full"

    @property
    def quantizes(self) -> bool:
        """Whether the frozen weights are held in 4 bits."""
        return self.double_quantization is not None


class TrainingRequest(Value):
    """Every option of a training."""

    model: Model
    base_folder: str | None = None
    """The folder of an adapter's base model on the machine that planned the run; see `ftsdk.models.base_folder`."""
    method: Method
    tuning: TuningRequest
    device: Literal["cpu", "cuda", "mps"]
    processes: Annotated[int, Field(ge=1)]
    sharding: Literal["none", "full"] = "none"
    """Whether each process has the whole model, or a share of it."""
    dtype: Literal["bfloat16", "float16", "float32"]
    attention: str
    epochs: float
    max_steps: Steps | None = None
    total_steps: Steps
    """Optimizer steps of the whole run, if nothing stops it earlier."""
    batch_size: Steps
    micro_batch_size: Steps
    accumulation_steps: Steps
    packed_tokens: Steps | None = None
    """Most tokens at once where the rows of a step are packed, with what they share computed once; None: padded rows.
    """
    learning_rate: float
    schedule: str
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    optimizer: OptimizerName = "adamw"
    max_length: Steps | None = None
    """In tokens; None: what the tokenizer and the model allow."""
    max_truncated: float
    seed: int
    eval_steps: Steps | None = None
    checkpoint_steps: Steps
    early_stopping: EarlyStopping | None = None
    budget_usd: float | str | None = None
    train: str
    """Fingerprint of the rows."""
    validation: str | None = None

    @property
    def privacy(self) -> Privacy | None:
        """What differential privacy it is trained with; None: without."""
        return self.method.privacy if isinstance(self.method, SFT) else None

    @classmethod
    def read(cls, request: Mapping[str, Any]) -> Self:
        """Read a request from a run's folder, of today or older.

        Raises:
            SpecError: It has an unknown or impossible field.
        """
        return cls.from_dict(request)
