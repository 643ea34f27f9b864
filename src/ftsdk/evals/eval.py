"""What to measure: examples, the scorer that judges an answer, and the metric that sums up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals.examples import EvalData, Example, read_examples
from ftsdk.evals.metrics import Metric, get_metric, mean
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.scorers import Score, Scorer, exact_match, get_scorer
from ftsdk.evals.scorers.scorer import RESERVED_OPTIONS
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.base import nearest
from ftsdk.spec.positional import by_name_only

__all__ = ["Eval"]

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
    metric: Metric = field(default=mean)
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            rule = "at most 64 letters, digits, dots, dashes and underscores (it names a folder)"
            raise SpecError(f"the name of an eval must be {rule}; got {self.name!r}")
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

    @classmethod
    def of(
        cls,
        data: EvalData,
        scorer: str | Scorer,
        *,
        name: str | None = None,
        metric: str | Metric = "mean",
        max_new_tokens: int | None = None,
        **options: Any,
    ) -> Eval:
        """Judge answers by any scorer.

        Args:
            data: Chat rows; everything before the last message is the prompt, and that message is the reference.
            scorer: The name of a scorer, or the scorer itself.
            name: Display name, and the name of the folder of results; the scorer's name by default.
            metric: What sums up the scores: its name, or the metric itself.
            max_new_tokens: Longest answer in tokens. None: as long as the longest reference, and a margin.
            **options: Options of the scorer.

        Raises:
            SpecError: An unknown scorer, metric or option, or an impossible value.
            DatasetError: Rows of another format, or none.
            MissingExtraError: A package that the scorer or metric imports isn't installed.
        """
        chosen = get_scorer(scorer, options) if isinstance(scorer, str) else scorer.with_options(**options)
        return cls(
            name=chosen.name if name is None else name,
            data=data,
            scorer=chosen,
            metric=get_metric(metric) if isinstance(metric, str) else metric,
            max_new_tokens=max_new_tokens,
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
    ) -> Eval:
        """Count how many answers are exactly the last assistant message of their row.

        Args:
            data: Chat rows; everything before the last message is the prompt.
            name: Display name, and the name of the folder of results.
            max_new_tokens: Longest answer in tokens. None: as long as the longest reference, and a margin.
            ignore_case: Accept `Travel` for `travel`.
            strip: Ignore whitespace around both texts.

        Raises:
            SpecError: An impossible name or number.
            DatasetError: Rows of another format, or none.
        """
        return cls.of(data, exact_match, name=name, max_new_tokens=max_new_tokens, ignore_case=ignore_case, strip=strip)

    def examples(self) -> list[Example]:
        """Return the examples in the order of the rows.

        Raises:
            DatasetError: A row doesn't end with an assistant message that follows a prompt.
        """
        return read_examples(self.data)

    def score(self, example: Example, answer: str) -> Score:
        """Judge one answer, without the reasoning before it; reasoning in the reference is left out, too.

        Raises:
            SpecError: The scorer returned something else than a score.
        """
        return self.scorer(example._replace(expected=final_answer(example.expected)), final_answer(answer))

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Return the eval as plain data; paths in the dataset's recipe become relative to `base`."""
        written: dict[str, Any] = {"scorer": self.scorer.name, "name": self.name, "data": self.data.to_dict(base)}
        if self.max_new_tokens is not None:
            written["max_new_tokens"] = self.max_new_tokens
        if self.metric.name != mean.name:
            written["metric"] = self.metric.name
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
        types = {"name": str, "metric": str, "max_new_tokens": int}
        fields = {key: data[key] for key in types if data.get(key) is not None}
        for key, value in {"scorer": chosen, **fields}.items():
            expected = types.get(key, str)
            if not isinstance(value, expected) or isinstance(value, bool):
                raise SpecError(f"{key} of an eval must be {expected.__name__}; got {value!r}")
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
        return cls.of(read_dataset(recipe), found, **fields, **options)
