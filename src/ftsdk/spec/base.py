"""The base of all values: frozen, strict, with errors that name every problem."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast, get_origin, overload

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo

from ftsdk._secrets import redact
from ftsdk.errors import Problem, SpecError
from ftsdk.spec.other_words import INSTEAD_OF_CLASS, INSTEAD_OF_VALUE

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "OptionalPositiveUsd",
    "OptionalUsd",
    "PositiveUsd",
    "UnionMember",
    "Usd",
    "UsdAmount",
    "Value",
    "nearest",
    "set_fields",
    "union_members",
    "usd_default",
]


def _usd(amount: object) -> object:
    """Return the amount as a Decimal, as it was written: 0.1 stays 0.1, and 20.0 becomes 20."""
    if isinstance(amount, (int, float)) and not isinstance(amount, bool):
        amount = Decimal(str(amount))
    if isinstance(amount, Decimal) and amount.is_finite() and amount == amount.to_integral_value():
        return amount.to_integral_value()
    return amount


UsdAmount = Annotated[
    Decimal,
    BeforeValidator(_usd),
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema({"type": "number"}),
]
"""US dollars, exact. As a field of a value, use `Usd` or `OptionalUsd`."""

if TYPE_CHECKING:
    # To a type checker these are descriptors: a dataclass-like constructor accepts what `__set__` does, and reading the
    # field returns what `__get__` does. So `budget_usd=10` type-checks, and `job.budget_usd` is a Decimal.
    class Usd:
        """US dollars, exact, given as any number."""

        @overload
        def __get__(self, value: None, owner: Any, /) -> Self: ...
        @overload
        def __get__(self, value: object, owner: Any, /) -> Decimal: ...
        def __get__(self, value: object, owner: Any, /) -> Decimal | Self: ...
        def __set__(self, value: object, amount: Decimal | float, /) -> None: ...

    class OptionalUsd:
        """US dollars, exact, given as any number, or None."""

        @overload
        def __get__(self, value: None, owner: Any, /) -> Self: ...
        @overload
        def __get__(self, value: object, owner: Any, /) -> Decimal | None: ...
        def __get__(self, value: object, owner: Any, /) -> Decimal | Self | None: ...
        def __set__(self, value: object, amount: Decimal | float | None, /) -> None: ...

    PositiveUsd = Usd
    OptionalPositiveUsd = OptionalUsd
else:
    Usd = UsdAmount
    OptionalUsd = UsdAmount | None
    PositiveUsd = Annotated[UsdAmount, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
    OptionalPositiveUsd = PositiveUsd | None


def usd_default(amount: float | None) -> Any:
    """Return the default of a field of US dollars, in the one type that a descriptor accepts as its default."""
    return None if amount is None else _usd(amount)


def nearest(word: str, known: Iterator[str] | list[str] | tuple[str, ...] | set[str] | frozenset[str]) -> str:
    """Return the end of an error message: the known name that was probably meant, or else all known names."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


class Value(BaseModel):
    """A frozen value. Unknown keys, wrong types and numbers out of range raise one `SpecError` that lists them all.

    Values are built with keyword arguments or `from_dict`, and compared by content.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )
    other_words: ClassVar[Mapping[str, str]] = {}
    """What other tools call the fields, for error messages: their word, and what to write instead."""

    def model_post_init(self, _context: Any, /) -> None:
        """Count `kind` as set, so that `to_dict` always writes it: it distinguishes the members of a union."""
        if "kind" in type(self).model_fields:
            self.model_fields_set.add("kind")

    def __init__(self, /, **data: Any) -> None:
        # JSON and YAML have only lists, which strict validation refuses where a field is a tuple or a frozenset.
        for name, kind in _array_fields(type(self)).items():
            if isinstance(data.get(name), list):
                data[name] = kind(data[name])
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise _spec_error(type(self), error) from error

    if not TYPE_CHECKING:  # for type checkers an attribute that isn't declared stays an error

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("_"):
                raise SpecError(
                    f"{type(self).__name__}.{name} can't be set: values are frozen. Make a changed copy with "
                    f".replace({name}=...)"
                )
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            raise SpecError(f"{type(self).__name__}.{name} can't be deleted: values are frozen")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build the value from plain data, such as parsed JSON or YAML.

        Raises:
            SpecError: An unknown key or an invalid value, at any depth.
        """
        return cls.from_json(json.dumps(data, default=str))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Build the value from JSON text.

        Raises:
            SpecError: The text isn't JSON, or has an unknown key or an invalid value, at any depth.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _spec_error(cls, error) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the value as plain data with only the fields that were set; `from_dict` reads it back, equal."""
        return self.model_dump(mode="json", exclude_none=True, exclude_unset=True)

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the value as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated like a new value."""
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**fields, **changes})

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema, for editors that complete and check YAML."""
        return cls.model_json_schema()


