"""Volumes, of both versions: each is a folder of the host; where commits matter, it is two."""

# ruff: noqa: N802, D102 - methods are RPCs, named and described by the protocol

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal._utils.blob_utils import BLOCK_SIZE
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.blobs import Blobs
from ftsdk.testing.modal.faults import BrokenUpload
from ftsdk.testing.modal.mirror import mirror, mirror_path
from ftsdk.testing.modal.sources import Mounts
from ftsdk.testing.modal.world import FaultScript, HostSettings, found, refused

__all__ = ["Volume", "Volumes"]


@dataclass(eq=False)
class Volume:
    """A volume."""

    id: str
    name: str
    version: pb.VolumeFsVersion.ValueType
    folder: Path
    """What containers see."""
    created: float
    committed: Path | None = None
    """What clients see; None if they see what containers see."""
    commits: int = 0
    reloads: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def commit(self) -> None:
        """Make what containers have written visible to clients and to later containers."""
        if self.committed is not None:
            async with self.lock:
                await asyncio.to_thread(mirror, self.folder, self.committed)

    async def restore(self) -> None:
        """Forget what hasn't been committed, as a container that starts doesn't see it."""
        if self.committed is not None:
            async with self.lock:
                await asyncio.to_thread(mirror, self.committed, self.folder)

    def publish(self, path: Path) -> None:
        """Make a client's changes visible to containers at once; on Modal they would have to reload."""
        if self.committed is not None:
            mirror_path(path, self.folder / path.relative_to(self.committed.resolve()))

    def host_folder(self, sub_path: str) -> Path:
        """Return which folder a container gets for the volume, or for a part of it."""
        return self._inside(self.folder, sub_path)

    def path(self, name: str) -> Path:
        """Return where a client finds a file of the volume.

        Raises:
            GRPCError: INVALID_ARGUMENT for a path that leaves the volume.
        """
        return self._inside(self.committed or self.folder, name)

    @staticmethod
    def _inside(folder: Path, name: str) -> Path:
        root = folder.resolve()
        path = root / name.lstrip("/")
        # Links are followed only to check where they lead: what is removed or replaced is the link.
        if ".." in path.parts or not path.resolve().is_relative_to(root):
            raise refused(f"path leaves the volume: {name}")
        return path

    def metadata(self) -> pb.VolumeMetadata:
        """Return what the client keeps of it."""
        return pb.VolumeMetadata(
            name=self.name, version=self.version, creation_info=pb.CreationInfo(created_at=self.created)
        )


