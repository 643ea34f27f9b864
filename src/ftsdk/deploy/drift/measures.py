"""What is measured of a request's texts when it is answered, so that drift can be seen without keeping them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ftsdk.deploy.drift.sketch import answer_bucket, sketch
from ftsdk.errors import MissingExtraError

__all__ = ["asked_text", "measure_texts"]


def measure_texts(messages: Iterable[Mapping[str, Any]], answer: str | None) -> dict[str, Any]:
    """Return what `ftsdk monitor` needs of a request's texts: lengths, the language, hashed counts of letter triples.

    Pass it to a router as `measure=`. The numbers go into the record of the request; the texts can't be read back from
    them. The language needs the extra `data`, and is left out without it.

    Args:
        messages: The conversation that was sent; the last user message is measured.
        answer: What came back; None if nothing did.
    """
    asked = asked_text(messages)
    found: dict[str, Any] = {"input_chars": len(asked), "input_sketch": sketch(asked)}
    language = _language(asked)
    if language is not None:
        found["language"] = language
    if answer is not None:
        found["output_chars"] = len(answer)
        bucket = answer_bucket(answer)
        if bucket is not None:
            found["output_bucket"] = bucket
        found["output_sketch"] = sketch(answer)
    return found


def asked_text(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return the text of the last user message; the parts of a message in a list are joined, pictures left out."""
    for message in reversed(list(messages)):
        if message.get("role") == "user":
            return message_text(message)
    return ""


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, which may come in parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict) and "text" in part)
    return ""


def _language(text: str) -> str | None:
    """Return the language of a text, `?` where it can't be told, None where nothing can tell it."""
    from ftsdk.data.quality.languages import language_of

    try:
        return language_of(text) or "?"
    except MissingExtraError:
        return None
