"""Images, the source files that were added to them, and secrets."""

# ruff: noqa: N802, D102 - methods are RPCs, named and described by the protocol

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.blobs import Blobs
from ftsdk.testing.modal.faults import BrokenBuild
from ftsdk.testing.modal.logs import LogKey, Logs
from ftsdk.testing.modal.world import FaultScript, HostSettings, found, refused

__all__ = ["BUILDER_VERSION", "Images", "Mounts", "Secrets"]

BUILDER_VERSION = "2025.06"
"""Of the images; a setting of the workspace."""


@dataclass
class _Image:
    definition: pb.Image
    outcome: pb.GenericResult | None = None
    builder_app_id: str = ""
    builder_task_id: str = ""
    started: float = 0.0


class Images:
    """Images are recorded, and not built."""

    def __init__(self, settings: HostSettings, faults: FaultScript, logs: Logs) -> None:
        self._settings = settings
        self._faults = faults
        self._logs = logs
        self._images: dict[str, _Image] = {}
        self._ids: dict[str, str] = {}

    def layers(self, image_id: str) -> list[pb.Image]:
        """Return an image's layers, the lowest first."""
        definition = found(self._images, image_id, "image").definition
        below = [
            layer for base in definition.base_images for layer in (self.layers(base.image_id) if base.image_id else [])
        ]
        return [*below, definition]

    def environment(self, image_id: str) -> dict[str, str]:
        """Return what the image's `ENV` lines say."""
        words = [
            shlex.split(line)
            for layer in self.layers(image_id)
            for line in layer.dockerfile_commands
            if line.startswith("ENV ")
        ]
        pairs = [pair.partition("=") for line in words for pair in line[1:]]
        return {name: value for name, _, value in pairs}

    async def ImageGetOrCreate(self, request: pb.ImageGetOrCreateRequest) -> pb.ImageGetOrCreateResponse:
        digest = hashlib.sha256(request.image.SerializeToString(deterministic=True)).hexdigest()
        image_id = self._ids.get(digest) or self._settings.ids.new("im")
        self._ids[digest] = image_id
        image = self._images.setdefault(image_id, _Image(request.image))
        is_built = image.outcome is not None and image.outcome.status == pb.GenericResult.GENERIC_STATUS_SUCCESS
        # No result means that it isn't built: the client then waits for the build.
        return pb.ImageGetOrCreateResponse(
            image_id=image_id, result=image.outcome if is_built else None, metadata=self._metadata()
        )

    async def ImageFromId(self, request: pb.ImageFromIdRequest) -> pb.ImageFromIdResponse:
        found(self._images, request.image_id, "image")
        return pb.ImageFromIdResponse(image_id=request.image_id, metadata=self._metadata())

    async def ImageJoinStreaming(
        self, request: pb.ImageJoinStreamingRequest
    ) -> AsyncIterator[pb.ImageJoinStreamingResponse]:
        image = found(self._images, request.image_id, "image")
        lines = self._build(image)
        for number, line in enumerate(lines, 1):
            item = pb.TaskLogs(data=f"{line}\n", file_descriptor=pb.FILE_DESCRIPTOR_STDOUT, timestamp=time.time())
            yield pb.ImageJoinStreamingResponse(task_logs=[item], entry_id=str(number))
        yield pb.ImageJoinStreamingResponse(result=image.outcome, metadata=self._metadata(), eof=True)

    async def ImageBuildChainGet(self, request: pb.ImageBuildChainGetRequest) -> pb.ImageBuildChainGetResponse:
        image = found(self._images, request.image_id, "image")
        step = pb.ImageBuildStep(
            image_id=request.image_id,
            started_at=_timestamp(image.started - 1),
            finished_at=_timestamp(time.time() + 1),
            builder_app_id=image.builder_app_id,
            builder_task_id=image.builder_task_id,
        )
        return pb.ImageBuildChainGetResponse(build_steps=[step])

    def _build(self, image: _Image) -> tuple[str, ...]:
        """Decide how the build ends, and write its log."""
        fault = next((fault for fault in self._faults.pending(BrokenBuild)), None)
        status, message, lines = pb.GenericResult.GENERIC_STATUS_SUCCESS, "", ("Image built",)
        if fault is not None and self._faults.happens(fault):
            status, message, lines = pb.GenericResult.GENERIC_STATUS_FAILURE, fault.message, fault.log
        image.started = time.time()
        image.outcome = pb.GenericResult(status=status, exception=message)
        image.builder_app_id, image.builder_task_id = self._settings.ids.new("ap"), self._settings.ids.new("ta")
        for line in lines:
            key = LogKey(app_id=image.builder_app_id, task_id=image.builder_task_id)
            self._logs.write(key, f"{line}\n", descriptor=pb.FILE_DESCRIPTOR_STDOUT)
        return lines

    def _metadata(self) -> pb.ImageMetadata:
        return pb.ImageMetadata(image_builder_version=BUILDER_VERSION, python_version_info="Python 3.12")


