"""What to measure: examples, the scorer that judges an answer, and the metric that sums up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals.examples import EvalData, Example, read_examples
from ftsdk.evals.metrics import Metric, get_metric, mean
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.scorers import Score, Scorer, exact_match, get_scorer
from ftsdk.evals.scorers.abilities import CanPrepare
from ftsdk.evals.scorers.plain_function import JudgingFunction, scorer_of
from ftsdk.evals.scorers.scorer import RESERVED_OPTIONS
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.base import nearest
from ftsdk.spec.positional import by_name_only

__all__ = ["Eval"]

_FIELD_TYPES: dict[str, Any] = {
    "name": str,
    "metric": str | list[str],
    "max_new_tokens": int,
    "slices": list[str],
    "group": str,
    "columns": list[str],
}
_FIELD_WORDS = {
    "metric": "the name of a metric, or a list of names",
    "max_new_tokens": "a whole number",
    "slices": "a list of columns",
    "columns": "a list of columns",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@by_name_only
@dataclass(frozen=True, kw_only=True)
class Eval:
    """A measurement: examples, and how answers to them are judged.

    `Eval.exact_match(test)` is the usual one; `Eval.of(test, "name of a scorer")` takes any scorer.
    """

    name: str
    data: EvalData
    scorer: Scorer
    metrics: tuple[Metric, ...] = (mean,)
    """What sums up the scores; the first is the headline."""
    max_new_tokens: int | None = None
    slices: tuple[str, ...] = ()
    """Columns of the data; the report has the numbers for each of their values, too."""
    group: str | None = None
    """A column that tells which examples belong together, such as the customer; intervals draw them together."""
    columns: tuple[str, ...] = ()
    """Columns that the scorer reads, as `example.columns`."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            rule = "at most 64 letters, digits, dots, dashes and underscores (it names a folder)"
            raise SpecError(f"the name of an eval must be {rule}; got {self.name!r}")
        if not self.metrics or len({metric.name for metric in self.metrics}) < len(self.metrics):
            raise SpecError(f"an eval needs at least one metric, and each once; got {[m.name for m in self.metrics]}")
        if self.max_new_tokens is not None:
            check_amount("max_new_tokens", self.max_new_tokens, at_least=1, at_most=1e9, is_whole=True)
        if not isinstance(self.data, EvalData):  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = type(self.data).__name__
            hint = "Read a file with Dataset.from_file(path), and rows from memory with Dataset.from_rows(rows)."
            raise DatasetError(f"an eval takes a Dataset, not a {kind}.", hint=hint)
        if self.data.format != "chat":
            hint = (
                "Preference rows have no single reference; build the eval from Dataset.as_chat(...)."
                if self.data.format == "preference"
                else "Name the prompt and the reference: Dataset.as_chat(prompt=..., completion=...)."
            )
            message = f"an eval needs chat rows that end with the reference answer; these are {self.data.format} rows."
            raise DatasetError(message, source=self.data.name, hint=hint)
        if len(self.data) == 0:
            raise DatasetError("an eval needs at least one row.", source=self.data.name)

    @property
    def metric(self) -> Metric:
        """The metric of the headline."""
        return self.metrics[0]

    @classmethod
    def of(
        cls,
        data: EvalData,
        scorer: str | Scorer | JudgingFunction,
        *,
        name: str | None = None,
        metric: str | Metric | Sequence[str | Metric] = "mean",
        max_new_tokens: int | None = None,
        slices: Sequence[str] = (),
        group: str | None = None,
        columns: Sequence[str] = (),
        **options: Any,
    ) -> Eval:
        """Judge answers by any scorer.

        Args:
            data: Chat rows; everything before the last message is the prompt, and that message is the reference.
            scorer: The name of a scorer, the scorer itself, or a plain function of an example and an answer that
                returns True or False, a value between 0 and 1, or a `Score`.
            name: Display name, and the name of the folder of results; the scorer's name by default.
            metric: What sums up the scores: the name of a metric, the metric itself, or several of them; the first
                is the headline.
            max_new_tokens: Longest answer in tokens. None: as long as the longest reference, and a margin.
            slices: Columns of the data to report on by value.
            group: A column that tells which examples belong together; intervals take that into account.
            columns: Columns that the scorer reads, as `example.columns`.
            **options: Options of the scorer.

        Raises:
            SpecError: An unknown scorer, metric or option, or an impossible value.
            DatasetError: Rows of another format, or none.
            MissingExtraError: A package that the scorer or metric imports isn't installed.
        """
        found = get_scorer(scorer) if isinstance(scorer, str) else scorer
        chosen = (found if isinstance(found, Scorer) else scorer_of(found)).with_options(**options)
        several = metric if isinstance(metric, Sequence) and not isinstance(metric, str) else [metric]
        return cls(
            name=chosen.name if name is None else name,
            data=data,
            scorer=chosen,
            metrics=tuple(get_metric(one) if isinstance(one, str) else one for one in several),
            max_new_tokens=max_new_tokens,
            slices=tuple(slices),
            group=group,
            columns=tuple(columns),
        )

    @classmethod
    def exact_match(
        cls,
        data: EvalData,
        *,
        name: str = "exact_match",
        max_new_tokens: int | None = None,
        ignore_case: bool = False,
        strip: bool = True,
        slices: Sequence[str] = (),
        group: str | None = None,
    ) -> Eval:
        """Count how many answers are exactly the last assistant message of their row.

        Args:
            data: Chat rows; everything before the last message is the prompt.
            name: Display name, and the name of the folder of results.
            max_new_tokens: Longest answer in tokens. None: as long as the longest reference, and a margin.
            ignore_case: Accept `Travel` for `travel`.
            strip: Ignore whitespace around both texts.
            slices: Columns of the data to report on by value.
            group: A column that tells which examples belong together; intervals take that into account.

        Raises:
            SpecError: An impossible name or number.
            DatasetError: Rows of another format, or none.
        """
        return cls.of(
            data,
            exact_match,
            name=name,
            max_new_tokens=max_new_tokens,
            slices=slices,
            group=group,
            ignore_case=ignore_case,
            strip=strip,
        )

    def examples(self) -> list[Example]:
        """Return the examples in the order of the rows.

        Raises:
            DatasetError: A row doesn't end with an assistant message that follows a prompt, or there is no column
                of a name that the eval names.
        """
        named = (*self.slices, *self.columns, *(() if self.group is None else (self.group,)))
        return read_examples(self.data, tuple(dict.fromkeys(named)))

    def score(self, example: Example, answer: str) -> Score:
        """Judge one answer, without the reasoning before it; reasoning in the reference is left out, too.

        Raises:
            SpecError: The scorer returned something else than a score, or can't judge these examples.
        """
        return self._prepared_scorer(_judged(example), final_answer(answer))

    def prepare(self) -> None:
        """Let the scorer look at all examples, if it wants to, before there are answers.

        Raises:
            SpecError: It can't judge these examples.
        """
        _ = self._prepared_scorer

    @cached_property
    def _prepared_scorer(self) -> Scorer:
        """The scorer, after it has seen all examples if it wants to."""
        if not isinstance(self.scorer, CanPrepare):
            return self.scorer
        return self.scorer.prepared(_judged(example) for example in _lazily(self.examples))

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Return the eval as plain data; paths in the dataset's recipe become relative to `base`."""
        written: dict[str, Any] = {"scorer": self.scorer.name, "name": self.name, "data": self.data.to_dict(base)}
        if self.max_new_tokens is not None:
            written["max_new_tokens"] = self.max_new_tokens
        names = [metric.name for metric in self.metrics]
        if names != [mean.name]:
            written["metric"] = names[0] if len(names) == 1 else names
        if self.group is not None:
            written["group"] = self.group
        written |= {key: list(value) for key, value in (("slices", self.slices), ("columns", self.columns)) if value}
        return written | dict(self.scorer.options)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], read_dataset: Callable[[Mapping[str, Any]], EvalData]) -> Eval:
        """Read what `to_dict` wrote. `kind` is the older word for `scorer`.

        Args:
            data: Plain data, as it comes out of JSON or YAML.
            read_dataset: Builds the dataset from its recipe, such as `Dataset.from_dict`.

        Raises:
            SpecError: An unknown key, a missing one, or an impossible value.
            DatasetError: The dataset can't be read.
            MissingExtraError: A package that the scorer or metric imports isn't installed.
        """
        if "kind" in data and "scorer" in data:
            raise SpecError(
                f"an eval has one scorer; got scorer={data['scorer']!r} and kind={data['kind']!r}, its older name"
            )
        chosen = data.get("scorer", data.get("kind", exact_match.name))
        fields = {key: data[key] for key in _FIELD_TYPES if data.get(key) is not None}
        for key, value in {"scorer": chosen, **fields}.items():
            try:
                TypeAdapter[Any](_FIELD_TYPES.get(key, str)).validate_python(value, strict=True)
            except ValidationError as error:
                expected = _FIELD_WORDS.get(key, "text")
                raise SpecError(f"{key} of an eval must be {expected}; got {value!r}") from error
        found = get_scorer(chosen)
        known = RESERVED_OPTIONS | set(found.option_names)
        for key in data:
            if key not in known:
                raise SpecError(
                    f"unknown option {key!r} of an eval with the scorer {chosen!r}{nearest(str(key), known - {'kind'})}"
                )
        options = {key: data[key] for key in found.option_names if data.get(key) is not None}
        recipe = data.get("data")
        if not isinstance(recipe, Mapping):
            raise SpecError(f"an eval needs data, the recipe of a dataset; got {recipe!r}")
        rows = _rows_of_suite(recipe, data.get("name")) if "suite" in recipe else read_dataset(recipe)
        return cls.of(rows, found, **fields, **options)


def _rows_of_suite(recipe: Mapping[str, Any], name: object) -> EvalData:
    """Return the rows of the eval of that name in a suite.

    Raises:
        SpecError: The suite has no such eval.
    """
    from ftsdk.evals.suites.suite import evals_of_suite  # which is made of evals

    found = {item.name: item.data for item in evals_of_suite(recipe)}
    if name not in found:
        raise SpecError(f"the suite {recipe['suite']!r} has no eval {name!r}; it has {', '.join(found)}")
    return found[str(name)]


def _judged(example: Example) -> Example:
    """Return an example as scorers see it: without the reasoning of its reference."""
    return example._replace(expected=final_answer(example.expected))


def _lazily(read: Callable[[], list[Example]]) -> Iterator[Example]:
    """Yield examples that are read once the first one is wanted."""
    yield from read()
