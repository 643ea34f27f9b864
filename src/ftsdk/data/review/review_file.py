"""Files of verdicts, whoever wrote them: `ftsdk data review`, or Label Studio."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ftsdk._files import read_regular_file
from ftsdk._format import printable
from ftsdk.data.review.label_studio import parse_label_studio
from ftsdk.data.review.verdicts import RowVerdict, parse_verdicts
from ftsdk.errors import DatasetError

__all__ = ["ReviewFile", "read_review"]

_MOST_BYTES = 1 << 30


class ReviewFile(NamedTuple):
    """What a file says of rows."""

    kind: Literal["verdicts", "label_studio"]
    verdicts: Mapping[str, RowVerdict]
    """By the ids of rows; see `row_ids`."""
    sha256: str


def read_review(path: Path) -> ReviewFile:
    """Read a file of verdicts, or Label Studio's export as JSON.

    Raises:
        DatasetError: It can't be read, or is neither.
    """
    try:
        content = read_regular_file(path, most_bytes=_MOST_BYTES)
        is_list = content.lstrip()[:1] == b"["
        tasks: Any = json.loads(content) if is_list else None
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DatasetError(
            f"can't be read as verdicts: {printable(why, 200)}.",
            source=printable(str(path)),
            hint="Pass the file that `ftsdk data review` wrote, or Label Studio's export as JSON.",
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if is_list:
        return ReviewFile("label_studio", parse_label_studio(tasks, path), digest)
    return ReviewFile("verdicts", parse_verdicts(content, path), digest)
