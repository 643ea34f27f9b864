"""Calls: an input, the attempts at it, and what came out; with the requests that its containers make."""

# ruff: noqa: N802, D102, ARG002 - methods are RPCs, named and described by the protocol, and each is given its request

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.apps import Apps
from ftsdk.testing.modal.containers import Container, Containers
from ftsdk.testing.modal.functions import Function, Functions
from ftsdk.testing.modal.limits import limit
from ftsdk.testing.modal.verdicts import Again, Attempts, Ended, How, decide
from ftsdk.testing.modal.world import CALLER, HostSettings, found

__all__ = ["Call", "Calls"]

Result = pb.GenericResult
_HEARTBEAT_S = 1.0
_FAILURES: dict[How, tuple[Result.GenericStatus.ValueType, str]] = {
    "timeout": (Result.GENERIC_STATUS_TIMEOUT, "Function exceeded its timeout of {seconds} s"),
    "crashed": (Result.GENERIC_STATUS_INTERNAL_FAILURE, "container exited with status {status}"),
    "oom": (Result.GENERIC_STATUS_KERNEL_OOM_KILL, "container was killed for memory"),
    "preempted": (Result.GENERIC_STATUS_INTERNAL_FAILURE, "container was preempted"),
    "cancelled": (Result.GENERIC_STATUS_TERMINATED, "function call was cancelled"),
    "refused": (Result.GENERIC_STATUS_INIT_FAILURE, "container could not start: {status}"),
}
"""The wording is the loopback's: that of the service isn't known."""


@dataclass(eq=False)
class Call:
    """One call with one input."""

    id: str
    function: Function
    input_id: str
    item: pb.FunctionPutInputsItem
    attempts: Attempts = field(default_factory=Attempts)
    output: pb.FunctionGetOutputsItem | None = None
    container: Container | None = None
    containers: int = 0
    """How many have been started for it."""
    again: Again | None = None
    """What was decided after the container's attempt, once it has been."""
    is_cancelled: bool = False
    is_expired: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    runner: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Wake all waiting requests."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until something changes, at most so long."""
        try:
            await asyncio.wait_for(self.changed.wait(), max(seconds, 0.0))
        except TimeoutError:
            return


