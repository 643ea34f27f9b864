"""Where runs may be kept: a folder that all machines see, or the address of an object store."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ftsdk._secrets import has_url_secret
from ftsdk.errors import SpecError

__all__ = ["check_storage", "is_address", "is_plain_text"]

_SCHEME = re.compile(r"[a-z][a-z0-9+]{1,20}\Z")


def is_address(storage: str) -> bool:
    """Return whether a storage is an address such as `s3://bucket/runs`, and not a folder that all nodes see."""
    return "://" in storage


def check_storage(storage: object) -> None:
    """Check the place of runs.

    Raises:
        SpecError: It is neither an absolute path nor an address without keys.
    """
    if not is_plain_text(storage):
        raise SpecError(f"storage={storage!r} is neither a folder nor an address")
    text = str(storage)
    if not is_address(text):
        path = PurePosixPath(text)
        if not path.is_absolute() or ".." in path.parts:
            raise SpecError(
                f"storage={text!r} isn't an absolute path; write the path of a folder that this machine and all nodes "
                "see under the same name, such as '/shared/ftsdk', or an address, such as 's3://bucket/ftsdk'"
            )
        return
    if has_url_secret(text) or "?" in text or "#" in text:
        raise SpecError(
            "storage has a password, a key or a query in it, which would be stored with each run; give the keys to "
            "the nodes and to this machine in their environment"
        )
    scheme, _, rest = text.partition("://")
    if not _SCHEME.match(scheme) or not rest.strip("/") or ".." in rest.split("/") or scheme in ("http", "https"):
        raise SpecError(f"storage={text!r} isn't an address that runs can be kept at, such as 's3://bucket/ftsdk'")


def is_plain_text(value: object) -> bool:
    """Return whether it is a text of one line, without spaces around it."""
    return isinstance(value, str) and bool(value) and not set("\0\n\r") & set(value) and value == value.strip()