class UnionMember(Value):
    """A member of a union, identified by `kind`, with its facts declared as class variables.

    A base class declares the facts, without values. A member, which is a subclass with a `kind`, must give each of them
    a value; one that doesn't is a `TypeError` where it is defined, so that no fact can be forgotten.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "kind" not in cls.model_fields:
            return
        missing = sorted(name for name in cls.__class_vars__ if not hasattr(cls, name))
        if missing:
            raise TypeError(f"{cls.__name__} must set these class variables: {', '.join(missing)}")
        _TAGS.add(str(cls.model_fields["kind"].default))


def union_members(union: object) -> dict[str, type[UnionMember]]:
    """Return the members of a union, or of a field's, by kind, in the order in which it lists them."""
    annotation: object = union.annotation if isinstance(union, FieldInfo) else union
    return {
        str(member.model_fields["kind"].default): member
        for member in _models_in(annotation)
        if issubclass(member, UnionMember)
    }


def set_fields(value: Value, prefix: str = "") -> dict[str, Any]:
    """Return the fields that were set explicitly, by dotted path, at every depth.

    `kind` fields are left out, as they are implied, and fields that are None, which means that the backend chooses.
    A value in which nothing was set, such as `early_stopping=EarlyStopping()`, is itself the entry.
    """
    found: dict[str, Any] = {}
    for name in sorted(value.model_fields_set):
        asked = getattr(value, name)
        if name == "kind" or asked is None:
            continue
        path = f"{prefix}{name}"
        if isinstance(asked, Value) and (asked.model_fields_set or "kind" in type(asked).model_fields):
            found.update(set_fields(asked, f"{path}."))
        else:
            found[path] = asked
    return found


@functools.cache
def _array_fields(cls: type[BaseModel]) -> dict[str, type[tuple[object, ...]] | type[frozenset[object]]]:
    """Return the fields that hold a tuple or a frozenset, and which of the two."""
    found: dict[str, type[tuple[object, ...]] | type[frozenset[object]]] = {}
    for name, field in cls.model_fields.items():
        pending: list[object] = [field.annotation]
        while pending:
            annotation = pending.pop()
            origin = get_origin(annotation)
            if origin is tuple or origin is frozenset:
                found[name] = origin
            else:
                pending.extend(cast("tuple[object, ...]", getattr(annotation, "__args__", ())))
    return found


