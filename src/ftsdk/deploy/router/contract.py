"""What an answer must keep to before a client gets it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from ftsdk.errors import FtsdkError
from ftsdk.evals.scorers.json_answers import NotJson, read_json
from ftsdk.evals.scorers.schema_rules import check_schema, schema_problem

__all__ = ["Contract", "Validator", "asked_schema"]

_SCHEMA_S = 0.25
"""For one answer and one schema, in seconds: no other request is answered meanwhile, and clients bring schemas."""

Validator = Callable[[Sequence[Mapping[str, Any]], str], bool]
"""Gets the messages and the answer, and returns whether the answer is acceptable. It runs before the client gets the
answer, so it must take microseconds."""


@dataclass(frozen=True)
class Contract:
    """The checks of a router."""

    schema: Mapping[str, Any] | None = None
    """A JSON Schema that every answer must fit; besides the one of a request, if it has one."""
    validator: Validator | None = None
    accepts_cut: bool = False
    """Whether an answer that ended at the limit of its tokens is acceptable."""

    def check(self) -> None:
        """Raise unless the schema can be used.

        Raises:
            SpecError: It is no JSON Schema.
            MissingExtraError: The extra `evals` isn't installed.
        """
        if self._text is not None:
            check_schema(self._text)

    @property
    def judges(self) -> bool:
        """Whether it says more of an answer than that there is one."""
        return self.schema is not None or self.validator is not None

    def problem(
        self,
        messages: Sequence[Mapping[str, Any]],
        text: str,
        *,
        finish_reason: str | None,
        calls_tools: bool,
        request_schema: str | None = None,
    ) -> str | None:
        """Return the word for what is wrong with an answer: `length`, `empty`, `schema` or `validator`; None: nothing.

        Args:
            messages: The conversation.
            text: The answer.
            finish_reason: Why the target stopped.
            calls_tools: Whether it calls tools, so that it needs no text.
            request_schema: The schema that the request itself asks for, as JSON.
        """
        if finish_reason == "length" and not self.accepts_cut:
            return "length"
        if not text.strip():
            return None if calls_tools else "empty"
        if calls_tools:
            return None
        for schema in (self._text, request_schema):
            if schema is not None and not _fits(schema, text):
                return "schema"
        if self.validator is not None and not self._is_valid(messages, text):
            return "validator"
        return None

    def _is_valid(self, messages: Sequence[Mapping[str, Any]], text: str) -> bool:
        assert self.validator is not None
        try:
            return bool(self.validator(messages, text))
        except Exception:  # noqa: BLE001 - the user's code, which must not cost a client the answer of the fallback
            return False

    @cached_property
    def _text(self) -> str | None:
        return None if self.schema is None else json.dumps(self.schema)


def asked_schema(body: Mapping[str, Any]) -> str | None:
    """Return the JSON Schema of a request's `response_format`, as JSON; `true` for any JSON; None if it has none."""
    asked = body.get("response_format")
    if not isinstance(asked, dict):
        return None
    fields = cast("dict[str, Any]", asked)
    if fields.get("type") == "json_object":
        return "true"
    held: Any = fields.get("json_schema")
    schema = cast("dict[str, Any]", held).get("schema") if isinstance(held, dict) else None
    return json.dumps(schema) if isinstance(schema, dict) else None


def _fits(schema: str, text: str) -> bool:
    try:
        value = read_json(text)
        return schema == "true" or schema_problem(schema, value, timeout_s=_SCHEMA_S) is None
    except NotJson:
        return False
    except (FtsdkError, ImportError):
        # The request's own schema can't be used, or nothing here reads schemas: that the answer is JSON was checked.
        return True
