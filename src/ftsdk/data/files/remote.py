"""A data file at an https:// or s3:// address, fetched once to this machine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from ftsdk._format import printable
from ftsdk._home import home
from ftsdk._secrets import mask_urls, redact
from ftsdk.data.files.kinds import FileKind, needed_kind
from ftsdk.data.limits import LIMITS
from ftsdk.errors import DatasetError, MissingExtraError
from ftsdk.spec.urls import is_loopback

__all__ = ["Fetched", "fetched"]

_REDIRECTS = 5
_BLOCK = 4 << 20


class Fetched(NamedTuple):
    """A file that was fetched."""

    path: Path
    name: str
    """What errors call it: the end of its address."""
    kind: FileKind
    facts: dict[str, Any]
    """For the lineage: `bytes`, `sha256` and, if the server names one, `etag`."""


@contextmanager
def fetched(address: str, *, clock: Callable[[], float] = time.monotonic) -> Generator[Fetched]:
    """Yield a file at an address, which is on this machine as long as the block runs.

    Args:
        address: `https://...`, `s3://bucket/key`, or `http://` on this machine.
        clock: Seconds; for the limit of time.

    Raises:
        DatasetError: It isn't such an address, can't be reached, is too large or takes too long, or isn't a data file.
        MissingExtraError: It is on S3, and the extra `s3` isn't installed.
    """
    shown = printable(mask_urls(address), 200)
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port  # refuses what is no number, such as a password without its "@"
    except ValueError:
        parts, host = None, ""
    if parts is None:  # out of the `except`: the parser's error may repeat a password
        raise DatasetError("isn't a valid URL.", source=_without_authority(shown))
    if parts.scheme not in ("https", "http", "s3") or not host:
        raise DatasetError(
            "is a URL of a kind that isn't read; https:// and s3:// are.",
            source=shown,
            hint="Download it, and pass the file.",
        )
    if parts.username or parts.password:
        raise DatasetError(
            "has a user name or a password, which would be kept with each run.",
            source=shown,
            hint="Download it, and pass the file.",
        )
    name = printable(unquote(PurePosixPath(urlsplit(mask_urls(address)).path).name), 200)
    kind = needed_kind(name, shown)
    blocks = _s3_blocks if parts.scheme == "s3" else _http_blocks
    facts: dict[str, Any] = {}
    deadline = clock() + LIMITS.fetch_s
    with _folder() as folder:
        path = folder / f"fetched{kind.suffix}{kind.packing}"
        digest, size = hashlib.sha256(), 0
        try:
            with path.open("wb") as file:
                for block in blocks(address, shown, facts):
                    size += len(block)
                    if size > LIMITS.file_bytes:
                        raise _too_large(shown)
                    if clock() > deadline:
                        raise DatasetError(
                            f"isn't whole after {LIMITS.fetch_s:,.0f} s.",
                            source=shown,
                            hint="Download it, and pass the file.",
                        )
                    digest.update(block)
                    file.write(block)
        except OSError as error:
            raise DatasetError(f"can't be kept on this disk: {error.strerror or error}.", source=shown) from error
        yield Fetched(path, name, kind, {"bytes": size, "sha256": digest.hexdigest(), **facts})


@contextmanager
def _folder() -> Generator[Path]:
    parent = home() / "data"
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = TemporaryDirectory(prefix="fetched-", dir=parent)
    except OSError:  # a home that can't be written to
        made = TemporaryDirectory(prefix="ftsdk-")
    with made as folder:
        yield Path(folder)


def _http_blocks(address: str, shown: str, facts: dict[str, Any]) -> Iterator[bytes]:
    import httpx

    # Uncompressed, so that what is counted is what is kept.
    headers = {"Accept-Encoding": "identity", "User-Agent": "ftsdk"}
    timeout = httpx.Timeout(LIMITS.fetch_silence_s, connect=10)
    try:
        with httpx.Client(headers=headers, timeout=timeout, follow_redirects=False) as client:
            for _ in range(_REDIRECTS + 1):
                _check_transport(address, shown)
                with client.stream("GET", address) as answer:
                    if answer.is_redirect and "location" in answer.headers:
                        address = urljoin(address, answer.headers["location"])
                        continue
                    _check_answer(answer, shown)
                    _keep_etag(answer.headers.get("etag"), facts)
                    yield from answer.iter_raw()
                    return
        raise DatasetError(f"redirects more than {_REDIRECTS} times.", source=shown)
    except DatasetError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = printable(redact(str(error)) or type(error).__name__, 300)
        if not isinstance(error, httpx.HTTPError) or "location" in reason:  # repeats it, with its signature
            reason = "it leads to an address that isn't valid"
    # Out of the `except`: the client's error may repeat an address with a signature.
    raise DatasetError(
        f"can't be fetched: {reason}.",
        source=shown,
        hint="Check the address and the network; or download it, and pass the file.",
    )


def _without_authority(shown: str) -> str:
    """Return an address that can't be taken apart without what may be a host, or a password."""
    scheme, mark, rest = shown.partition("://")
    path = rest.partition("?")[0].partition("/")[2]
    return f"{scheme}://***/{path}" if mark else shown


