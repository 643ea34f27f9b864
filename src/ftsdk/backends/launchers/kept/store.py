"""Objects below one address, through fsspec: whole files that appear at once, and no folders."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ftsdk._files import make_folder, replace_file, replacing
from ftsdk._secrets import redact
from ftsdk.errors import BackendError, CredentialsError, MissingExtraError, SpecError

__all__ = ["Store"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_TRIES = 3


def _mapped(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn what fsspec and its packages raise into our errors, after some tries."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        for attempt in range(_TRIES):
            try:
                return function(*args, **kwargs)
            except (BackendError, CredentialsError, MissingExtraError, *_ABSENT):
                raise
            except PermissionError as error:
                raise CredentialsError(
                    f"the storage refuses access ({redact(str(error), limit=300)}); this machine and the nodes need "
                    "keys that may read and write there"
                ) from None
            except Exception as error:  # noqa: BLE001 - each store's package has errors of its own
                if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                    raise CredentialsError(
                        "there are no keys for the storage; set them as its package finds them, such as "
                        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, here and on the nodes"
                    ) from None
                if attempt == _TRIES - 1:
                    reason = redact(f"{type(error).__name__}: {error}", limit=300)
                    raise BackendError(f"the storage doesn't answer ({reason}); try again", retryable=True) from None
                time.sleep(0.5 * 4**attempt)
        raise AssertionError

    return call


class Store:
    """The objects whose names begin with an address.

    Args:
        address: Such as `s3://bucket/ftsdk/runs/RUN`.

    Raises:
        MissingExtraError: Its package isn't installed.
        SpecError: fsspec knows no such addresses.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._fs, self._root = _filesystem(address)

    @_mapped
    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """Return an object's bytes from `start` on, or None if there is none."""
        try:
            if start == 0:
                return self._fs.cat_file(self._path(name))
            try:
                return self._fs.cat_file(self._path(name), start=start)
            except _ABSENT:
                return None
            except Exception:  # noqa: BLE001 - a range behind the end is an error at some stores
                return self._fs.cat_file(self._path(name))[start:]
        except _ABSENT:
            return None

    @_mapped
    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        if self._is_local:
            replace_file(Path(self._path(name)), content)
        else:
            self._fs.pipe_file(self._path(name), content)

    @_mapped
    def upload(self, source: Path, name: str) -> None:
        """Write an object from a file."""
        if self._is_local:
            make_folder(Path(self._path(name)).parent)
            with replacing(Path(self._path(name))) as draft:
                self._fs.put_file(str(source), str(draft))
        else:
            self._fs.put_file(str(source), self._path(name))

    @_mapped
    def download(self, name: str, target: Path) -> None:
        """Write an object to a file.

        Raises:
            FileNotFoundError: There is none.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        self._fs.get_file(self._path(name), str(target))

    @_mapped
    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the objects below a name, by the rest of their names, with their sizes in bytes."""
        root = self._path(folder) if folder else self._root
        with contextlib.suppress(AttributeError):
            self._fs.invalidate_cache()
        try:
            found: dict[str, dict[str, Any]] = self._fs.find(root, detail=True)
        except _ABSENT:
            return {}
        prefix = f"{root.strip('/')}/"
        named = {path.strip("/").removeprefix(prefix): info for path, info in found.items()}
        return {
            name: int(info.get("size") or 0)
            for name, info in named.items()
            if info.get("type") != "directory" and not _is_draft(name)
        }

    @_mapped
    def modified_at(self, name: str) -> float | None:
        """Return when an object was written, in seconds since the epoch, or None if there is none."""
        with contextlib.suppress(AttributeError):
            self._fs.invalidate_cache()
        try:
            return float(self._fs.modified(self._path(name)).timestamp())
        except _ABSENT:
            return None

    @_mapped
    def remove(self, *names: str) -> None:
        """Remove objects, in this order. Those that aren't there don't matter."""
        for name in names:
            with contextlib.suppress(*_ABSENT):
                self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @property
    def _is_local(self) -> bool:
        """Whether a file would be seen while it is written."""
        protocol: Any = self._fs.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def _is_draft(name: str) -> bool:
    return name.endswith(".tmp") and name.rpartition("/")[2].startswith(".")


def _filesystem(address: str) -> tuple[Any, str]:
    scheme = address.partition("://")[0]
    try:
        core: Any = import_module("fsspec.core")
        # Listings change while a run works, so none is kept.
        fs, root = core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        if scheme in _EXTRAS or error.name == "fsspec":
            raise MissingExtraError(
                _EXTRAS.get(scheme, "skypilot"), needed_for=f"storage {scheme}://", missing=error.name
            ) from error
        package = _PACKAGES.get(scheme, f"the package of fsspec for {scheme}://")
        raise SpecError(f"storage {scheme}:// needs {package}; install it here and on the nodes") from error
    except ValueError as error:
        raise SpecError(f"storage {scheme}:// isn't known to fsspec; s3://, gs:// and abfs:// are") from error
    return fs, str(root).rstrip("/")
