"""Archives from outside: unpacked so that nothing leaves the folder, nothing runs, and nothing fills the disk."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tarfile
import zlib
from collections.abc import Generator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, cast

from ftsdk._files import replacing
from ftsdk.errors import CorruptArtifactError, MissingExtraError
from ftsdk.runfolder.manifest import MANIFEST, seal, verify

__all__ = ["publish", "unpack"]

_MAX_FILES = 10_000
_LEFT_OUT = frozenset(
    {".bin", ".ckpt", ".joblib", ".msgpack", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"}
)
"""Files that could run code when they are loaded: weights come as safetensors, and nothing here needs these."""
_BLOCK = 1 << 20


def unpack(archive: Path, into: Path, *, max_bytes: int | None = None) -> list[str]:
    """Unpack a `.tar.zst`, `.tar.gz` or `.tar` into a new folder.

    Args:
        archive: The file; its first bytes say what it is, not its name.
        into: The folder; made here.
        max_bytes: The most that may come out. None: a hundred times the archive and 64 MiB.

    Returns:
        Names of files that were left out, because loading them could run code.

    Raises:
        CorruptArtifactError: Torn, too large, or with a name, link or device that could reach out of the folder.
    """
    room = archive.stat().st_size * 100 + (64 << 20) if max_bytes is None else max_bytes
    into.mkdir(parents=True)
    left_out: list[str] = []
    seen: set[str] = set()
    try:
        with _opened(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                name = _safe_name(member, archive)
                if name is None:
                    continue
                # Names that differ in case only are one file on some systems.
                if name.lower() in seen or len(seen) >= _MAX_FILES:
                    raise CorruptArtifactError(
                        f"{archive.name} has {name!r} twice, or more than {_MAX_FILES} files; nothing of it is used"
                    )
                seen.add(name.lower())
                room -= member.size
                if room < 0:
                    raise CorruptArtifactError(
                        f"{archive.name} unpacks to far more than its size allows for; nothing of it is used"
                    )
                if PurePosixPath(name).suffix.lower() in _LEFT_OUT:
                    left_out.append(name)
                    continue
                _write(tar, member, into / name)
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, _zstd_error()) as error:
        raise CorruptArtifactError(
            f"{archive.name} can't be unpacked ({type(error).__name__}: {error}); collect() again downloads it anew"
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


def _safe_name(member: tarfile.TarInfo, archive: Path) -> str | None:
    """Return the name of a file in the archive; None for a folder or for what archivers note about themselves."""
    name = member.name
    path = PurePosixPath(name)
    is_outside = (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or re.match(r"[A-Za-z]:", name) is not None
    )
    if is_outside or not all(part.isprintable() for part in path.parts):
        raise CorruptArtifactError(
            f"{archive.name} names {name!r}, which could lie outside of the folder; nothing of it is used"
        )
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        raise CorruptArtifactError(
            f"{archive.name} holds {name!r}, which is a link, a device or a sparse file; nothing of it is used"
        )
    if not path.parts:
        raise CorruptArtifactError(f"{archive.name} holds a file without a name; nothing of it is used")
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
def _opened(archive: Path) -> Generator[IO[bytes]]:
    with archive.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head == b"\x28\xb5\x2f\xfd":
            with _zstd_reader(file) as stream:
                yield stream
        elif head[:2] == b"\x1f\x8b":
            import gzip

            with gzip.open(file) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield file


def _zstd_reader(file: IO[bytes]) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.open(file)
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError("together", needed_for="unpacking .tar.zst", missing=error.name) from error
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)


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
    found = sorted(unpacked.rglob(config), key=lambda path: len(path.parts))
    return found[0].parent if found else None


def _name_base(config: Path, base: str) -> dict[str, Any]:
    """Let the adapter name its base as the hub does; the service writes a path or a name of its own."""
    try:
        content = cast("dict[str, Any]", json.loads(config.read_bytes()))
        named = content.get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
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
        import shutil

        with replacing(target) as draft:
            shutil.copyfile(source, draft)