def _fields_at(cls: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Return the field names of the model that `location` points into."""
    known: set[str] = set(cls.model_fields)
    current: list[type[BaseModel]] = [cls]
    for part in location:
        following: list[type[BaseModel]] = []
        for model in current:
            field = model.model_fields.get(str(part))
            if field is not None:
                following.extend(_models_in(field.annotation))
                for meta in field.metadata:
                    following.extend(_models_in(meta))
            elif "kind" in model.model_fields and model.model_fields["kind"].default == part:
                following.append(model)  # pydantic puts the tag of a discriminated union into the path
        if following:
            current = following
            known = {name for model in current for name in model.model_fields}
    return known


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    arguments = cast("tuple[object, ...]", getattr(annotation, "__args__", ()))
    return [model for argument in arguments for model in _models_in(argument)]


def _spec_error(cls: type[BaseModel], error: ValidationError) -> SpecError:
    problems: list[Problem] = []
    for detail in error.errors(include_url=False):
        inner = detail.get("ctx", {}).get("error")
        location = detail["loc"]
        path = ".".join(str(part) for part in location if not _is_tag(part))
        if isinstance(inner, SpecError) and inner.problems:
            problems.extend(Problem(f"{path}.{problem.path}".strip("."), problem.message) for problem in inner.problems)
            continue
        if isinstance(inner, Exception):
            problems.append(Problem(path, str(inner)))
            continue
        if detail["type"] == "extra_forbidden":
            word = str(location[-1])
            problems.append(
                Problem(path, f"unknown option {word!r}{_instead_of(cls, word, _fields_at(cls, location[:-1]))}")
            )
        elif detail["type"] == "missing":
            problems.append(Problem(path, "is required"))
        elif detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
            # The kind is missing or unknown: the message lists the members of the union.
            context = detail.get("ctx", {})
            members = {word.strip("' ") for word in str(context.get("expected_tags", "")).split(",")}
            kind = context.get("tag")
            problems.append(
                Problem(
                    path,
                    _one_of_the_union(cls, detail)
                    if kind is None
                    else f"unknown kind {kind!r}{nearest(str(kind), members)}",
                )
            )
        elif detail["type"] == "model_attributes_type":
            problems.append(Problem(path, _one_of_the_union(cls, detail)))
        else:
            asked = detail["input"]
            # Of an object the keys only: it may be the options of something, with a secret among them.
            fields = cast("Mapping[object, object]", asked) if isinstance(asked, Mapping) else None
            shown = redact(repr(asked)) if fields is None else f"an object with {', '.join(map(repr, fields))}"
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            problems.append(
                Problem(
                    path,
                    f"{_in_words(detail, asked) or detail['msg'][0].lower() + detail['msg'][1:]}, got {shown}",
                )
            )
    name = str(cls.model_config.get("title") or cls.__name__)
    lines = "\n".join(f"  {problem.path or name}: {problem.message}" for problem in problems)
    return SpecError(f"{name} can't be built:\n{lines}", problems=problems)


def _instead_of(cls: type[BaseModel], word: str, known: set[str]) -> str:
    """Return the end of an error message about an unknown option: what to write instead."""
    if word.lower() in known:
        return f"; write {word.lower()!r}"
    hint = cls.other_words.get(word.lower().replace("-", "_")) if issubclass(cls, Value) else None
    return nearest(word, known) if hint is None else f"; here it is {hint}"


def _one_of_the_union(cls: type[BaseModel], detail: ErrorDetails) -> str:
    """Return the message for something that isn't a member of a union, such as `tuning="lora"` or `tuning=LoRA`."""
    asked, name = detail["input"], str(detail["loc"][-1])
    field = cls.model_fields.get(name)
    members = {} if field is None else union_members(field)
    if not members:
        return "needs 'kind', which names its type"
    if isinstance(asked, type) and asked in members.values():
        return f"is the class; write {name}={asked.__name__}(), with brackets"
    if isinstance(asked, str):
        member = members.get(asked.lower())
        if member is not None:
            kind = member.model_fields["kind"].default
            return f"is text; write {name}={member.__name__}(), or {name}: {{kind: {kind}}} in a file"
        return f"unknown {name} {asked!r}{nearest(asked.lower(), set(members))}"
    if isinstance(asked, Mapping):
        return f"needs 'kind', which names its type: {', '.join(members)}"
    return f"should be {' or '.join(f'{member.__name__}()' for member in members.values())}, got {type(asked).__name__}"


def _in_words(detail: ErrorDetails, asked: object) -> str | None:
    """Return a message for the most common mistakes, in the terms of JSON and YAML; None for all others."""
    kind, name = detail["type"], str(detail["loc"][-1]) if detail["loc"] else ""
    if isinstance(asked, str) and (name, asked.lower()) in INSTEAD_OF_VALUE:
        return INSTEAD_OF_VALUE[name, asked.lower()]
    if kind == "model_type" and isinstance(asked, bool):
        return f"write {detail.get('ctx', {}).get('class_name')}()"
    is_number = isinstance(asked, str) and _NUMBER.fullmatch(asked) is not None
    if kind == "is_instance_of" and not is_number:
        return INSTEAD_OF_CLASS.get(str(detail.get("ctx", {}).get("class")))
    if kind == "tuple_type":
        return "input should be a list" + (f", such as [{asked}]" if isinstance(asked, str) else "")
    if kind not in ("float_type", "int_type", "is_instance_of") or not isinstance(asked, str) or not is_number:
        return None
    if "e" in asked.lower():
        return (
            "input should be a number, not text: YAML takes an exponent only after a point and with a sign, as in "
            "1.0e+6"
        )
    return "input should be a number, not text: write it without quotes"


_NUMBER = re.compile(r"[+-]?\d[\d_]*(\.\d*)?([eE][+-]?\d+)?")


def _is_tag(part: int | str) -> bool:
    return isinstance(part, str) and part in _TAGS


_TAGS: set[str] = set()
"""The `kind` words of all unions, so that error paths read `tuning.rank` and not `tuning.lora.rank`."""
