"""Which content is uploaded already, under which id: one small file for each content and account."""

from __future__ import annotations

import json
import re
import time

from ftsdk._files import replace_file
from ftsdk._home import home

__all__ = ["FileCache"]


class FileCache:
    """The uploads of one account, found again by the content's hash.

    Args:
        service: The backend's name.
        account: Where the ids are valid, such as a base URL and a project: they mean nothing elsewhere.
    """

    def __init__(self, service: str, account: str) -> None:
        self._folder = home() / service / re.sub(r"[^A-Za-z0-9.-]+", "-", account)

    def get(self, sha256: str) -> str | None:
        """Return the id of a file with this content; None if it wasn't uploaded from here."""
        try:
            return str(json.loads((self._folder / f"{sha256}.json").read_bytes())["file"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def put(self, sha256: str, file_id: str) -> None:
        """Keep the id of a file."""
        replace_file(self._folder / f"{sha256}.json", json.dumps({"file": file_id, "at": round(time.time())}).encode())

    def drop(self, sha256: str) -> None:
        """Forget a file that the service no longer has."""
        (self._folder / f"{sha256}.json").unlink(missing_ok=True)
