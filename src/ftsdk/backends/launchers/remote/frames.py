"""How client and agent talk: a line of JSON, and as many bytes as it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

__all__ = ["HELLO", "PART", "Frame", "FrameError", "as_bytes", "read_frame"]

HELLO = b"ftsdk-agent "
"""Begins the first line of the agent. What comes before it is a login shell's."""
PART = 4 * 2**20
"""Bytes of a file in one frame."""
_LONGEST_LINE = 2**20

Frame = tuple[dict[str, Any], bytes]


class FrameError(Exception):
    """What came is no frame."""


def as_bytes(header: Mapping[str, Any], content: bytes = b"") -> bytes:
    """Return a frame as it is sent."""
    return json.dumps({**header, "size": len(content)}).encode() + b"\n" + content


def read_frame(read_line: Callable[[int], bytes], read: Callable[[int], bytes]) -> Frame | None:
    """Read a frame; None at the end of the stream.

    Args:
        read_line: Returns a line of at most so many bytes, with its line break; empty at the end.
        read: Returns exactly so many bytes, or fewer at the end.

    Raises:
        FrameError: It isn't one, or it ends too early.
    """
    line = read_line(_LONGEST_LINE)
    if not line:
        return None
    try:
        header: object = json.loads(line)
        size: object = cast("dict[str, object]", header)["size"] if isinstance(header, dict) else None
    except (ValueError, RecursionError, KeyError) as error:
        raise FrameError("it isn't JSON") from error
    if not isinstance(size, int) or not 0 <= size <= 2**31:
        raise FrameError("it has no size")
    content = read(size) if size else b""
    if len(content) != size:
        raise FrameError("it ends too early")
    return cast("dict[str, Any]", header), content
