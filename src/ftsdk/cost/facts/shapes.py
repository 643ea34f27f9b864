"""The shape of a model as estimates need it.

From its files if they are here, else from a table, else from its size, with its origin.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Literal, cast

from ftsdk.models import ModelFacts

__all__ = ["Shape", "billion_in_name", "known_shapes", "shape_from_size", "shape_named", "shape_of"]

_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:[._]\d+)?)([BbMm])(?![A-Za-z0-9])")
_EXPERTS_IN_NAME = re.compile(r"(?<![A-Za-z0-9])\d+[Ee](?![A-Za-z0-9])")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a model, in numbers and not in billions."""

    name: str
    parameters: float
    matmul_parameters: float
    """Those that are multiplied with: all but an embedding that is only looked up.

    Of a mixture of experts the active ones.
    """
    layers: int
    width: int
    inner: int
    vocabulary: int
    ties_embeddings: bool
    kv_heads: int | None = None
    """Heads of keys and values: fewer than those of queries where these share them; None: not known."""
    head_dim: int | None = None
    context: int | None = None
    """The context window, in tokens; None: not known."""
    slowdown: float = 1.0
    """How much longer its published code keeps a device busy than that of common models.

    A cost of the model, not of the device.
    """
    origin: Literal["files", "table", "size"]
    """Where the sizes come from: the model's own files, the package's table, or the number in its name."""

    @property
    def key_width(self) -> int:
        """Outputs of the key and of the value product; the whole width where the heads aren't known."""
        return self.kv_heads * self.head_dim if self.kv_heads and self.head_dim else self.width

    @property
    def embedding_parameters(self) -> float:
        """Parameters of the embedding and the output head, which 4-bit loading leaves alone."""
        return self.vocabulary * self.width * (1 if self.ties_embeddings else 2)


def shape_of(facts: ModelFacts) -> Shape | None:
    """Return the shape from the model's files, the table, its config or its name; None if none of them has its size."""
    if facts.parameters:
        found = _from_files(facts, facts.parameters)
    else:
        found = shape_named(facts.name)
        counted = _counted(facts) if found is None else None
        if counted is not None:
            found = _from_files(facts, counted)
    if found is not None:
        listed = shape_named(facts.name)
        return found if listed is None else replace(found, slowdown=listed.slowdown)
    billion = facts.parameters / 1e9 if facts.parameters else billion_in_name(facts.name)
    return None if billion is None else shape_from_size(facts.name, billion)


def shape_named(name: str) -> Shape | None:
    """Return the shape of a known model by its hub id, that of its instruction-tuned sibling included."""
    return _table().get(_plain(name))


def known_shapes() -> tuple[Shape, ...]:
    """Return the shapes of the table, each once, by their hub ids."""
    return tuple({shape.name: shape for shape in _table().values()}.values())


def billion_in_name(name: str) -> float | None:
    """Return the billions of parameters in a model's name, such as 7 for `Mistral-7B-Instruct-v0.3`.

    None if it has none.
    """
    if _EXPERTS_IN_NAME.search(name):
        return None  # `17B-16E`: the 17 billion are the active ones, and the name doesn't have the total
    sizes = [
        float(number.replace("_", ".")) * (1 if unit in "Bb" else 1e-3) for number, unit in _SIZE_IN_NAME.findall(name)
    ]
    return max(sizes) if sizes else None


def active_billion_in_name(name: str) -> float | None:
    """Read from the name of a mixture of experts how much of it works on one token: 3 for `Qwen3.5-35B-A3B`."""
    found = re.search(r"(?<![A-Za-z0-9])[Aa](\d+(?:\.\d+)?)[Bb](?![A-Za-z0-9])", name)
    return float(found.group(1)) if found else None


def shape_from_size(name: str, billion: float) -> Shape:
    """Return a shape guessed from the size, as in models of the Llama family.

    Parameters = 12 x layers x width^2, width = 128 x layers.

    Args:
        name: Name of the model.
        billion: Parameters in billions.
    """
    layers = max(4, round((billion * 1e9 / 12 / 128**2) ** (1 / 3)))
    width = max(64, int(math.sqrt(billion * 1e9 / 12 / layers)) // 64 * 64)
    return Shape(
        name=name,
        parameters=billion * 1e9,
        matmul_parameters=(active_billion_in_name(name) or billion) * 1e9,
        layers=layers,
        width=width,
        inner=int(2.7 * width),
        vocabulary=128_000 if billion > 0.3 else 49_152,
        ties_embeddings=billion < 4,
        origin="size",
    )


def _from_files(facts: ModelFacts, parameters: int) -> Shape | None:
    width, layers = facts.hidden_size, facts.num_hidden_layers
    if not width or not layers:
        return shape_named(facts.name)
    vocabulary, ties = facts.vocab_size or 32_000, bool(facts.tie_word_embeddings)
    return Shape(
        name=facts.name,
        parameters=float(parameters),
        matmul_parameters=float(max(1, parameters - (0 if ties else vocabulary * width))),
        layers=layers,
        width=width,
        inner=facts.intermediate_size or int(2.7 * width),
        vocabulary=vocabulary,
        ties_embeddings=ties,
        kv_heads=facts.num_key_value_heads,
        head_dim=facts.head_dim,
        context=facts.max_position_embeddings,
        origin="files",
    )


def _counted(facts: ModelFacts) -> int | None:
    """Count the parameters by the config, where the weights aren't here or are packed.

    Attention, a gated MLP, the embeddings.
    """
    width, layers, inner, vocabulary = (
        facts.hidden_size,
        facts.num_hidden_layers,
        facts.intermediate_size,
        facts.vocab_size,
    )
    heads, kv_heads, head_dim = facts.num_attention_heads, facts.num_key_value_heads, facts.head_dim
    if not (width and layers and inner and vocabulary and heads and kv_heads and head_dim):
        return None
    layer = 3 * width * inner + 2 * width * head_dim * (heads + kv_heads)
    found = layers * layer + vocabulary * width * (1 if facts.tie_word_embeddings else 2)
    named = billion_in_name(facts.name)
    # Of a mixture of experts only one would be counted; its name has the total.
    return None if named is not None and found < 0.75e9 * named else found


def _plain(name: str) -> str:
    tail = name.rsplit("/", 1)[-1].lower()
    return re.sub(r"[-_](instruct|chat|it|hf|base)\b", "", tail).replace("_", ".")


@functools.cache
def _table() -> dict[str, Shape]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load(
        (resources.files("ftsdk.cost.facts") / "shapes.yaml").read_text(encoding="utf-8"), Loader=loader
    )
    found: dict[str, Shape] = {}
    for row in cast("list[dict[str, Any]]", data["models"]):
        shape = Shape(
            name=row["hub"],
            parameters=row["parameters_b"] * 1e9,
            matmul_parameters=row["matmul_b"] * 1e9,
            layers=row["layers"],
            width=row["width"],
            inner=row["inner"],
            vocabulary=row["vocabulary"],
            ties_embeddings=row["ties"],
            kv_heads=row.get("kv_heads"),
            head_dim=row.get("head_dim"),
            context=row.get("context"),
            slowdown=row.get("slowdown", 1.0),
            origin="table",
        )
        found[_plain(row["hub"])] = shape
        if "also" in row:
            found[_plain(row["also"])] = shape
    return found