class Volumes:
    """All volumes of the workspace."""

    def __init__(self, settings: HostSettings, root: Path, blobs: Blobs, mounts: Mounts, faults: FaultScript) -> None:
        self._settings = settings
        self._root = root
        self._blobs = blobs
        self._mounts = mounts
        self._faults = faults
        self._volumes: dict[str, Volume] = {}
        self._names: dict[str, str] = {}

    def volume(self, volume_id: str) -> Volume:
        """Return a volume by its id.

        Raises:
            GRPCError: NOT_FOUND.
        """
        return found(self._volumes, volume_id, "volume")

    def named(self, name: str) -> Volume:
        """Return a volume by its name.

        Raises:
            GRPCError: NOT_FOUND.
        """
        return self.volume(found(self._names, name, "Volume"))

    async def VolumeGetOrCreate(self, request: pb.VolumeGetOrCreateRequest) -> pb.VolumeGetOrCreateResponse:
        name, how = request.deployment_name, request.object_creation_type
        if name in self._names:
            if how == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
                raise GRPCError(Status.ALREADY_EXISTS, f"Volume {name!r} already exists")
            volume = self.named(name)
        elif name and how == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
            raise GRPCError(Status.NOT_FOUND, f"Volume {name!r} not found")
        else:
            volume = self._create(name, request.version or pb.VOLUME_FS_VERSION_V1)
        return pb.VolumeGetOrCreateResponse(volume_id=volume.id, version=volume.version, metadata=volume.metadata())

    def _create(self, name: str, version: pb.VolumeFsVersion.ValueType) -> Volume:
        volume_id = self._settings.ids.new("vo")
        volume = Volume(volume_id, name, version, self._root / volume_id, time.time())
        volume.folder.mkdir(parents=True)
        if self._settings.commit_every_s is not None:
            volume.committed = self._root / f"{volume_id}-committed"
            volume.committed.mkdir()
        self._volumes[volume_id] = volume
        if name:
            self._names[name] = volume_id
        return volume

    async def VolumeGetById(self, request: pb.VolumeGetByIdRequest) -> pb.VolumeGetByIdResponse:
        return pb.VolumeGetByIdResponse(volume_id=request.volume_id, metadata=self.volume(request.volume_id).metadata())

    async def VolumeList(self, request: pb.VolumeListRequest) -> pb.VolumeListResponse:
        before = request.pagination.created_before or float("inf")
        newest_first = sorted(
            (v for v in self._volumes.values() if v.name and v.created < before), key=lambda v: -v.created
        )
        items = [
            pb.VolumeListItem(label=v.name, volume_id=v.id, created_at=v.created, metadata=v.metadata())
            for v in newest_first
        ]
        return pb.VolumeListResponse(items=items[: request.pagination.max_objects or 100])

    async def VolumeDelete(self, request: pb.VolumeDeleteRequest) -> Empty:
        volume = self.volume(request.volume_id)
        del self._volumes[volume.id]
        self._names.pop(volume.name, None)
        for folder in filter(None, (volume.folder, volume.committed)):
            shutil.rmtree(folder)
        return Empty()

    async def VolumeHeartbeat(self, request: pb.VolumeHeartbeatRequest) -> Empty:
        self.volume(request.volume_id)
        return Empty()

    async def VolumeCommit(self, request: pb.VolumeCommitRequest) -> pb.VolumeCommitResponse:
        volume = self.volume(request.volume_id)
        await volume.commit()
        volume.commits += 1
        return pb.VolumeCommitResponse(skip_reload=False)

    async def VolumeReload(self, request: pb.VolumeReloadRequest) -> Empty:
        self.volume(request.volume_id).reloads += 1
        return Empty()

    # Files go up.

    async def VolumePutFiles(self, request: pb.VolumePutFilesRequest) -> Empty:
        volume = self._of_version(request.volume_id, pb.VOLUME_FS_VERSION_V1)
        paths = [volume.path(file.filename) for file in request.files]
        self._check_overwriting(paths, forbidden=request.disallow_overwrite_existing_files)
        async with volume.lock:  # a commit in between would take them for files that a container has removed
            for path, file in zip(paths[: self._arriving(len(paths))], request.files, strict=False):
                path.parent.mkdir(parents=True, exist_ok=True)
                draft = path.with_name(f".{path.name}.upload")
                shutil.copyfile(self._mounts.content(file.sha256_hex), draft)
                draft.replace(path)
                volume.publish(path)
        self._break_off(len(paths))
        return Empty()

    async def VolumePutFiles2(self, request: pb.VolumePutFiles2Request) -> pb.VolumePutFiles2Response:
        # Called twice: the first answer names the missing blocks, the second call stores the files.
        volume = self._of_version(request.volume_id, pb.VOLUME_FS_VERSION_V2)
        paths = [volume.path(file.path) for file in request.files]
        self._check_overwriting(paths, forbidden=request.disallow_overwrite_existing_files)
        missing = [
            pb.VolumePutFiles2Response.MissingBlock(
                file_index=f, block_index=b, put_url=f"{self._settings.http_url}/block/{block.contents_sha256.hex()}"
            )
            for f, file in enumerate(request.files)
            for b, block in enumerate(file.blocks)
            if not self._blobs.block(block.contents_sha256.hex()).exists()
        ]
        if missing:
            return pb.VolumePutFiles2Response(missing_blocks=missing)
        async with volume.lock:
            for path, file in zip(paths[: self._arriving(len(paths))], request.files, strict=False):
                self._assemble(path, file)
                volume.publish(path)
        self._break_off(len(paths))
        return pb.VolumePutFiles2Response()

    def _assemble(self, path: Path, file: pb.VolumePutFiles2Request.File) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.upload")
        with draft.open("wb") as target:
            left = file.size
            for block in file.blocks:
                # The zeros at a block's end aren't sent.
                size = min(left, BLOCK_SIZE)
                content = self._blobs.block(block.contents_sha256.hex()).read_bytes()
                target.write(content[:size].ljust(size, b"\0"))
                left -= size
        draft.replace(path)

    def _of_version(self, volume_id: str, version: pb.VolumeFsVersion.ValueType) -> Volume:
        volume = self.volume(volume_id)
        if volume.version != version:
            raise refused(
                f"volume {volume.name or volume.id} is of version {volume.version}; this request is for version "
                f"{version}"
            )
        return volume

    def _check_overwriting(self, paths: Sequence[Path], *, forbidden: bool) -> None:
        there = [path for path in paths if path.exists()] if forbidden else []
        if there:
            raise GRPCError(Status.ALREADY_EXISTS, f"{there[0].name} already exists")

    def _arriving(self, files: int) -> int:
        fault = next(self._faults.pending(BrokenUpload), None)
        return files if fault is None else min(files, fault.files)

    def _break_off(self, files: int) -> None:
        fault = next(self._faults.pending(BrokenUpload), None)
        if files and fault is not None and self._faults.happens(fault):
            raise GRPCError(Status[fault.status], fault.message)

    # Files come down.

    async def VolumeGetFile2(self, request: pb.VolumeGetFile2Request) -> pb.VolumeGetFile2Response:
        path = self.volume(request.volume_id).path(request.path)
        if not path.is_file():
            raise GRPCError(Status.NOT_FOUND, f"File not found: {request.path}")
        size = path.stat().st_size
        start = min(request.start, size)
        end = min(size, start + request.len) if request.len else size
        # All blocks but the first begin where a block of the file begins.
        cuts = [start, *range((start // BLOCK_SIZE + 1) * BLOCK_SIZE, end, BLOCK_SIZE), end] if end > start else []
        urls = [
            f"{self._settings.http_url}/file/{request.volume_id}?"
            f"{urlencode({'path': request.path, 'start': a, 'length': b - a})}"
            for a, b in itertools.pairwise(cuts)
        ]
        return pb.VolumeGetFile2Response(get_urls=urls, size=size, start=start, len=end - start)

    async def VolumeListFiles(self, request: pb.VolumeListFilesRequest) -> AsyncIterator[pb.VolumeListFilesResponse]:
        volume = self._of_version(request.volume_id, pb.VOLUME_FS_VERSION_V1)
        yield pb.VolumeListFilesResponse(entries=_entries(volume, request.path, is_recursive=request.recursive))

    async def VolumeListFiles2(self, request: pb.VolumeListFiles2Request) -> AsyncIterator[pb.VolumeListFiles2Response]:
        volume = self._of_version(request.volume_id, pb.VOLUME_FS_VERSION_V2)
        yield pb.VolumeListFiles2Response(entries=_entries(volume, request.path, is_recursive=request.recursive))

    async def VolumeRemoveFile(self, request: pb.VolumeRemoveFileRequest) -> Empty:
        volume = self._of_version(request.volume_id, pb.VOLUME_FS_VERSION_V1)
        return await _remove(volume, request.path, is_recursive=request.recursive)

    async def VolumeRemoveFile2(self, request: pb.VolumeRemoveFile2Request) -> Empty:
        volume = self._of_version(request.volume_id, pb.VOLUME_FS_VERSION_V2)
        return await _remove(volume, request.path, is_recursive=request.recursive)


def _entries(volume: Volume, name: str, *, is_recursive: bool) -> list[pb.FileEntry]:
    root, base = volume.path(""), volume.path(name)
    if not base.exists():
        raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {name}")
    paths = [base] if base.is_file() else sorted(base.rglob("*") if is_recursive else base.iterdir())
    entries: list[pb.FileEntry] = []
    for path in paths:
        if path.name.startswith(".") and path.name.endswith((".upload", ".mirror")):
            # The loopback's own, on their way.
            continue
        try:
            facts = path.stat()
        except FileNotFoundError:
            # A container renamed it just now.
            continue
        kind = pb.FileEntry.DIRECTORY if path.is_dir() else pb.FileEntry.FILE
        size = 0 if kind == pb.FileEntry.DIRECTORY else facts.st_size
        entries.append(pb.FileEntry(path=str(path.relative_to(root)), type=kind, mtime=int(facts.st_mtime), size=size))
    return entries


async def _remove(volume: Volume, name: str, *, is_recursive: bool) -> Empty:
    async with volume.lock:
        path = volume.path(name)
        if not path.exists():
            raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {name}")
        if not path.is_dir() or path.is_symlink():
            path.unlink()
        elif is_recursive:
            shutil.rmtree(path)
        else:
            raise refused(f"{name} is a directory")
        volume.publish(path)
    return Empty()
