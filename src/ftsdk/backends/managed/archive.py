"""Archives from outside: unpacked so that nothing leaves the folder, nothing runs, and nothing fills the disk."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import re
import shutil
import sys
import tarfile
import unicodedata
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Self, cast

from ftsdk._files import replacing
from ftsdk._format import printable
from ftsdk.errors import BackendError, CorruptArtifactError, MissingExtraError
from ftsdk.runfolder.manifest import MANIFEST, seal, verify

__all__ = ["ArchiveLimits", "publish", "unpack"]


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What an archive may hold; far above any that has weights in it."""

    members: int = 20_000
    """Files and folders."""
    name_chars: int = 1_024
    depth: int = 32
    """Folders in one another."""
    header_bytes: int = 256 << 10
    """Headers of one member: long names, PAX records, sparse maps."""
    expansion: int = 100
    """How many times its own size an archive may unpack to, beside `least_bytes`."""
    least_bytes: int = 64 << 20
    window_bytes: int = 128 << 20
    """Memory for the window of Zstandard."""
    config_bytes: int = 4 << 20
    """Size of the JSON file that describes the weights."""


_LIMITS = ArchiveLimits()
_LEFT_OUT = frozenset(
    {".bin", ".ckpt", ".joblib", ".msgpack", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"}
)
"""Files that could run code when they are loaded: weights come as safetensors, and nothing here needs these."""
_BLOCK = 1 << 20


def unpack(archive: Path, into: Path, *, max_bytes: int | None = None, limits: ArchiveLimits = _LIMITS) -> list[str]:
    """Unpack a `.tar.zst`, `.tar.gz` or `.tar` into a new folder.

    Args:
        archive: The file; its first bytes decide what it is, not its name.
        into: The folder; made here.
        max_bytes: The most that may come out. None: as `limits` allow.
        limits: What the archive may hold.

    Returns:
        Names of files that were left out, because loading them could run code.

    Raises:
        CorruptArtifactError: Torn, over a limit, or with a name, link or device that could reach out of the folder.
        BackendError: The disk is full.
    """
    room = archive.stat().st_size * limits.expansion + limits.least_bytes if max_bytes is None else max_bytes
    into.mkdir(parents=True)
    free = shutil.disk_usage(into).free
    left_out: list[str] = []
    seen: set[str] = set()
    try:
        with _opened(archive, limits) as stream:
            metered = _Metered(stream, limits.header_bytes)
            with tarfile.open(fileobj=cast("IO[bytes]", metered), mode="r|", tarinfo=_Member) as tar:
                for count, member in enumerate(tar, start=1):
                    if count > limits.members:
                        raise _refused(archive, f"holds more than {limits.members:,} files and folders")
                    name = _safe_name(member, archive, limits)
                    metered.left = limits.header_bytes + max(0, member.size)
                    if name is None:
                        continue
                    # Names that differ in case or in how an accent is written are one file on some systems.
                    folded = unicodedata.normalize("NFC", name).casefold()
                    if folded in seen:
                        raise _refused(archive, f"holds {_shown(name)} twice")
                    seen.add(folded)
                    room -= member.size
                    if room < 0:
                        raise _refused(archive, "unpacks to far more than its size allows for")
                    if PurePosixPath(name).suffix.lower() in _LEFT_OUT:
                        left_out.append(name)
                        continue
                    free -= member.size
                    if free < 0:
                        raise _disk_full(archive)
                    _write(tar, member, into / name)
                    metered.left = limits.header_bytes
    except _HeadersTooLarge as error:
        raise _refused(archive, f"has more than {limits.header_bytes >> 10} KiB of headers for one file") from error
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError, zlib.error, _zstd_error()) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(archive) from error
        reason = f"{type(error).__name__}: {printable(str(error), 200)}"
        raise CorruptArtifactError(
            f"{archive.name} can't be unpacked ({reason}); collect() again downloads it anew"
        ) from error
    return left_out


def publish(
    unpacked: Path, into: Path, *, kind: Literal["adapter", "model"], base: str, facts: dict[str, Any]
) -> dict[str, Any]:
    """Move unpacked weights into their folder and seal it: files first, manifest last.

    Args:
        unpacked: What `unpack` gave.
        into: The artifact's folder; halves of files from an earlier try are replaced.
        kind: What must be there: an adapter with its config, or a model with its config.
        base: Hub id of the model that was tuned.
        facts: What else the manifest says.

    Returns:
        The manifest.

    Raises:
        CorruptArtifactError: There are no safetensors, or no config.
    """
    config = "adapter_config.json" if kind == "adapter" else "config.json"
    root = _root_of(unpacked, config)
    if root is None or not any(root.glob("*.safetensors")):
        there = sorted(p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file())
        raise CorruptArtifactError(
            f"no {config} with safetensors beside it came with the weights, but {', '.join(there[:10]) or 'nothing'}"
        )
    facts = {**facts, "kind": kind, "base": base}
    if kind == "adapter":
        facts.update(_name_base(root / config, base))
    into.mkdir(parents=True, exist_ok=True)
    (into / MANIFEST).unlink(missing_ok=True)
    for source in sorted(path for path in root.rglob("*") if path.is_file()):
        target = into / source.relative_to(root)
        if source.name == MANIFEST and source.parent == root:
            continue  # ours says what is whole
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(source, target)
    seal(into, facts)
    return verify(into)


