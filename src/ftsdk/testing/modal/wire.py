"""The gRPC side: record each request, check its sender and the fault script, then answer, or don't."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.encoding.proto import ProtoCodec
from modal_proto import api_grpc
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.containers import TASK_HEADER
from ftsdk.testing.modal.faults import WireFault
from ftsdk.testing.modal.workspace import Workspace
from ftsdk.testing.modal.world import CALLER, Caller

__all__ = ["Codec", "Request", "Wire"]

_CALLERS = {str(pb.CLIENT_TYPE_CLIENT): "client", str(pb.CLIENT_TYPE_CONTAINER): "container"}
_ONCE = frozenset({"AppCreate", "FunctionPrecreate", "FunctionCreate", "FunctionMap"})
"""A repeated request with the same idempotency key gets the first answer again, and makes nothing new."""


@dataclass(frozen=True)
class Request:
    """A request as it came, without its headers and without what must not be kept."""

    rpc: str
    caller: str
    """`client` or `container`."""
    message: Any
    """The protobuf message; values of secrets and contents of files are blanked out."""


@dataclass(frozen=True)
class _Garbage:
    content: bytes = b"\xff\xff<html>We'll be right back</html>"


class Codec(ProtoCodec):
    """Protobuf, or garbage for a fault that asks for it."""

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Write a message, or what is none."""
        return message.content if isinstance(message, _Garbage) else super().encode(message, message_type)


class Wire:
    """Answers RPCs for whatever workspace there is at the moment."""

    def __init__(self, workspace: Callable[[], Workspace], *, token_id: str, token_secret: str) -> None:
        self._workspace = workspace
        self._token = (token_id, token_secret)
        self.requests: list[Request] = []
        self.unimplemented: list[str] = []

    def service(self) -> api_grpc.ModalClientBase:
        """Return the service with every RPC of the installed protocol."""

        def method(name: str) -> Callable[[object, Any], Awaitable[None]]:
            async def answer(_self: object, stream: Any) -> None:
                await self._answer(name, stream)

            return answer

        base = api_grpc.ModalClientBase
        names: frozenset[str] = base.__abstractmethods__
        kind = type("LoopbackModal", (base,), {name: method(name) for name in names})
        return cast("api_grpc.ModalClientBase", kind())

    async def _answer(self, name: str, stream: Any) -> None:
        request: Message | None = await stream.recv_message()
        if request is None:
            return
        headers: Mapping[str, str] = stream.metadata
        workspace = self._workspace()
        kind = headers.get("x-modal-client-type", "")
        caller = Caller(_CALLERS.get(kind, kind), headers.get(TASK_HEADER, ""))
        CALLER.set(caller)
        self.requests.append(Request(name, caller.kind, _without_secrets(request)))
        fault = self._fault(workspace, name, caller)
        if fault is not None and not fault.loses_answer:
            await self._go_wrong(workspace, fault, stream)
            return
        if (
            caller.kind != "container"
            and (headers.get("x-modal-token-id"), headers.get("x-modal-token-secret")) != self._token
        ):
            raise GRPCError(Status.UNAUTHENTICATED, "Token validation failed")
        if name not in workspace.answers:
            self.unimplemented.append(name)
            raise GRPCError(Status.UNIMPLEMENTED, f"the loopback doesn't know {name}")
        answer: object = workspace.answers[name](request)
        if isinstance(answer, AsyncIterator):
            async for message in answer:
                await stream.send_message(message)
            return
        once = (name, headers.get("x-idempotency-key", ""))
        if once in workspace.answered:
            cast("Any", answer).close()
            message = workspace.answered[once]
        else:
            message = await answer
            if name in _ONCE and once[1]:
                workspace.answered[once] = message
        if fault is not None:
            await self._go_wrong(workspace, fault, stream)
        else:
            await stream.send_message(message)

    def _fault(self, workspace: Workspace, name: str, caller: Caller) -> WireFault | None:
        for fault in workspace.faults.pending(WireFault):
            if (
                fault.caller in (caller.kind, "anybody")
                and fnmatch.fnmatchcase(name, fault.rpc)
                and workspace.faults.happens(fault)
            ):
                return fault
        return None

    async def _go_wrong(self, workspace: Workspace, fault: WireFault, stream: Any) -> None:
        if fault.answer == "garbage":
            await stream.send_message(_Garbage())
            return
        while fault.answer == "silence" and self._workspace() is workspace and workspace.faults.is_active(fault):
            await asyncio.sleep(0.02)
        wait = [] if fault.retry_after_s is None else [pb.RPCRetryPolicy(retry_after_secs=fault.retry_after_s)]
        raise GRPCError(Status[fault.status], fault.message, wait)


def _without_secrets(request: Message) -> Message:
    if isinstance(request, pb.SecretGetOrCreateRequest):
        kept = pb.SecretGetOrCreateRequest()
        kept.CopyFrom(request)
        for key in list(kept.env_dict):
            kept.env_dict[key] = "***"
        return kept
    if isinstance(request, pb.MountPutFileRequest):
        return pb.MountPutFileRequest(sha256_hex=request.sha256_hex, data_blob_id=request.data_blob_id)
    return request
