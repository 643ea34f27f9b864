"""`Fingerprint`: what a model was trained on, in numbers that its traffic is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from ftsdk._files import replace_file
from ftsdk._rich_text import rich_text
from ftsdk.data.labels import are_labels, class_of
from ftsdk.deploy.drift.embedding import Embedding
from ftsdk.deploy.drift.measures import TextMeasures, measure_texts, message_text
from ftsdk.deploy.drift.shares import length_class, length_edges
from ftsdk.deploy.drift.sketch import answer_bucket, decode_sketch
from ftsdk.errors import DatasetError, MissingExtraError
from ftsdk.spec import Value

if TYPE_CHECKING:
    from ftsdk.data import Dataset

__all__ = ["LEAST_ROWS", "Fingerprint", "Reference"]

LEAST_ROWS = 200
"""Fewer rows, in training or in a window, are never judged."""
OTHER = "(not a label)"
_MOST_ROWS = 20_000
_MOST_SLICES = 20


class Reference(Value):
    """One set of training rows in numbers: all of them, or those of a slice."""

    rows: int
    input_edges: tuple[int, ...] = ()
    """Where lengths are cut into classes, in characters."""
    input_lengths: dict[str, int] = Field(default_factory=dict[str, int])
    output_edges: tuple[int, ...] = ()
    output_lengths: dict[str, int] = Field(default_factory=dict[str, int])
    """Empty where the outputs are labels."""
    languages: dict[str, int] = Field(default_factory=dict[str, int])
    """Empty if the detector wasn't installed."""
    labels: dict[str, int] = Field(default_factory=dict[str, int])
    """Empty if the outputs aren't labels."""
    inputs: Embedding | None = None
    outputs: Embedding | None = None


class Fingerprint(Value):
    """What a model was trained on, in numbers: lengths, languages, labels, and where the texts lie.

        >>> Fingerprint.of(train).save("fingerprint.json")

    It holds no text but the labels. `ftsdk monitor --fingerprint FILE` compares a router's traffic with it.
    """

    name: str
    dataset: str
    """The fingerprint of the dataset."""
    slice_by: str | None = None
    """The column of the slices."""
    buckets: dict[str, str] = Field(default_factory=dict[str, str])
    """Each label by the bucket that records have in place of an answer."""
    whole: Reference
    slices: dict[str, Reference] = Field(default_factory=dict[str, Reference])
    """Those with at least 200 rows; up to 20, the largest."""

    @classmethod
    def of(cls, dataset: Dataset, *, slice_by: str | None = None) -> Self:
        """Measure training rows. About 5 s for 20,000, the most that are read, evenly spread.

        Args:
            dataset: The rows that the model was trained on.
            slice_by: A column that splits them, such as the product; a request's `slice` has the same values.

        Raises:
            DatasetError: The rows aren't chat rows, there is no such column, or there are fewer than 200.
        """
        if dataset.format != "chat":
            raise DatasetError(
                f"a fingerprint is made of chat rows, and these are {dataset.format} rows.",
                source=dataset.name,
                hint="Pass the rows that the model was trained on, after as_chat(...).",
            )
        if len(dataset) < LEAST_ROWS:
            raise DatasetError(
                f"{len(dataset)} rows are too few to tell drift from chance; it takes {LEAST_ROWS}.",
                source=dataset.name,
            )
        step = max(1.0, len(dataset) / _MOST_ROWS)
        positions = [int(n * step) for n in range(min(len(dataset), _MOST_ROWS))]
        values = None if slice_by is None else dataset.column(slice_by)
        measure = _measure()
        measured: list[dict[str, Any]] = []
        answers: list[str] = []
        for position in positions:
            *asked, answered = dataset[position]["messages"]
            answers.append(message_text(answered))
            measured.append(measure(asked, answers[-1]))
        labels = _labels(answers)
        buckets = _buckets(labels)
        for one in measured:
            one["label"] = buckets.get(str(one.get("output_bucket")), OTHER)
        slices: dict[str, Reference] = {}
        if values is not None:
            rows_of: dict[str, list[dict[str, Any]]] = {}
            for position, one in zip(positions, measured, strict=True):
                rows_of.setdefault(str(values[position]), []).append(one)
            largest = sorted(rows_of.items(), key=lambda pair: -len(pair[1]))[:_MOST_SLICES]
            slices = {name: _reference(rows, labels) for name, rows in largest if len(rows) >= LEAST_ROWS}
        return cls(
            name=dataset.name,
            dataset=dataset.fingerprint,
            slice_by=slice_by,
            buckets=buckets,
            whole=_reference(measured, labels),
            slices=slices,
        )

    def save(self, path: str | Path) -> Path:
        """Write it to a JSON file, readable by its owner only, and return the path.

        Raises:
            DatasetError: The file can't be written.
        """
        path = Path(path)
        try:
            replace_file(path, self.to_json(indent=1).encode())
        except OSError as error:
            raise DatasetError(f"can't be written: {error.strerror or error}.", source=str(path)) from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote.

        Raises:
            DatasetError: It can't be read.
            SpecError: It holds something else.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise DatasetError(f"can't be read: {error.strerror or error}.", source=str(path)) from error
        return cls.from_json(content)

    def label_of(self, measures: Mapping[str, Any]) -> str | None:
        """Return the label that a request was answered with; None if the training outputs aren't labels."""
        if not self.buckets or "output_chars" not in measures:
            return None
        return self.buckets.get(str(measures.get("output_bucket")), OTHER)

    def __str__(self) -> str:
        parts = [f"{self.whole.rows:,} rows of {self.name}"]
        if self.buckets:
            parts.append(f"{len(self.whole.labels)} labels")
        if self.whole.languages:
            parts.append(f"languages {', '.join(_language(code) for code in list(self.whole.languages)[:5])}")
        if self.slices:
            parts.append(f"{len(self.slices)} slices by {self.slice_by}")
        return f"Fingerprint of {', '.join(parts)}"

    __rich__ = rich_text


