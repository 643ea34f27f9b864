"""The service as tests use it: start it, connect the client, script faults, read the requests, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import aiohttp.web
import grpclib.server
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.apps import ENVIRONMENT
from ftsdk.testing.modal.blobs import receive
from ftsdk.testing.modal.faults import FAULTS, Fault
from ftsdk.testing.modal.processes import Reaper
from ftsdk.testing.modal.snapshots import (
    AppSnapshot,
    CallSnapshot,
    VolumeSnapshot,
    snapshot_app,
    snapshot_call,
    snapshot_volume,
)
from ftsdk.testing.modal.sources import Mounts
from ftsdk.testing.modal.verdicts import How
from ftsdk.testing.modal.wire import Codec, Request, Wire
from ftsdk.testing.modal.workspace import Workspace
from ftsdk.testing.modal.world import HostSettings

__all__ = ["PASSED_ON", "ModalService"]

T = TypeVar("T")
TOKEN_ID = "ak-loopback"
TOKEN_SECRET = "as-loopback-0123456789"
PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    # Which instructions it computes with: results differ in the last digits.
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "GOMP_SPINCOUNT",
    "TOKENIZERS_PARALLELISM",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
)
"""The variables of this process that containers get."""


WebAnswer = Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes]]
"""Method, path, headers and body of a request to a web function; status and body of the answer."""


def _no_server(method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    del method, path, headers, body
    return 503, b"{}"


class ModalService:
    """The loopback Modal. A context manager; nothing of it is left afterwards.

    Args:
        container_env: Further environment variables for every container, in addition to `PASSED_ON`.
        grace_s: Seconds from SIGINT to SIGKILL when a container is preempted. Modal gives 30.
        client_lost_after_s: Seconds without a heartbeat after which a client counts as gone; the client sends one every
            15 s.
        commit_every_s: A number makes commits matter, as on Modal: clients, and containers that start, see what was
            committed, by `Volume.commit`, by the end of a container in peace, or in the background every so many
            seconds; what a container that is killed hadn't committed is lost. None shows every change to everybody at
            once.
    """

    def __init__(
        self,
        *,
        container_env: Mapping[str, str] | None = None,
        grace_s: float = 30.0,
        client_lost_after_s: float = 60.0,
        commit_every_s: float | None = None,
    ) -> None:
        self._commit_every_s = commit_every_s
        self._container_env = dict(container_env or {})
        self._grace_s = grace_s
        self._client_lost_after_s = client_lost_after_s
        self._resets = 0
        self.answer_web: WebAnswer = _no_server

    def __enter__(self) -> Self:
        root = Path(tempfile.mkdtemp(prefix="loopback-modal-")).resolve()
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._settings = HostSettings(
            root=root,
            passed_on={**passed_on, **self._container_env},
            grace_s=self._grace_s,
            client_lost_after_s=self._client_lost_after_s,
            commit_every_s=self._commit_every_s,
        )
        self._reaper = Reaper(root, self._settings.ids.tag)
        self._mounts = Mounts(self._settings)
        self._wire = Wire(lambda: self._workspace, token_id=TOKEN_ID, token_secret=TOKEN_SECRET)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback-modal", daemon=True)
        self._thread.start()
        try:
            self._in_loop(self._start())
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._in_loop(self._stop())
        finally:
            self._end_thread()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
        self._reaper.close()
        shutil.rmtree(self._settings.root, ignore_errors=True)

    async def _start(self) -> None:
        self._http = aiohttp.web.AppRunner(self._routes(), access_log=None)
        await self._http.setup()
        await aiohttp.web.TCPSite(self._http, "127.0.0.1", 0).start()
        self._settings.http_url = f"http://127.0.0.1:{self._http.addresses[0][1]}"
        self._grpc = grpclib.server.Server(
            [self._wire.service()], codec=Codec(), status_details_codec=custom_detail_codec
        )
        await self._grpc.start("127.0.0.1", 0)
        listening: Any = vars(self._grpc)["_server"]
        self._settings.grpc_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        self._workspace = self._new_workspace()

    async def _stop(self) -> None:
        await self._workspace.close()
        self._grpc.close()
        await self._http.cleanup()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _new_workspace(self) -> Workspace:
        self._resets += 1
        return Workspace(self._settings, self._settings.root / f"workspace-{self._resets}", self._reaper, self._mounts)

    def _routes(self) -> aiohttp.web.Application:
        async def put_block(request: aiohttp.web.Request) -> aiohttp.web.Response:
            await receive(request, self._workspace.blobs.block(request.match_info["sha256"]))
            return aiohttp.web.Response(text="stored")

        async def put_blob(request: aiohttp.web.Request) -> aiohttp.web.Response:
            md5 = await receive(request, self._workspace.blobs.blob(request.match_info["blob"]))
            return aiohttp.web.Response(headers={"ETag": f'"{md5}"'})

        async def get_blob(request: aiohttp.web.Request) -> aiohttp.web.FileResponse:
            return aiohttp.web.FileResponse(self._workspace.blobs.blob(request.match_info["blob"]))

        async def get_file(request: aiohttp.web.Request) -> aiohttp.web.Response:
            path = self._workspace.volumes.volume(request.match_info["volume"]).path(request.query["path"])
            try:
                with path.open("rb") as file:
                    file.seek(int(request.query["start"]))
                    return aiohttp.web.Response(body=file.read(int(request.query["length"])))
            except FileNotFoundError:
                return aiohttp.web.Response(status=404, text="the file is gone")

        async def ask_web(request: aiohttp.web.Request) -> aiohttp.web.Response:
            known = {function.id: function for function in self._workspace.functions.everyone()}
            function = known.get(request.match_info["function"])
            if function is None or self._workspace.apps.app(function.app_id).is_stopped:
                return aiohttp.web.Response(status=404, text="modal-http: app for invoked web endpoint is stopped")
            path = "/" + request.match_info["path"]
            status, body = self.answer_web(request.method, path, dict(request.headers), await request.read())
            return aiohttp.web.Response(status=status, body=body, content_type="application/json")

        application = aiohttp.web.Application(client_max_size=1 << 40)
        application.add_routes(
            [
                aiohttp.web.put("/block/{sha256}", put_block),
                aiohttp.web.put("/blob/{blob}", put_blob),
                aiohttp.web.get("/blob/{blob}", get_blob),
                aiohttp.web.get("/file/{volume}", get_file),
                aiohttp.web.route("*", "/web/{function}/{path:.*}", ask_web),
            ]
        )
        return application

    def _in_loop(self, action: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(60)

    def _look(self, look: Callable[[Workspace], T]) -> T:
        """Do something where nothing changes meanwhile."""

        async def act() -> T:
            return look(self._workspace)

        return self._in_loop(act())

    # How to get there.

    @property
    def env(self) -> Mapping[str, str]:
        """The environment variables that point the client here."""
        return {
            "MODAL_SERVER_URL": self._settings.grpc_url,
            "MODAL_TOKEN_ID": TOKEN_ID,
            "MODAL_TOKEN_SECRET": TOKEN_SECRET,
            "MODAL_CONFIG_PATH": str(self._settings.root / "no-such-file.toml"),
            "MODAL_ENVIRONMENT": ENVIRONMENT,
            "MODAL_DISABLE_API_PROXY": "1",
        }

    @property
    def secrets(self) -> Sequence[str]:
        """Texts that must not appear in any output or file."""
        return (TOKEN_SECRET,)

    def reset(self) -> None:
        """Replace the workspace by a new one at the same address. All containers are killed."""

        async def act() -> None:
            old, self._workspace = self._workspace, self._new_workspace()
            await old.close()
            self._wire.requests.clear()
            self._wire.unimplemented.clear()

        self._in_loop(act())
        shutil.rmtree(self._settings.root / f"workspace-{self._resets - 1}", ignore_errors=True)

    # Faults

    def script(self, *faults: Fault) -> None:
        """Add faults, which apply from now on until they are over or the workspace is reset."""
        for fault in faults:
            self._look(lambda workspace, fault=fault: workspace.faults.add(fault))

    @contextlib.contextmanager
    def scripted(self, fault: Fault) -> Generator[None]:
        """Apply a fault until the block ends."""
        self.script(fault)
        try:
            yield
        finally:
            self._look(lambda workspace: workspace.faults.end(fault))

    def failing(
        self, word: Literal["401", "404", "429", "503", "timeout", "garbage"]
    ) -> contextlib.AbstractContextManager[None]:
        """Return a context in which every client request fails as the conformance suite's fault `word`."""
        return self.scripted(FAULTS[word])

    def interrupt(self, call_id: str, how: Literal["preempt", "crash", "oom", "timeout"]) -> None:
        """Interrupt the container that is working on a call, now.

        Raises:
            RuntimeError: There is none.
        """
        hows: Mapping[str, How] = {"preempt": "preempted", "crash": "crashed", "oom": "oom", "timeout": "timeout"}

        def act(workspace: Workspace) -> None:
            container = workspace.calls.call(call_id).container
            if container is None or container.process is None:
                raise RuntimeError(f"no container works on {call_id} now; wait until one does")
            container.interrupt(hows[how], self._grace_s)

        self._look(act)

    def expire(self, call_id: str) -> None:
        """Forget a result, as Modal does seven days after the call is over."""

        def act(workspace: Workspace) -> None:
            workspace.calls.call(call_id).is_expired = True

        self._look(act)

    def add_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Make a Secret that `Secret.from_name` finds."""
        self._look(lambda workspace: workspace.secrets.add(name, values))

    # What it saw.

    def requests(
        self, rpc: str | None = None, *, caller: Literal["client", "container"] | None = "client"
    ) -> list[Request]:
        """Return the requests since the last reset, in order; of one RPC, or of all."""
        return [r for r in list(self._wire.requests) if rpc in (None, r.rpc) and caller in (None, r.caller)]

    @property
    def unimplemented(self) -> list[str]:
        """The requested RPCs that the loopback doesn't implement."""
        return list(self._wire.unimplemented)

    def apps(self) -> list[AppSnapshot]:
        """Return all apps, the oldest first, stopped ones too."""
        return self._look(lambda workspace: [snapshot_app(app) for app in workspace.apps.everyone()])

    def function(self, function_id: str) -> pb.FunctionData:
        """Return the definition of a function; its `ranked_functions` are the wanted hardware, the best first."""
        return self._look(lambda workspace: workspace.functions.function(function_id).data)

    def functions(self) -> list[pb.FunctionData]:
        """Return all functions, the oldest first."""
        return self._look(lambda workspace: [function.data for function in workspace.functions.everyone()])

    def image(self, image_id: str) -> list[pb.Image]:
        """Return an image's layers, the lowest first; their `dockerfile_commands` are what would have been built."""
        return self._look(lambda workspace: workspace.images.layers(image_id))

    def calls(self) -> list[CallSnapshot]:
        """Return all calls, the oldest first."""
        return self._look(lambda workspace: [snapshot_call(call) for call in workspace.calls.everyone()])

    def call(self, call_id: str) -> CallSnapshot:
        """Return one call."""
        return self._look(lambda workspace: snapshot_call(workspace.calls.call(call_id)))

    def volume(self, name: str) -> VolumeSnapshot:
        """Return a Volume by its name."""
        return self._look(lambda workspace: snapshot_volume(workspace.volumes.named(name)))

    def log(self, call_id: str = "") -> str:
        """Return what containers wrote: for one call, or everything, builds too."""
        return self._look(lambda workspace: workspace.logs.text(call_id=call_id))

    @property
    def containers_started(self) -> int:
        """How many containers have been started since the last reset."""
        return self._look(lambda workspace: workspace.containers.started)

    @property
    def containers_running(self) -> int:
        """How many containers there are now."""
        return self._look(lambda workspace: len(workspace.containers.running))