class Calls:
    """All calls of the workspace."""

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings
        self._calls: dict[str, Call] = {}
        self.functions: Functions
        self.apps: Apps
        self.containers: Containers
        """Set by the workspace, since apps end calls and calls end apps."""

    def call(self, call_id: str) -> Call:
        """Return a call.

        Raises:
            GRPCError: NOT_FOUND.
        """
        return found(self._calls, call_id, "FunctionCall")

    def everyone(self) -> list[Call]:
        """Return all calls, the oldest first."""
        return list(self._calls.values())

    def is_busy(self, app_id: str) -> bool:
        """Return whether one of the app's calls, or a container of one, isn't over."""
        return any(
            call.function.app_id == app_id and (call.output is None or call.container is not None)
            for call in self._calls.values()
        )

    def running(self, app_id: str) -> int:
        """Count the app's containers."""
        return sum(call.function.app_id == app_id and call.container is not None for call in self._calls.values())

    def end(self, app_id: str) -> None:
        """End all calls of an app and kill their containers."""
        for call in self._calls.values():
            if call.function.app_id == app_id:
                self.terminate(call)

    def terminate(self, call: Call) -> None:
        """End a call and kill its container. If it is over, only the container is killed."""
        call.is_cancelled = True
        if call.output is None:
            self._finish(call, self._failure(call, "cancelled"))
        if call.container is not None:
            call.container.interrupt("cancelled", 0.0)

    async def _run(self, call: Call) -> None:
        """Start one container after another until there is an output."""
        while call.output is None:
            container = call.container = self.containers.new(call.function, call_id=call.id, input_id=call.input_id)
            call.containers += 1
            call.again = None
            problem: object = None
            try:
                problem = await self.containers.run(container)
            except (OSError, GRPCError) as error:
                # A mount or a secret that is gone: starting again wouldn't help.
                container.interrupted, problem = "refused", error
            finally:
                call.container = None
            if call.output is None and call.again is None:
                how: How = "cancelled" if call.is_cancelled else container.interrupted or "crashed"
                self._settle(call, self._failure(call, how, problem))
            # Decided in `_settle`, or before the process ended by what the container reported.
            again: Again | None = call.again
            if again is not None and again.after_s:
                await call.wait(again.after_s)
        self.apps.idle(call.function.app_id)

    def _failure(self, call: Call, how: How, status: object = None) -> Ended:
        code, words = _FAILURES[how]
        seconds = call.function.definition.timeout_secs
        return Ended(how=how, result=Result(status=code, exception=words.format(seconds=seconds, status=status)))

    def _settle(self, call: Call, ended: Ended) -> None:
        if call.output is not None or call.again is not None:
            return
        verdict = decide(
            ended,
            call.attempts,
            policy=call.function.definition.retry_policy,
            crashes_forgiven=limit("crashes_forgiven"),
            is_cancelled=call.is_cancelled,
        )
        if isinstance(verdict, Again):
            call.again, call.attempts = verdict, verdict.attempts
        else:
            self._finish(call, ended)

    def _finish(self, call: Call, ended: Ended) -> None:
        call.output = pb.FunctionGetOutputsItem(
            result=ended.result,
            idx=call.item.idx,
            input_id=call.input_id,
            data_format=ended.data_format or pb.DATA_FORMAT_PICKLE,  # type: ignore[arg-type]  # enums are plain integers
            task_id=call.container.task_id if call.container else "",
            output_created_at=time.time(),
            retry_count=call.attempts.retries,
        )
        call.notify()

    # The client's requests.

    async def FunctionMap(self, request: pb.FunctionMapRequest) -> pb.FunctionMapResponse:
        function = self.functions.function(request.function_id)
        if self.apps.app(function.app_id).is_stopped:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {function.app_id} is stopped")
        if request.function_call_type != pb.FUNCTION_CALL_TYPE_UNARY or len(request.pipelined_inputs) != 1:
            raise GRPCError(Status.UNIMPLEMENTED, "the loopback takes calls with one input: spawn and remote")
        if function.nodes > 1:
            raise GRPCError(
                Status.UNIMPLEMENTED, "the loopback has no clusters: a clustered function can be created, not called"
            )
        call = Call(self._settings.ids.new("fc"), function, self._settings.ids.new("in"), request.pipelined_inputs[0])
        self._calls[call.id] = call
        call.runner = asyncio.create_task(self._run(call))
        return pb.FunctionMapResponse(
            function_call_id=call.id,
            pipelined_inputs=[
                pb.FunctionPutInputsResponseItem(idx=call.item.idx, input_id=call.input_id, input_jwt=call.input_id)
            ],
            retry_policy=function.definition.retry_policy,
            function_call_jwt=call.id,
        )

    async def FunctionGetOutputs(self, request: pb.FunctionGetOutputsRequest) -> pb.FunctionGetOutputsResponse:
        # No output and nothing unfinished reads as "expired". The client believes it only when its own time is over.
        call = self.call(request.function_call_id)
        deadline = time.monotonic() + request.timeout
        while (call.output is None or call.is_expired) and time.monotonic() < deadline:
            await call.wait(deadline - time.monotonic())
        if call.is_expired:
            return pb.FunctionGetOutputsResponse()
        outputs = [] if call.output is None else [call.output]
        return pb.FunctionGetOutputsResponse(outputs=outputs, num_unfinished_inputs=1 - len(outputs))

    async def FunctionCallFromId(self, request: pb.FunctionCallFromIdRequest) -> pb.FunctionCallFromIdResponse:
        call = self.call(request.function_call_id)
        handle = pb.FunctionCallHandleMetadata(app_id=call.function.app_id, function_id=call.function.id)
        return pb.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=1, metadata=handle)

    async def FunctionCallCancel(self, request: pb.FunctionCallCancelRequest) -> Empty:
        call = self.call(request.function_call_id)
        if call.output is not None:
            return Empty()
        call.is_cancelled = True
        if request.terminate_containers or call.container is None or call.container.taken is None:
            self.terminate(call)
        else:
            call.container.cancel_ids.append(call.input_id)
            call.container.changed.set()
            call.notify()
        return Empty()

    async def FunctionCallGetInfo(self, request: pb.FunctionCallGetInfoRequest) -> pb.FunctionCallGetInfoResponse:
        call = self.call(request.function_call_id)
        status = call.output.result.status if call.output else None
        info = pb.FunctionCallInfo(function_call_id=call.id, total_inputs=1)
        info.pending_inputs.total = int(status is None)
        info.succeeded_inputs.total = int(status == Result.GENERIC_STATUS_SUCCESS)
        info.cancelled_inputs.total = int(status == Result.GENERIC_STATUS_TERMINATED)
        info.timeout_inputs.total = int(status == Result.GENERIC_STATUS_TIMEOUT)
        others = (info.pending_inputs, info.succeeded_inputs, info.cancelled_inputs, info.timeout_inputs)
        info.failed_inputs.total = 1 - sum(category.total for category in others)
        return pb.FunctionCallGetInfoResponse(info=info)

    async def FunctionGetCallGraph(self, request: pb.FunctionGetCallGraphRequest) -> pb.FunctionGetCallGraphResponse:
        call = self.call(request.function_call_id)
        status = call.output.result.status if call.output else Result.GENERIC_STATUS_UNSPECIFIED
        task_id = call.container.task_id if call.container else ""
        definition = call.function.definition
        node = pb.InputCallGraphInfo(input_id=call.input_id, function_call_id=call.id, status=status, task_id=task_id)
        of = pb.FunctionCallCallGraphInfo(
            function_call_id=call.id, function_name=definition.function_name, module_name=definition.module_name
        )
        return pb.FunctionGetCallGraphResponse(inputs=[node], function_calls=[of])

    async def FunctionGetCurrentStats(self, request: pb.FunctionGetCurrentStatsRequest) -> pb.FunctionStats:
        open_calls = [
            call for call in self._calls.values() if call.function.id == request.function_id and call.output is None
        ]
        at_work = sum(call.container is not None and call.container.taken is not None for call in open_calls)
        tasks = sum(call.container is not None for call in open_calls)
        return pb.FunctionStats(backlog=len(open_calls) - at_work, num_total_tasks=tasks, num_running_inputs=at_work)

    # The containers' requests.

    def _caller(self) -> tuple[Call, Container]:
        task_id = CALLER.get().task_id
        for call in self._calls.values():
            if call.container is not None and call.container.task_id == task_id:
                return call, call.container
        raise GRPCError(Status.NOT_FOUND, f"container {task_id!r} is gone")

    async def ContainerHello(self, request: Empty) -> Empty:
        self._caller()
        return Empty()

    async def ContainerHeartbeat(self, request: pb.ContainerHeartbeatRequest) -> pb.ContainerHeartbeatResponse:
        container = self._caller()[1]
        try:
            await asyncio.wait_for(container.changed.wait(), _HEARTBEAT_S)
        except TimeoutError:
            return pb.ContainerHeartbeatResponse()
        container.changed.clear()
        ids, container.cancel_ids = container.cancel_ids, []
        return pb.ContainerHeartbeatResponse(cancel_input_event=pb.CancelInputEvent(input_ids=ids))

    async def FunctionGetInputs(self, request: pb.FunctionGetInputsRequest) -> pb.FunctionGetInputsResponse:
        # One input to a container, so that every attempt has a fresh one; then it is sent home.
        call, container = self._caller()
        if container.taken is not None or call.output is not None or container.interrupted is not None:
            return pb.FunctionGetInputsResponse(inputs=[pb.FunctionGetInputsItem(kill_switch=True)])
        self.containers.input_taken(container)
        call.notify()
        item = pb.FunctionGetInputsItem(
            input_id=call.input_id, input=call.item.input, function_call_id=call.id, retry_count=call.attempts.retries
        )
        return pb.FunctionGetInputsResponse(inputs=[item])

    async def FunctionPutOutputs(self, request: pb.FunctionPutOutputsRequest) -> Empty:
        call, container = self._caller()
        for output in request.outputs:
            status = output.result.status
            how: How = "answered"
            if container.interrupted == "preempted" and status != Result.GENERIC_STATUS_SUCCESS:
                # However the interrupted attempt ended, the same input runs again.
                continue
            if status == Result.GENERIC_STATUS_TERMINATED:
                how = "cancelled"
            elif status != Result.GENERIC_STATUS_SUCCESS:
                how = "raised"
            self._settle(call, Ended(how=how, result=output.result, data_format=output.data_format))
        return Empty()

    async def TaskResult(self, request: pb.TaskResultRequest) -> Empty:
        # It failed before it could take an input: an import error, most often.
        call, container = self._caller()
        container.interrupted = container.interrupted or "refused"
        self._settle(call, Ended(how="refused", result=request.result))
        return Empty()
