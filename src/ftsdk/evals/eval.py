"""What to measure: a set of examples and the rule by which an answer counts as right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from ftsdk.errors import DatasetError, SpecError
from ftsdk.spec.base import nearest

__all__ = ["Eval", "EvalData", "Example"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OPTIONS = ("max_new_tokens", "ignore_case", "strip")


@runtime_checkable
class EvalData(Protocol):
    """What an eval needs of a dataset; `ftsdk.Dataset` fits."""

    @property
    def name(self) -> str:
        """Where it came from, for people."""
        ...

    @property
    def format(self) -> str:
        """`"chat"` is needed."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the rows."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Give the recipe by which the dataset can be built again."""
        ...


class Example(NamedTuple):
    """One question and the answer that counts as right."""

    prompt: list[dict[str, Any]]
    """The conversation up to the answer."""
    expected: str


@dataclass(frozen=True, kw_only=True)
class Eval:
    """A measurement: examples, and how an answer is judged. Make one with `Eval.exact_match(...)`."""

    kind: Literal["exact_match"]
    name: str
    data: EvalData
    max_new_tokens: int | None = None
    ignore_case: bool = False
    strip: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(f"the name of an eval is at most 64 letters, digits, dots, dashes and underscores (it names a folder); got {self.name!r}")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise SpecError(f"max_new_tokens must be at least 1, or None for the longest reference and a margin; got {self.max_new_tokens}")
        if self.data.format != "chat":
            hint = (
                "Preference rows have no one right answer; build the eval from Dataset.as_chat(...)."
                if self.data.format == "preference"
                else "Say what is asked and what is right: Dataset.as_chat(prompt=..., completion=...)."
            )
            raise DatasetError(
                f"an eval needs chat rows that end with the right answer; these are {self.data.format} rows.", source=self.data.name, hint=hint
            )
        if len(self.data) == 0:
            raise DatasetError("an eval needs at least one row.", source=self.data.name)

    @classmethod
    def exact_match(
        cls, data: EvalData, *, name: str = "exact_match", max_new_tokens: int | None = None, ignore_case: bool = False, strip: bool = True
    ) -> Eval:
        """Count how many answers are exactly the last assistant message of their row.

        Args:
            data: Chat rows; everything before the last message is the prompt.
            name: What to call the measurement; also the name of its folder.
            max_new_tokens: How long an answer may be, in tokens. None: as long as the longest reference, and a margin.
            ignore_case: Take `Travel` for `travel`.
            strip: Ignore blanks and line ends around both texts.

        Raises:
            SpecError: An impossible name or number.
            DatasetError: Rows of another format, or none.
        """
        return cls(kind="exact_match", name=name, data=data, max_new_tokens=max_new_tokens, ignore_case=ignore_case, strip=strip)

    def examples(self) -> list[Example]:
        """List the questions with their right answers, in the order of the rows.

        Raises:
            DatasetError: A row that doesn't end with an assistant message after at least one other.
        """
        found: list[Example] = []
        for index, row in enumerate(self.data):
            messages = row["messages"]
            if len(messages) < 2 or messages[-1].get("role") != "assistant":
                raise DatasetError(
                    "must end with an assistant message that follows a prompt.", source=self.data.name, line=index + 1, field="messages"
                )
            found.append(Example(list(messages[:-1]), str(messages[-1]["content"])))
        return found

    def is_correct(self, output: str, expected: str) -> bool:
        """Judge one answer."""
        return self._plain(output) == self._plain(expected)

    def _plain(self, text: str) -> str:
        text = text.strip() if self.strip else text
        return text.casefold() if self.ignore_case else text

    def settings(self) -> dict[str, Any]:
        """Give what decides the result beside the rows and the model."""
        return {"kind": self.kind, "max_new_tokens": self.max_new_tokens, "ignore_case": self.ignore_case, "strip": self.strip}

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Give the eval as plain data; paths in the dataset's recipe become relative to `base`."""
        written: dict[str, Any] = {"kind": self.kind, "name": self.name, "data": self.data.to_dict(base)}
        defaults = {"max_new_tokens": None, "ignore_case": False, "strip": True}
        return written | {option: getattr(self, option) for option in _OPTIONS if getattr(self, option) != defaults[option]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], read_dataset: Callable[[Mapping[str, Any]], EvalData]) -> Eval:
        """Read what `to_dict` wrote.

        Args:
            data: Plain data, as it comes out of JSON or YAML.
            read_dataset: Builds the dataset from its recipe, such as `Dataset.from_dict`.

        Raises:
            SpecError: An unknown key, a missing one, or an impossible value.
            DatasetError: The dataset can't be read.
        """
        known = {"kind", "name", "data", *_OPTIONS}
        for key in data:
            if key not in known:
                raise SpecError(f"unknown option {key!r} of an eval{nearest(str(key), known)}")
        kind = data.get("kind", "exact_match")
        if kind != "exact_match":
            raise SpecError(f"unknown kind of eval {kind!r}{nearest(str(kind), ['exact_match'])}")
        recipe = data.get("data")
        if not isinstance(recipe, Mapping):
            raise SpecError(f"an eval needs data: the recipe of a dataset; got {recipe!r}")
        types = {"name": str, "max_new_tokens": int, "ignore_case": bool, "strip": bool}
        options = {key: data[key] for key in types if data.get(key) is not None}
        for key, value in options.items():
            if not isinstance(value, types[key]) or (types[key] is int and isinstance(value, bool)):
                raise SpecError(f"{key} of an eval must be {types[key].__name__}; got {value!r}")
        return cls.exact_match(read_dataset(recipe), **options)
