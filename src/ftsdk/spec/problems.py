"""From pydantic's errors to messages in the words of a job: what is wrong, where, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ValidationError

from ftsdk._format import printable
from ftsdk._secrets import redact
from ftsdk.errors import Problem, SpecError
from ftsdk.spec.other_words import INSTEAD_OF_CLASS, INSTEAD_OF_VALUE

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["TAGS", "cause_of", "models_in", "nearest", "problems_error", "spec_error"]


def nearest(word: str, known: Iterator[str] | list[str] | tuple[str, ...] | set[str] | frozenset[str]) -> str:
    """Return the end of an error message: the known name that was probably meant, or else all known names."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def _fields_at(cls: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Return the field names of the model that `location` points into."""
    known: set[str] = set(cls.model_fields)
    current: list[type[BaseModel]] = [cls]
    for part in location:
        following: list[type[BaseModel]] = []
        for model in current:
            field = model.model_fields.get(str(part))
            if field is not None:
                following.extend(models_in(field.annotation))
                for meta in field.metadata:
                    following.extend(models_in(meta))
            elif "kind" in model.model_fields and model.model_fields["kind"].default == part:
                following.append(model)  # pydantic puts the tag of a discriminated union into the path
        if following:
            current = following
            known = {name for model in current for name in model.model_fields}
    return known


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models in a type, such as the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    arguments = cast("tuple[object, ...]", getattr(annotation, "__args__", ()))
    return [model for argument in arguments for model in models_in(argument)]


def spec_error(cls: type[BaseModel], error: ValidationError) -> SpecError:
    """Return the `SpecError` for what pydantic found wrong with a value of `cls`."""
    problems: list[Problem] = []
    details, merged = _members_merged(cls, error.errors(include_url=False))
    problems.extend(merged)
    for detail in details:
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
            shown = redact(_repr(asked)) if fields is None else f"an object with {', '.join(map(repr, fields))}"
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            problems.append(
                Problem(
                    path,
                    f"{_in_words(detail, asked) or detail['msg'][0].lower() + detail['msg'][1:]}, got {shown}",
                )
            )
    return problems_error(cls, problems)


def cause_of(error: ValidationError) -> ValidationError | None:
    """Return pydantic's error as a cause; None if its text, which can't be changed, holds control characters."""
    text = str(error)
    return error if printable(text) == text else None


def problems_error(cls: type[BaseModel], problems: Sequence[Problem]) -> SpecError:
    """Return the `SpecError` that lists what is wrong with a value of `cls`."""
    name = str(cls.model_config.get("title") or cls.__name__)
    lines = "\n".join(f"  {problem.path or name}: {problem.message}" for problem in problems)
    return SpecError(f"{name} can't be built:\n{lines}", problems=problems)


def _members_merged(cls: type[BaseModel], details: Sequence[ErrorDetails]) -> tuple[list[ErrorDetails], list[Problem]]:
    """Part the details from those of one value that no member of a union takes, which become one problem each."""
    groups: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    others: list[ErrorDetails] = []
    for detail in details:
        *before, last = detail["loc"] or ("",)
        is_member = bool(before) and isinstance(last, str) and detail["type"] in _WRONG_TYPES
        if is_member and last not in _fields_at(cls, tuple(before)):
            groups.setdefault(tuple(before), []).append(detail)
        else:
            others.append(detail)
    problems: list[Problem] = []
    for location, group in groups.items():
        if len(group) == 1:
            others.extend(group)
            continue
        asked = group[0]["input"]
        words = [words for detail in group if (words := _in_words(detail, asked))]
        wanted = " or ".join(dict.fromkeys(detail["msg"].removeprefix("Input should be ") for detail in group))
        is_plain = asked is None or isinstance(asked, bool | int | float | str)
        shown = redact(_repr(asked)) if is_plain else f"a {type(asked).__name__}"
        path = ".".join(str(part) for part in location if not _is_tag(part))
        problems.append(Problem(path, f"{words[0] if words else 'should be ' + wanted}, got {shown[:80]}"))
    return others, problems


def _repr(asked: object) -> str:
    try:
        return repr(asked)
    except ValueError:  # Python refuses to write a number of over 4,300 digits
        return f"a {type(asked).__name__} with a number of many digits"


_WRONG_TYPES = frozenset(
    {
        "bool_type", "date_type", "decimal_type", "dict_type", "float_type", "frozen_set_type", "int_type",
        "is_instance_of", "list_type", "model_type", "path_type", "string_type", "tuple_type",
    }
)  # fmt: skip
"""Types of pydantic's errors that are about the type of a value."""


def _instead_of(cls: type[BaseModel], word: str, known: set[str]) -> str:
    """Return the end of an error message about an unknown option: what to write instead."""
    if word.lower() in known:
        return f"; write {word.lower()!r}"
    hint = getattr(cls, "other_words", {}).get(word.lower().replace("-", "_"))
    return nearest(word, known) if hint is None else f"; here it is {hint}"


def _members(union: object) -> dict[str, type[BaseModel]]:
    return {str(one.model_fields["kind"].default): one for one in models_in(union) if "kind" in one.model_fields}


def _one_of_the_union(cls: type[BaseModel], detail: ErrorDetails) -> str:
    """Return the message for something that isn't a member of a union, such as `tuning="lora"` or `tuning=LoRA`."""
    asked, name = detail["input"], str(detail["loc"][-1])
    field = cls.model_fields.get(name)
    members = {} if field is None else _members(field.annotation)
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
    return isinstance(part, str) and part in TAGS


TAGS: set[str] = set()
"""The `kind` words of all unions, so that error paths read `tuning.rank` and not `tuning.lora.rank`."""