def _check_transport(address: str, shown: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise DatasetError(
            "is or leads to plain http, which anybody on the way can change; https:// is read."
            if parts.scheme == "http"
            else f"leads to an address of the kind {printable(parts.scheme, 20)!r}, which isn't read.",
            source=shown,
        )


def _check_answer(answer: Any, shown: str) -> None:
    if answer.status_code != 200:
        private = answer.status_code in (401, 403, 404)
        raise DatasetError(
            f"the server answers {answer.status_code}.",
            source=shown,
            hint="Check the address; data that needs a login must be downloaded first, and passed as a file."
            if private
            else "Try again later; or download it, and pass the file.",
        )
    if answer.headers.get("content-encoding", "identity") not in ("identity", ""):
        raise DatasetError(
            "the server sends it compressed, which wasn't asked for.",
            source=shown,
            hint="Download it, and pass the file.",
        )
    announced = answer.headers.get("content-length", "0")
    if announced.isdecimal() and (len(announced) > 20 or int(announced) > LIMITS.file_bytes):
        raise _too_large(shown)


def _s3_blocks(address: str, shown: str, facts: dict[str, Any]) -> Iterator[bytes]:
    try:
        import s3fs
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ImportError as error:
        raise MissingExtraError("s3", needed_for="reading s3://", missing=error.name) from error
    options: dict[str, Any] = {"config_kwargs": {"connect_timeout": 10, "read_timeout": LIMITS.fetch_silence_s}}
    key = address.removeprefix("s3://")
    try:
        try:
            files = s3fs.S3FileSystem(skip_instance_cache=True, **options)
            before = files.info(key)
        except NoCredentialsError:  # public data needs none
            files = s3fs.S3FileSystem(anon=True, skip_instance_cache=True, **options)
            before = files.info(key)
        if before.get("type") != "file":
            raise DatasetError("is a folder; one file is read from S3.", source=shown, hint="Name one file in it.")
        if int(before.get("size") or 0) > LIMITS.file_bytes:
            raise _too_large(shown)
        _keep_etag(before.get("ETag"), facts)
        with files.open(key, "rb", block_size=_BLOCK, cache_type="none") as file:
            while block := file.read(_BLOCK):
                assert isinstance(block, bytes)
                yield block
        if files.info(key, refresh=True).get("ETag") != before.get("ETag"):
            raise DatasetError("was changed while it was read.", source=shown, hint="Read it again.")
    except (OSError, BotoCoreError, ClientError) as error:
        if isinstance(error, FileNotFoundError):
            what = "there is no such file"
        elif isinstance(error, PermissionError):
            what = "access is denied"
        else:
            what = f"can't be fetched: {printable(redact(str(error)) or type(error).__name__, 300)}"
        raise DatasetError(
            f"{what}.",
            source=shown,
            hint="Check the bucket and the key, and the credentials that the AWS tools use on this machine.",
        ) from error


def _keep_etag(etag: object, facts: dict[str, Any]) -> None:
    if isinstance(etag, str) and etag:
        with suppress(UnicodeError):
            facts["etag"] = printable(etag.strip().removeprefix("W/").strip('"'), 100)


def _too_large(shown: str) -> DatasetError:
    return DatasetError(
        f"is larger than {LIMITS.file_bytes:,} bytes, the most that is read.",
        source=shown,
        hint="Split it into several files.",
    )
