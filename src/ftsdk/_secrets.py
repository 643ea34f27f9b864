"""Secrets: how a key must look, and how it is kept out of messages and logs.

Text that comes from a server, a library or the user passes through `redact` before it becomes part of an error, and
before it is cut: half a key is no longer recognised.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from ftsdk.errors import CredentialsError

__all__ = [
    "check_key",
    "has_url_secret",
    "is_secret_name",
    "looks_like_key",
    "mask_urls",
    "redact",
    "redact_logs",
    "remove_keys",
]

_SHORTEST = 4
"""Shorter secrets are left in texts: their letters are parts of words."""
_SHORTEST_OF_ENVIRONMENT = 8
_LONGEST_TEXT = 20_000
"""Characters of a text that are searched for what only looks like a secret; what follows is cut off."""
_SECRET_NAME = re.compile(r"(?i)(?:key|token|secret|passw(?:or)?d|credentials?)(?:_|$)")
"""Names of environment variables that hold a secret."""
_HTTP_LOGGERS = (
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "httpx",
)

_BEARER = re.compile(r"(?i)(\bbearer(?:\s|%20|\+)+|\bauthorization['\"]?\s*[:=]\s*['\"]?basic\s+)[^\s'\",}\]]+")
_QUERY = re.compile(r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,20}://[^\s?'\"<>]{1,2000})\?[^\s'\"<>]*", re.IGNORECASE)
_URL = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,20}:/{1,2}[^\s'\"<>/][^\s'\"<>]*", re.IGNORECASE)
"""Also where a `Path` has taken a slash out of `https://`."""
_VALUE = re.compile(r"([?&;#](?:[^=&;#]{0,200}=)?+)(?!(?:true|false|\d{1,3})(?:[&;#]|$))[^&;#]+", re.IGNORECASE)
"""A value of a query or a fragment, whatever its name, and a query that has no names; `true` and `1` hold no secret."""
_TOKEN_OF_PATH = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{24,}(?![A-Za-z0-9])"
)
"""Letters of both cases and digits in a row: no word, and no hash in hexadecimals."""
_USER = re.compile(r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,20}://)[^\s/?#'\"<>]{1,500}@", re.IGNORECASE)
_USER_OF_PATH = re.compile(r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,20}:/{1,2})[^\s/?#'\"<>]{1,500}@", re.IGNORECASE)
"""As `_USER`, and also where a `Path` has taken a slash out of `https://`."""
_SIGNING = re.compile(
    r"""(?ix) ([?&;](?:
        [\w.-]{0,60}(?:signature|token|credentials?|secret|passw(?:or)?d|api[_-]?key|access[_-]?key(?:_?id)?)
        | (?:[\w.-]{0,60}[._-])?(?:sig|key|auth|pwd|pass|code)
    )=) [^&;\#\s'"<>]+"""
)
"""Parameters of a query that hold a key or a signature: `?sig=`, `X-Amz-Signature=`, `access_token=`."""
_NAMED = re.compile(
    r"""(?ix) (['"]?\b[\w-]{0,40}
        (?: (?:api|access|secret|private)[_-]?key | (?:api|access|auth|refresh|session|hf)[_-]?token
            | secret | passw(?:or)?d )
        (?:_?id)?['"]? \s*[:=]\s* ['"]?) [^\s'",;&}\]]{4,}"""
)
_SHAPES = re.compile(
    r"\b(?:sk-[\w-]{16,}|(?:hf|gsk|tgp_v1|ghp|r8)_[A-Za-z0-9]{20,}|github_pat_\w{20,}|(?:xai|pplx)-[A-Za-z0-9]{20,}"
    r"|(?:ak|as)-[A-Za-z0-9]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|xox[abeprs]-[\w-]{10,})"
)
"""Keys of known services, by how they begin."""
_LONG_SEGMENT = re.compile(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{16,}")


def redact(text: str, secrets: Iterable[str] = (), *, limit: int | None = None) -> str:
    """Return a text without secrets; each becomes `***`.

    Removed are the given ones and those in the environment, as they are and encoded (base64, URL, JSON), bearer tokens,
    user names and passwords in URLs, the query of URLs, where signatures are, values that are named as a secret, such
    as `api_key=...`, and what has the shape of a known service's key.

    Args:
        text: Any text, whole.
        secrets: Keys that were in use.
        limit: Most characters of the result; None: 20,000.
    """
    text = remove_keys(text, {*secrets, *_secrets_of_environment()})[:_LONGEST_TEXT]
    for pattern in (_BEARER, _QUERY, _USER, _NAMED):
        text = pattern.sub(_REPLACEMENTS[pattern], text)
    return _SHAPES.sub("***", text)[:limit]


def mask_urls(text: str) -> str:
    """Return a name or a location without what may be secret in URLs; each such part becomes `***`.

    For what the user gave and what is shown or kept with a run: user names and passwords, every value of a query but
    `true` and the like, since any name may stand for a key, and parts of a path that look like one.
    """
    return _URL.sub(lambda found: _masked_url(found[0]), _without_signatures(text))


def has_url_secret(text: str) -> bool:
    """Return whether a text has a URL with a user name, a password, a key or a signature.

    A value of a query under any other name may be none, so an address with one can be kept, but not shown.
    """
    return _without_signatures(text) != text or any(_masked_path(found[0]) != found[0] for found in _URL.finditer(text))


def _without_signatures(text: str) -> str:
    return _SIGNING.sub(r"\1***", _USER_OF_PATH.sub(r"\1***@", text))


def _masked_url(url: str) -> str:
    path = re.split("[?#]", url, maxsplit=1)[0]
    rest = url[len(path) :]
    query, mark, fragment = rest.partition("#")
    shown = _masked_path(path) + _VALUE.sub(r"\1***", query)
    return shown + mark + (_VALUE.sub(r"\1***", f"#{fragment}")[1:] if "=" in fragment else fragment)


def _masked_path(url: str) -> str:
    scheme, slashes, path = url.partition("/")
    path = re.split("[?#]", path, maxsplit=1)[0]
    return scheme + slashes + _TOKEN_OF_PATH.sub("***", _SHAPES.sub("***", path)) + url[len(scheme + slashes + path) :]


def remove_keys(text: str, keys: Iterable[str]) -> str:
    """Return data from a server without the keys that it was sent, in whatever form it repeats them."""
    for key in sorted(keys, key=len, reverse=True):
        if len(key) >= _SHORTEST:
            text = _pattern(key).sub("***", text)
    return text


_REPLACEMENTS = {_BEARER: r"\1***", _QUERY: r"\1?***", _USER: r"\1***@", _NAMED: r"\1***"}


def check_key(key: str, *, source: str) -> str:
    """Return a key without blanks around it.

    Args:
        key: The key.
        source: Where it comes from, for the message; the key itself is never shown.

    Raises:
        CredentialsError: It can't be sent in a header.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise CredentialsError(
            f"the key in {source} contains a space, a line break or a character outside of ASCII; copy it again, whole "
            "and on one line"
        )
    return key


def is_secret_name(name: str) -> bool:
    """Return whether an environment variable of this name probably holds a secret."""
    return _SECRET_NAME.search(name) is not None


def looks_like_key(text: str) -> bool:
    """Return whether a text that should be a name is probably a key."""
    return _SHAPES.search(text) is not None or any(_LONG_SEGMENT.fullmatch(part) for part in re.split(r"[_-]", text))


def redact_logs(key: str, loggers: Iterable[str] = ()) -> None:
    """Keep a key out of what HTTP clients log, at every level, for as long as this process lives.

    They log the headers of answers, and a server may repeat in them what it was sent.

    Args:
        key: The key.
        loggers: Names of further loggers; a filter on a logger doesn't apply to those below it.
    """
    _logged.add(key)
    for name in (*_HTTP_LOGGERS, *loggers):
        logging.getLogger(name).addFilter(_without_secrets)  # adding it twice adds it once


_logged: set[str] = set()


def _without_secrets(record: logging.LogRecord) -> bool:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        return True  # logging itself reports a format that doesn't fit
    clean = redact(message, _logged)
    if clean != message:
        record.msg, record.args = clean, ()
    if record.exc_info:
        error = record.exc_info[1]
        text = logging.Formatter().formatException(record.exc_info) if error is not None else ""
        clean = redact(text, _logged)
        if clean != text:
            record.exc_info, record.exc_text = None, clean
    return True


def _secrets_of_environment() -> set[str]:
    return {
        value.strip()
        for name, value in os.environ.items()
        if len(value.strip()) >= _SHORTEST_OF_ENVIRONMENT and _SECRET_NAME.search(name)
    }


@functools.lru_cache(maxsize=64)
def _pattern(secret: str) -> re.Pattern[str]:
    """Return a pattern of all the forms in which a secret may be written."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, quote(raw, safe=""), quote(raw), quote_plus(raw), repr(secret)[1:-1]}
    for escaped in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        forms |= {escaped, escaped.replace("/", "\\/")}
    if len(raw) >= _SHORTEST_OF_ENVIRONMENT:
        forms |= _base64_forms(raw)
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)), re.IGNORECASE)


def _base64_forms(raw: bytes) -> set[str]:
    """Return what base64 makes of a secret, alone or behind and before other bytes, as in `user:password`."""
    alone = base64.b64encode(raw).decode().rstrip("=")
    found = {alone, alone.replace("+", "-").replace("/", "_")}
    for before in range(3):
        # The first and the last letters depend on the neighbours, so they are left out.
        whole = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        start = (0, 2, 3)[before]
        text = whole[start : len(whole) - (1 if (before + len(raw)) % 3 else 0)]
        found |= {text, text.replace("+", "-").replace("/", "_")}
    return found
