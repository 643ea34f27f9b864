"""Checks of addresses that users give and that are kept with a run."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ftsdk.errors import SpecError

__all__ = ["check_service_url", "is_loopback"]


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