class _HeadersTooLarge(Exception):
    pass


class _Metered(io.RawIOBase):
    """Stops a reader that takes more than is left for it: tarfile reads headers of any size into memory."""

    def __init__(self, stream: IO[bytes], left: int) -> None:
        self._stream = stream
        self.left = left
        """Bytes; tarfile reads ahead by less than a header's limit."""

    def read(self, size: int = -1, /) -> bytes:
        content = self._stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise _HeadersTooLarge
        return content


class _Member(tarfile.TarInfo):
    """Takes a damaged header behind the first for damage, where tarfile takes it for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # the mark at the end, which is raised as an error
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged header: {error}") from error


def _refused(archive: Path, why: str) -> CorruptArtifactError:
    return CorruptArtifactError(f"{archive.name} {why}; nothing of it is used")


def _disk_full(archive: Path) -> BackendError:
    return BackendError(f"no space left to unpack {archive.name}; make room, then collect() again")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:80]}...")


def _safe_name(member: tarfile.TarInfo, archive: Path, limits: ArchiveLimits) -> str | None:
    """Return the name of a file in the archive; None for a folder."""
    name = member.name
    path = PurePosixPath(name)
    if len(name) > limits.name_chars or len(path.parts) > limits.depth:
        raise _refused(archive, f"holds a name that is too long or too deep ({_shown(name)})")
    is_outside = (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or re.match(r"[A-Za-z]:", name) is not None
    )
    if is_outside or not all(part.isprintable() for part in path.parts):
        raise _refused(archive, f"names {_shown(name)}, which could lie outside of the folder")
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        raise _refused(archive, f"holds {_shown(name)}, which is a link, a device or a sparse file")
    if not path.parts or member.size < 0:
        raise _refused(archive, "holds a file without a name, or with a negative size")
    return path.as_posix()


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = cast("IO[bytes]", tar.extractfile(member))
    with target.open("xb") as file:
        while block := source.read(_BLOCK):
            file.write(block)
        if file.tell() != member.size:
            raise EOFError(f"{member.name} ends early")


@contextlib.contextmanager
def _opened(archive: Path, limits: ArchiveLimits) -> Generator[IO[bytes]]:
    with archive.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head == b"\x28\xb5\x2f\xfd":
            with _zstd_reader(file, limits) as stream:
                yield stream
        elif head[:2] == b"\x1f\x8b":
            import gzip

            with gzip.open(file) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield file


def _zstd_reader(file: IO[bytes], limits: ArchiveLimits) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd

        longest = limits.window_bytes.bit_length() - 1
        return zstd.open(file, options={zstd.DecompressionParameter.window_log_max: longest})
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError("together", needed_for="unpacking .tar.zst", missing=error.name) from error
    decompressor = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
    return decompressor.stream_reader(file, read_across_frames=True, closefd=False)


def _zstd_error() -> type[Exception]:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdError
    try:
        import zstandard
    except ImportError:
        return EOFError
    return cast("type[Exception]", zstandard.ZstdError)


def _root_of(unpacked: Path, config: str) -> Path | None:
    """Find the folder with the config: archives put their files at the top, or into a folder."""
    found = sorted((path for path in unpacked.rglob(config) if path.is_file()), key=lambda path: len(path.parts))
    return found[0].parent if found else None


def _name_base(config: Path, base: str) -> dict[str, Any]:
    """Let the adapter name its base as the hub does; the service writes a path or a name of its own."""
    if config.stat().st_size > _LIMITS.config_bytes:
        raise CorruptArtifactError(f"{config.name} is larger than any; the adapter isn't used")
    try:
        content = cast("dict[str, Any]", json.loads(config.read_bytes()))
        named = content.get("base_model_name_or_path")
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptArtifactError(f"{config.name} can't be read ({error}); the adapter isn't used") from error
    if named == base:
        return {}
    config.write_text(json.dumps({**content, "base_model_name_or_path": base}, indent=2))
    return {"base_named_by_service": named}


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError:
        if target.is_dir():
            raise
        # Another disk: copy beside the target first, so that no half of a file has its name.
        with replacing(target) as draft:
            shutil.copyfile(source, draft)
