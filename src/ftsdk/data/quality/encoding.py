"""Text that was decoded with the wrong table, and its repair where nothing can be lost."""

from __future__ import annotations

import re

__all__ = ["is_repairable", "repair"]

_UNDEFINED = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
"""Bytes that Windows-1252 leaves open; browsers read them as the control characters of that number."""
_BYTE_OF = {
    **{chr(byte): byte for byte in range(0x80, 0xA0)},
    **{bytes([byte]).decode("cp1252"): byte for byte in range(0x80, 0x100) if byte not in _UNDEFINED},
}
"""The byte behind each character, of Windows-1252 and, below 0xA0, also of Latin-1."""


def _class(first: int, last: int) -> str:
    return "[" + "".join(re.escape(character) for character, byte in _BYTE_OF.items() if first <= byte <= last) + "]"


_MORE = _class(0x80, 0xBF)
_MOJIBAKE = re.compile(
    f"(?:{_class(0xC2, 0xDF)}{_MORE}|{_class(0xE0, 0xEF)}{_MORE}{{2}}|{_class(0xF0, 0xF4)}{_MORE}{{3}})+"
)
"""What UTF-8's sequences of two to four bytes look like in Windows-1252 or Latin-1."""
_CLOSING = frozenset("…”“’‘–—»«")


def repair(text: str) -> str:
    """Return a text with its wrongly decoded characters restored: `cafÃ©` becomes `café`.

    Only sequences that are valid UTF-8 in Windows-1252 or Latin-1 are replaced, each by the characters that it stands
    for, so that encoding these again returns what was there. What good text may hold stays: `Ã` alone, `CAFÉ…`, and
    the closing quote of `café »`. A text without findings is returned itself.
    """
    while (repaired := _MOJIBAKE.sub(_decoded, text)) != text:
        text = repaired  # it may have been decoded wrongly more than once; each time it gets shorter
    return text


def is_repairable(text: str) -> bool:
    """Return whether `repair` would change a text."""
    return any(_decoded(match) != match[0] for match in _MOJIBAKE.finditer(text))


def _decoded(match: re.Match[str]) -> str:
    if not _is_sure(match):
        return match[0]
    try:
        decoded = bytes(_BYTE_OF[character] for character in match[0]).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]  # overlong forms and halves of pairs
    # What decodes to a control character was no text before either.
    return match[0] if any("\x80" <= character < "\xa0" for character in decoded) else decoded


def _is_sure(match: re.Match[str]) -> bool:
    """Return whether a sequence isn't a letter and the punctuation behind it."""
    run = match[0]
    before = match.string[match.start() - 1 : match.start()]
    is_single = len(run) <= (2 if run[0] < "à" else 3 if run[0] < "ð" else 4)
    if not is_single or run[0] == "ð":
        return True
    if run[0] == "â":
        return run[1] != "\u00a0"
    if run[0] in "ÃÂ":
        return not (before.isupper() and run[1] in _CLOSING)
    return before.islower() and run[0].isupper()
