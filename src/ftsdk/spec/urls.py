"""Checks of addresses that users give and that are kept with a run."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from ftsdk._secrets import has_url_secret, mask_urls
from ftsdk.errors import SpecError

__all__ = ["NoUrl", "NoUrlSecret", "check_service_url", "is_loopback", "is_url"]

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/+\S")
_HUB = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/|models/)?([\w.-]+/[\w.-]+)")


def is_url(text: str) -> bool:
    """Return whether a text is an address and no path, also where a `Path` has taken a slash out of `https://`."""
    return _SCHEME.match(text) is not None


def _no_url_secret(text: str) -> str:
    if has_url_secret(text):
        raise ValueError(
            f"holds a password, a key or a signature in a URL, and is kept with each run: {mask_urls(text)[:200]}; "
            "leave it out"
        )
    return text


def _no_url(text: str) -> str:
    if not is_url(text):
        return text
    on_hub = _HUB.match(text)
    advice = f"write the hub id: {on_hub[1]!r}" if on_hub else "download it, and pass the folder or the file"
    raise ValueError(f"is a URL ({mask_urls(text)[:200]}); {advice}")


NoUrlSecret = Annotated[str, AfterValidator(_no_url_secret)]
"""Text that is kept with a run, so that a password or a signature in it is refused."""
NoUrl = Annotated[str, AfterValidator(_no_url)]
"""A hub id or a path: nothing is read from a URL."""


def check_service_url(name: str, url: str, *, key_comes_from: str, allow_http: bool = False) -> str:
    """Return the address of a service without blanks and slashes at its end.

    The message never repeats the address: what makes it wrong may be a password.

    Args:
        name: The argument, for the message.
        url: The address.
        key_comes_from: Where the key belongs instead, such as `TOGETHER_API_KEY`.
        allow_http: Whether a key may go to another machine without encryption.

    Raises:
        SpecError: It isn't http or https with a host, holds a user name, password, query or fragment, or is plain http
            to another machine.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    if parts is None:  # out of the `except`: the parser's error repeats the port, which may be half of a password
        raise SpecError(f"{name} is not a valid URL; one looks like https://api.example.com/v1")
    if parts.username is not None or parts.password is not None or "@" in url:
        raise SpecError(
            f"{name} must hold no user name and no password, since it is kept with each run; the key comes from "
            f"{key_comes_from}"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise SpecError(
            f"{name} must start with https:// or http:// and name a host; one looks like https://api.example.com/v1"
        )
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise SpecError(
            f"{name} must have no query and no fragment, since it is kept with each run; the key comes from "
            f"{key_comes_from}"
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise SpecError(
            f"{name} is plain http, which would send the key unencrypted to {host}. Use https://, or pass "
            "allow_http=True."
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
