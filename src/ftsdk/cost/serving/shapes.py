"""Models, as far as serving depends on them: weights, keys and values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftsdk.cost.facts.formats import bytes_per_weight
from ftsdk.cost.facts.shapes import known_shapes, shape_named, shape_of
from ftsdk.errors import ModelError, SpecError
from ftsdk.models import inspect_model
from ftsdk.spec import Model, Value
from ftsdk.spec.base import nearest

__all__ = ["ModelShape", "Weights", "model_shape"]

Weights = Literal["bf16", "fp8", "int4", "fp4"]

_BYTES: dict[Weights, float] = {
    "bf16": bytes_per_weight("bf16"),
    "fp8": bytes_per_weight("fp8"),
    "int4": 0.53,  # a scale for each group of 128, and norms in 16 bits
    "fp4": bytes_per_weight("nvfp4"),
}


class ModelShape(Value):
    """A model, as far as serving depends on it.

    `model_shape` has common models and those on this machine; pass it for others.
    """

    name: str
    params_b: Annotated[float, Field(gt=0)]
    """Billions of parameters, all experts counted."""
    active_params_b: Annotated[float, Field(gt=0)] | None = None
    """Billions that work on one token, for mixtures of experts."""
    layers: Annotated[int, Field(gt=0)]
    kv_heads: Annotated[int, Field(gt=0)]
    head_dim: Annotated[int, Field(gt=0)]
    context_tokens: Annotated[int, Field(gt=0)] | None = None
    """The context window; None: not known."""

    def weight_bytes(self, weights: Weights) -> float:
        """Bytes of the weights in memory, with 5% for what is kept beside them."""
        return 1.05 * self.params_b * 1e9 * _BYTES[weights]

    def kv_bytes_per_token(self, weights: Weights) -> float:
        """Bytes of keys and values for one token; one byte a number with fp8 and fp4 weights, else two."""
        return 2 * self.layers * self.kv_heads * self.head_dim * (1 if weights in ("fp8", "fp4") else 2)

    @property
    def flops_per_token(self) -> float:
        """FLOPs of one forward pass over one token, attention left out."""
        return 2e9 * (self.active_params_b or self.params_b)


def model_shape(model: str) -> ModelShape:
    """Return a model's shape from the package's table, a folder, or the hub's cache on this machine.

    Never from the network.

    Raises:
        SpecError: It is in none of them.
    """
    asked = Model(id=model)
    found = shape_named(model) if asked.source == "hub" else None
    if found is None:
        try:
            found = shape_of(inspect_model(asked))
        except ModelError as error:
            raise SpecError(
                f"the shape of model {model!r} isn't known: {error} Or give SelfHosted(shape=ModelShape(...))"
            ) from error
    # Serving keeps keys and values in memory, whose size no number in a name tells.
    if found is None or found.kv_heads is None or found.head_dim is None:
        close = (
            nearest(model, {shape.name for shape in known_shapes() if shape.kv_heads}) if asked.source == "hub" else ""
        )
        raise SpecError(
            f"the shape of model {model!r} isn't known{close}. Give SelfHosted(shape=ModelShape(...)) from its "
            "config.json"
        )
    return ModelShape(
        name=model,
        params_b=found.parameters / 1e9,
        layers=found.layers,
        kv_heads=found.kv_heads,
        head_dim=found.head_dim,
        context_tokens=found.context,
    )
