"""Bytes that are too large for a request: they go over HTTP, to files of the host."""

# ruff: noqa: N802, D102, ARG002 - methods are RPCs, named and described by the protocol, and each is given its request

from __future__ import annotations

import hashlib
from pathlib import Path

import aiohttp.web
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.world import HostSettings, found

__all__ = ["Blobs", "receive"]


class Blobs:
    """Large arguments and results, and the blocks of files on their way into a Volume."""

    def __init__(self, settings: HostSettings, root: Path) -> None:
        self._settings = settings
        self._root = root
        self._known: dict[str, Path] = {}
        root.mkdir(parents=True)

    async def BlobCreate(self, request: pb.BlobCreateRequest) -> pb.BlobCreateResponse:
        blob_id = self._settings.ids.new("bl")
        self._known[blob_id] = self._root / blob_id
        urls = pb.UploadUrlList(items=[f"{self._settings.http_url}/blob/{blob_id}"])
        return pb.BlobCreateResponse(blob_ids=[blob_id], upload_urls=urls)

    async def BlobGet(self, request: pb.BlobGetRequest) -> pb.BlobGetResponse:
        found(self._known, request.blob_id, "blob")
        return pb.BlobGetResponse(download_url=f"{self._settings.http_url}/blob/{request.blob_id}")

    def blob(self, blob_id: str) -> Path:
        """Return where a blob's bytes are.

        Raises:
            GRPCError: NOT_FOUND.
        """
        return found(self._known, blob_id, "blob")

    def block(self, sha256_hex: str) -> Path:
        """Return where a file's block is, whether it was uploaded or not."""
        return self._root / f"block-{sha256_hex}"


async def receive(request: aiohttp.web.Request, into: Path) -> str:
    """Write a request's body to a file, whole or not at all, and return its MD5 in hex, which the client compares."""
    draft = into.with_name(f".{into.name}.{id(request)}.tmp")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with draft.open("wb") as file:
            async for chunk in request.content.iter_chunked(1 << 20):
                digest.update(chunk)
                file.write(chunk)
        draft.replace(into)
    finally:
        draft.unlink(missing_ok=True)
    return digest.hexdigest()