def _language(code: str) -> str:
    return "undetermined" if code == "?" else code


def _measure() -> Callable[..., dict[str, Any]]:
    try:
        return TextMeasures()
    except MissingExtraError:
        return measure_texts


def _labels(answers: Sequence[str]) -> dict[str, str]:
    """Return the label of each distinct answer; empty if the answers aren't labels."""
    counts = Counter(answers)
    return class_of(counts) if are_labels(counts.keys(), len(answers)) else {}


def _buckets(labels: Mapping[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for answer, label in labels.items():
        bucket = str(answer_bucket(answer))
        if names.get(bucket, label) != label:  # two labels in one bucket, one time in 65,536
            label = f"{names[bucket]} or {label}"
        names[bucket] = label
    return names


def _reference(measured: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Reference:
    inputs = [one["input_chars"] for one in measured]
    outputs = [one["output_chars"] for one in measured]
    input_edges = length_edges(inputs)
    output_edges = () if labels else length_edges(outputs)
    return Reference(
        rows=len(measured),
        input_edges=input_edges,
        input_lengths=_counted(length_class(length, input_edges) for length in inputs) if input_edges else {},
        output_edges=output_edges,
        output_lengths=_counted(length_class(length, output_edges) for length in outputs) if output_edges else {},
        languages=_counted(one["language"] for one in measured if "language" in one),
        labels=_counted(one["label"] for one in measured) if labels else {},
        inputs=_embedding([one["input_sketch"] for one in measured]),
        outputs=None if labels else _embedding([one["output_sketch"] for one in measured]),
    )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _embedding(sketches: Sequence[str]) -> Embedding | None:
    import numpy as np

    found = [vector for vector in map(decode_sketch, sketches) if vector is not None]
    return Embedding.of(np.stack(found)) if len(found) >= LEAST_ROWS else None
