"""What containers and image builds wrote."""

# ruff: noqa: N802, D102 - methods are RPCs, named and described by the protocol

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2 as pb

__all__ = ["LogKey", "Logs"]


@dataclass(frozen=True, kw_only=True)
class LogKey:
    """Where a line comes from."""

    app_id: str
    function_id: str = ""
    call_id: str = ""
    input_id: str = ""
    task_id: str = ""


class Logs:
    """All lines, in the order in which they came."""

    def __init__(self, is_app_over: Callable[[str], bool]) -> None:
        self._is_app_over = is_app_over
        self._lines: list[tuple[LogKey, pb.TaskLogs]] = []

    def write(self, key: LogKey, text: str, *, descriptor: pb.FileDescriptor.ValueType) -> None:
        """Add a line, which ends with its line break."""
        now_ns = time.time_ns()
        item = pb.TaskLogs(
            data=text,
            file_descriptor=descriptor,
            timestamp=now_ns / 1e9,
            timestamp_ns=now_ns,
            function_call_id=key.call_id,
            input_id=key.input_id,
            container_id=key.task_id,
        )
        self._lines.append((key, item))

    def text(self, *, call_id: str = "") -> str:
        """Return the output of one call, or of all."""
        return "".join(item.data for key, item in self._lines if not call_id or key.call_id == call_id)

    def _chosen(
        self, request: pb.AppFetchLogsRequest | pb.AppCountLogsRequest | pb.AppGetLogsRequest
    ) -> list[pb.TaskLogs]:
        source = request.file_descriptor if isinstance(request, pb.AppGetLogsRequest) else request.source
        return [
            item
            for key, item in self._lines
            if key.app_id == request.app_id
            and request.function_call_id in ("", key.call_id)
            and request.function_id in ("", key.function_id)
            and request.task_id in ("", key.task_id)
            and source in (pb.FILE_DESCRIPTOR_UNSPECIFIED, item.file_descriptor)
            and request.search_text in item.data
        ]

    def _within(self, request: pb.AppFetchLogsRequest | pb.AppCountLogsRequest) -> list[pb.TaskLogs]:
        since, until = _seconds(request.since), _seconds(request.until)
        return [
            item for item in self._chosen(request) if since <= item.timestamp and (not until or item.timestamp <= until)
        ]

    async def AppFetchLogs(self, request: pb.AppFetchLogsRequest) -> pb.AppFetchLogsResponse:
        items = self._within(request)[-(request.limit or 1000) :]
        return pb.AppFetchLogsResponse(batches=[pb.TaskLogsBatch(items=items)])

    async def AppCountLogs(self, request: pb.AppCountLogsRequest) -> pb.AppCountLogsResponse:
        # The client builds the intervals that it fetches from these counts.
        buckets: dict[int, pb.AppCountLogsResponse.LogBucket] = {}
        for item in self._within(request):
            start = int(item.timestamp) // request.bucket_secs * request.bucket_secs
            bucket = buckets.setdefault(
                start, pb.AppCountLogsResponse.LogBucket(bucket_start_at=Timestamp(seconds=start))
            )
            if item.file_descriptor == pb.FILE_DESCRIPTOR_STDERR:
                bucket.stderr_logs += 1
            elif item.file_descriptor == pb.FILE_DESCRIPTOR_STDOUT:
                bucket.stdout_logs += 1
            else:
                bucket.system_logs += 1
        return pb.AppCountLogsResponse(app_id=request.app_id, buckets=[buckets[start] for start in sorted(buckets)])

    async def AppGetLogs(self, request: pb.AppGetLogsRequest) -> AsyncIterator[pb.TaskLogsBatch]:
        # The entry id is a position, which a client that comes back sends again.
        sent = int(request.last_entry_id or 0)
        deadline = time.monotonic() + request.timeout
        while time.monotonic() <= deadline:
            was_over = self._is_app_over(request.app_id)
            items = self._chosen(request)
            if len(items) > sent:
                yield pb.TaskLogsBatch(entry_id=str(len(items)), items=items[sent:])
                sent = len(items)
            elif was_over:
                yield pb.TaskLogsBatch(app_done=True)
                return
            await asyncio.sleep(0.05)


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9
