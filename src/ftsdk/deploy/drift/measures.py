"""What is measured of a request's texts when it is answered, so that drift can be seen without keeping them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ftsdk.deploy.drift.sketch import answer_bucket, sketch

__all__ = ["TextMeasures", "asked_text", "measure_texts", "message_text"]


def measure_texts(messages: Iterable[Mapping[str, Any]], answer: str | None) -> dict[str, Any]:
    """Return what `ftsdk monitor` needs of a request's texts: lengths, and hashed counts of letter triples.

    Pass it to a router as `measure=`; it takes about 0.05 ms. The numbers go into the record of the request, and the
    texts can't be read back from them.

    Args:
        messages: The conversation that was sent; the last user message is measured.
        answer: What came back; None if nothing did.
    """
    asked = asked_text(messages)
    found: dict[str, Any] = {"input_chars": len(asked), "input_sketch": sketch(asked)}
    if answer is not None:
        found["output_chars"] = len(answer)
        bucket = answer_bucket(answer)
        if bucket is not None:
            found["output_bucket"] = bucket
        found["output_sketch"] = sketch(answer)
    return found


class TextMeasures:
    """`measure_texts`, and the language of the input, which takes the extra `data` and 0.06 ms more."""

    def __init__(self) -> None:
        """Load the detector of languages now, and not while a client waits.

        Raises:
            MissingExtraError: The extra `data` isn't installed.
        """
        from ftsdk.data.quality.languages import language_of

        self._language_of = language_of
        language_of("The detector reads its model with the first text that is long enough.")

    def __call__(self, messages: Iterable[Mapping[str, Any]], answer: str | None) -> dict[str, Any]:
        """Return what `measure_texts` does, and `language`: an ISO 639-1 code, or `?` where it can't be told."""
        messages = list(messages)
        return {**measure_texts(messages, answer), "language": self._language_of(asked_text(messages)) or "?"}


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
