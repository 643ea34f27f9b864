"""Values that `rich.print` shows as `print` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import printable

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["rich_text"]


def rich_text(value: object) -> Text:
    """Return the text of a value for rich: as it stands, without markup, and with control characters visible.

    A class whose `str` is meant to be read has `__rich__ = rich_text`. Without it rich shows the fields of a dataclass
    or a pydantic model, and takes brackets in the text of any other class for markup.
    """
    from rich.text import Text

    return Text(printable(str(value)))