class Mounts:
    """Source files, stored by content. They stay when a workspace is reset: sending them again would only take time."""

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings
        self._store = settings.root / "sources"
        self._store.mkdir()
        self._mounts: dict[str, list[pb.MountFile]] = {}

    def put(self, sha256_hex: str, content: bytes) -> None:
        """Store a file by the hash of its content."""
        (self._store / sha256_hex).write_bytes(content)

    def has(self, sha256_hex: str) -> bool:
        """Return whether a file with this content was uploaded."""
        return (self._store / sha256_hex).is_file()

    def content(self, sha256_hex: str) -> Path:
        """Return where a file's content is."""
        return self._store / sha256_hex

    def unpacked(self, mount_id: str) -> Path:
        """Return a folder in which the mount's files lie as they would below `/`.

        The same files are the same folder, so that Python's compiled files are there for the next container.
        """
        files = found(self._mounts, mount_id, "mount")
        digest = hashlib.sha256(
            "\n".join(sorted(f"{file.filename} {file.sha256_hex}" for file in files)).encode()
        ).hexdigest()
        folder = self._store / f"mount-{digest[:32]}"
        if not folder.exists():
            draft = folder.with_suffix(".tmp")
            draft.mkdir()
            for file in files:
                path = draft / file.filename.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.content(file.sha256_hex).read_bytes())
            draft.rename(folder)
        return folder

    async def MountBatchedCheckExistence(
        self, request: pb.MountBatchedCheckExistenceRequest
    ) -> pb.MountBatchedCheckExistenceResponse:
        return pb.MountBatchedCheckExistenceResponse(
            missing_sha256_hex_hashes=[h for h in request.sha256_hex_hashes if not self.has(h)]
        )

    async def MountGetOrCreate(self, request: pb.MountGetOrCreateRequest) -> pb.MountGetOrCreateResponse:
        mount_id = self._settings.ids.new("mo")
        self._mounts[mount_id] = list(request.files)
        return pb.MountGetOrCreateResponse(
            mount_id=mount_id, handle_metadata=pb.MountHandleMetadata(content_checksum_sha256_hex="0" * 64)
        )


class SourceFiles:
    """The RPC by which files come, for mounts and for Volumes of version 1."""

    def __init__(self, mounts: Mounts, blobs: Blobs) -> None:
        self._mounts = mounts
        self._blobs = blobs

    async def MountPutFile(self, request: pb.MountPutFileRequest) -> pb.MountPutFileResponse:
        # Asked first without content ("do you have it?"), then with it.
        if request.WhichOneof("data_oneof") == "data":
            self._mounts.put(request.sha256_hex, request.data)
        elif request.data_blob_id:
            self._mounts.put(request.sha256_hex, self._blobs.blob(request.data_blob_id).read_bytes())
        return pb.MountPutFileResponse(exists=self._mounts.has(request.sha256_hex))


class Secrets:
    """Names and values; the values leave this object only into a container's environment."""

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings
        self._values: dict[str, dict[str, str]] = {}
        self._ids: dict[str, str] = {}

    def add(self, name: str, values: Mapping[str, str]) -> None:
        """Make a Secret that `Secret.from_name` finds, as a user would on Modal's site."""
        secret_id = self._ids.setdefault(name, self._settings.ids.new("st"))
        self._values[secret_id] = dict(values)

    def environment(self, secret_id: str) -> Mapping[str, str]:
        """Return the variables of a Secret."""
        return found(self._values, secret_id, "secret")

    async def SecretGetOrCreate(self, request: pb.SecretGetOrCreateRequest) -> pb.SecretGetOrCreateResponse:
        name, how = request.deployment_name, request.object_creation_type
        if not name:
            secret_id = self._settings.ids.new("st")
            self._values[secret_id] = dict(request.env_dict)
        elif how == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS and name in self._ids:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret {name!r} already exists")
        elif how == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
            secret_id = found(self._ids, name, "Secret")
        else:
            if name not in self._ids or how == pb.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
                self.add(name, request.env_dict)
            secret_id = self._ids[name]
        missing = [key for key in request.required_keys if key not in self._values[secret_id]]
        if missing:
            raise refused(f"Secret {name!r} is missing key(s): {', '.join(missing)}")
        return pb.SecretGetOrCreateResponse(secret_id=secret_id, metadata=self._metadata(name, secret_id))

    async def SecretGetInfo(self, request: pb.SecretGetInfoRequest) -> pb.SecretGetInfoResponse:
        self.environment(request.secret_id)
        return pb.SecretGetInfoResponse(metadata=self._metadata("", request.secret_id))

    def _metadata(self, name: str, secret_id: str) -> pb.SecretMetadata:
        return pb.SecretMetadata(name=name, keys=sorted(self._values[secret_id]))


def _timestamp(seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromNanoseconds(max(0, int(seconds * 1e9)))
    return moment
