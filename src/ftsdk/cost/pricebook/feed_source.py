"""The bytes of a price feed, from a file or an address, within limits of size and time."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from ftsdk._format import printable
from ftsdk._secrets import mask_urls, redact
from ftsdk.errors import SpecError
from ftsdk.spec.base import nearest

__all__ = ["FeedBytes", "feed_facts", "feed_limit", "read_feed_bytes", "read_named_feed"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class FeedBytes(NamedTuple):
    """A feed as it was read."""

    content: bytes
    source: str
    """The address, or the name of the file: the source of its prices."""
    name: str
    """The last part of the address, or the file's name, which names the provider of a catalogue of GPUs."""


@functools.cache
def feed_facts() -> dict[str, Any]:
    """Return the packaged facts about feeds: their addresses, names of providers, limits."""
    import yaml

    text = (resources.files("ftsdk.cost.pricebook") / "feeds.yaml").read_text(encoding="utf-8")
    return cast("dict[str, Any]", yaml.safe_load(text))


def feed_limit(kind: str) -> int:
    """Return a limit: `bytes`, `unpacked_bytes`, `prices`, `seconds` or `written`."""
    return int(feed_facts()["limits"][kind])


def read_named_feed(name: str, *, clock: Callable[[], float] = time.monotonic) -> FeedBytes:
    """Download a feed by its name in `feeds.yaml`.

    Raises:
        SpecError: No feed has this name, it can't be reached, or it is larger or slower than the limits.
    """
    feeds = {feed["name"]: feed for feed in feed_facts()["feeds"]}
    if name not in feeds:
        raise SpecError(f"no feed is called {name!r}{nearest(name, set(feeds))}; there are {', '.join(feeds)}")
    address = str(feeds[name]["url"])
    if "version_url" in feeds[name]:
        version = _download(feeds[name]["version_url"], limit=200, clock=clock).decode("ascii", "replace").strip()
        if not re.fullmatch(r"[\w.-]{1,60}", version):
            raise SpecError(f"{feeds[name]['version_url']} has no version but {printable(version, 60)!r}; try later")
        address = address.format(version=version)
    return _downloaded(address, clock)


def read_feed_bytes(source: str, *, clock: Callable[[], float] = time.monotonic) -> FeedBytes:
    """Read a feed from a file, or download it.

    Args:
        source: A path, or an https address; http is accepted for this machine only.
        clock: Seconds, for the limit of time.

    Raises:
        SpecError: It can't be read or reached, or it is larger or slower than the limits.
    """
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", source):
        return _downloaded(source, clock)
    path, limit = Path(source), feed_limit("bytes")
    try:
        if not path.is_file():
            raise SpecError(f"{path} isn't a file; pass a file, an address, or --feed NAME")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > limit:
        raise SpecError(f"{path} is larger than {limit / 1e6:.0f} MB, the most that is read of a feed; split it")
    return FeedBytes(content, path.name, path.name)


def _downloaded(address: str, clock: Callable[[], float]) -> FeedBytes:
    content = _download(address, limit=feed_limit("bytes"), clock=clock)
    return FeedBytes(content, mask_urls(address), urlsplit(address).path.rpartition("/")[2])


def _download(address: str, *, limit: int, clock: Callable[[], float]) -> bytes:
    import httpx

    shown = printable(mask_urls(address), 200)
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise SpecError(f"{shown!r} isn't an address") from error
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SpecError(f"a feed is read over https; {shown!r} isn't (http is for this machine only)")
    if parts.username or parts.password:
        raise SpecError("the address of a feed must have no user name and no password; download it, and pass the file")
    seconds = feed_limit("seconds")
    started, content = clock(), bytearray()
    # Uncompressed, so that what is counted is what is kept: a small answer can't grow.
    headers = {"Accept-Encoding": "identity", "User-Agent": "ftsdk"}
    try:
        with httpx.stream("GET", address, headers=headers, timeout=10, follow_redirects=False, trust_env=True) as got:
            if got.status_code != 200:
                raise SpecError(f"{shown} answers {got.status_code}; check the address, or download it by hand")
            if got.headers.get("content-encoding", "identity") != "identity":
                raise SpecError(f"{shown} sends a compressed answer that wasn't asked for; download it by hand")
            for part in got.iter_raw():
                content += part
                if len(content) > limit:
                    raise SpecError(f"{shown} is larger than {limit / 1e6:.3g} MB, the most that is read of a feed")
                if clock() - started > seconds:
                    raise SpecError(f"{shown} isn't whole after {seconds} s; try later, or download it by hand")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SpecError(f"{shown} can't be reached: {redact(str(error)) or type(error).__name__}") from error
    return bytes(content)
