"""The base of all values: frozen, strict, with errors that name every problem."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast, get_origin, overload

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo

from ftsdk._numbers import as_json_number, exact_amount, exact_float, quoted_amount
from ftsdk.errors import Problem, SpecError
from ftsdk.spec.exact_amounts import LONG_NUMBER, exact_amounts
from ftsdk.spec.positional import positional_error
from ftsdk.spec.problems import TAGS, cause_of, models_in, nearest, problems_error, spec_error

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


_MOST_INT = 10**18 - 1
"""Larger numbers mean nothing in any field, and overflow what computes with them."""
_MOST_PLACES = 100
"""Of an amount, before and after the point: what can be written out, and what arithmetic doesn't choke on."""


def _usd(amount: object) -> object:
    """Return the amount as a Decimal, as it was written: 0.1 stays 0.1, and 20.0 becomes 20."""
    amount = quoted_amount(amount)
    if isinstance(amount, (int, float)) and not isinstance(amount, bool):
        amount = exact_amount(amount)
    if not isinstance(amount, Decimal) or not amount.is_finite():
        return amount
    if amount and max(amount.adjusted(), -int(amount.as_tuple().exponent)) > _MOST_PLACES:
        raise ValueError(f"should be US dollars with at most {_MOST_PLACES} places before and after the point")
    return amount.to_integral_value() if amount == amount.to_integral_value() else amount


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
    PositiveUsd = Annotated[
        UsdAmount,
        Field(gt=0, le=10**12),
        # Budgets and prices are read by people's files: every digit is kept.
        PlainSerializer(as_json_number, return_type=float | str, when_used="json"),
        WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 10**12}),
    ]
    OptionalPositiveUsd = PositiveUsd | None


def usd_default(amount: float | None) -> Any:
    """Return the default of a field of US dollars, in the one type that a descriptor accepts as its default."""
    return None if amount is None else _usd(amount)


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
        huge = [name for name, given in data.items() if type(given) is int and not -_MOST_INT <= given <= _MOST_INT]
        if huge:
            raise problems_error(
                type(self), [Problem(name, "should be a number of at most 18 digits") for name in huge]
            )
        # JSON and YAML have only lists, which strict validation refuses where a field is a tuple or a frozenset.
        for name, kind in _array_fields(type(self)).items():
            if isinstance(data.get(name), list):
                data[name] = kind(data[name])
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise spec_error(type(self), error) from cause_of(error)

    if not TYPE_CHECKING:  # for type checkers all of these stay errors
        # Not in __init__, from which pydantic makes the signature.
        def __new__(cls, *given: object, **_data: object) -> Self:  # noqa: D102 - no part of the reference
            if given:
                raise positional_error(cls.__name__, _fields_to_name(cls), given)
            return super().__new__(cls)

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
        return cls.from_json(json.dumps(exact_amounts(cls, data), default=str))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Build the value from JSON text.

        Raises:
            SpecError: The text isn't JSON, or has an unknown key or an invalid value, at any depth.
        """
        if LONG_NUMBER.search(text if isinstance(text, str) else text.decode("utf-8", "replace")):
            with suppress(ValueError, RecursionError):  # what isn't JSON is refused below
                data: object = json.loads(text, parse_float=exact_float)
                exact = exact_amounts(cls, data)
                text = text if exact is data else json.dumps(exact)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise spec_error(cls, error) from cause_of(error)

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
        TAGS.add(str(cls.model_fields["kind"].default))


def union_members(union: object) -> dict[str, type[UnionMember]]:
    """Return the members of a union, or of a field's, by kind, in the order in which it lists them."""
    annotation: object = union.annotation if isinstance(union, FieldInfo) else union
    return {
        str(member.model_fields["kind"].default): member
        for member in models_in(annotation)
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


def _fields_to_name(cls: type[BaseModel]) -> list[str]:
    """Return the fields in the order in which they are likely to be meant: the required ones first."""
    fields = {name: field for name, field in cls.model_fields.items() if name != "kind"}
    return sorted(fields, key=lambda name: not fields[name].is_required())


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
