"""The one module that talks to Modal: thin, blocking, and safe inside a running event loop.

Every call of the client goes through `_Guard`, which turns the client's errors into ours by one table. Only public names of the client
are used (`modal>=1.6,<1.7`).
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from ftsdk._home import home
from ftsdk.backends.launchers.modal import runner
from ftsdk.backends.launchers.modal.image import metadata_folder
from ftsdk.errors import BackendError, CredentialsError, FtsdkError, MissingExtraError

__all__ = ["AppSeen", "CallState", "Entry", "Service", "close_clients"]

_T = TypeVar("_T")

RUNS_MOUNT = "/ftsdk"
"""Where the Volume with the runs is, in a container."""
CACHE_MOUNT = "/ftsdk-cache"
"""Where the Volume with downloaded and unpacked models is."""
CACHE_VOLUME = "ftsdk-cache"
_FUNCTION = "train"
_THROTTLE_S = "5"
"""Seconds that the client may wait by itself when Modal asks it to; without a limit it waits as long as Modal likes."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file on a Volume."""

    size: int
    mtime: int
    """Seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class AppSeen:
    """An app that isn't stopped."""

    app_id: str
    name: str
    has_function: bool = False
    """True if the runner is registered in it, so that a call can be spawned."""
    has_work: bool = False
    """True if a call is waiting or at work in it."""


@dataclass(frozen=True, kw_only=True)
class CallState:
    """What is known of a call. While it goes on, waiting and working look the same."""

    state: Literal["going", "over"]
    word: str
    """Modal's own word for the end."""
    message: str = ""


class Service:
    """Modal, in one environment and with one Volume for runs.

    Args:
        environment: Of Modal; None: the one of the active profile.
        volume: Name of the Volume with the runs.
    """

    def __init__(self, *, environment: str | None, volume: str) -> None:
        self._environment = environment
        self._volume_name = volume
        self._volume: Any = None

    # Files on the Volume.

    def list_files(self, folder: str, *, recursive: bool = False) -> dict[str, Entry] | None:
        """List the files in a folder by their names relative to it; None if there is no such folder, or no Volume."""

        def call() -> dict[str, Entry] | None:
            modal = _modal()
            try:
                entries = self._existing_volume().listdir(folder, recursive=recursive)
            except (FileNotFoundError, modal.exception.NotFoundError):
                return None
            prefix = folder.strip("/") + "/"
            is_file = modal.types.FileEntryType.FILE
            files = [(entry.path.strip("/"), entry) for entry in entries if entry.type == is_file]
            return {path.removeprefix(prefix): Entry(size=entry.size, mtime=entry.mtime) for path, entry in files}

        return _guarded(f"listing {folder} on Volume {self._volume_name!r}", call)

    def read(self, path: str) -> bytes | None:
        """Read a file; None if it isn't there."""

        def call() -> bytes | None:
            modal = _modal()
            try:
                return b"".join(self._existing_volume().read_file(path))
            except (FileNotFoundError, modal.exception.NotFoundError):
                return None

        return _guarded(f"reading {path} from Volume {self._volume_name!r}", call)

    def download(self, path: str, target: Path) -> None:
        """Bring a file here.

        Raises:
            FileNotFoundError: It isn't there.
        """

        def call() -> None:
            with target.open("wb") as file:
                for chunk in self._existing_volume().read_file(path):
                    file.write(chunk)

        _guarded(f"downloading {path} from Volume {self._volume_name!r}", call, through=(OSError,))

    def upload(self, files: Mapping[str, Path | bytes], *, overwrite: bool = True) -> bool:
        """Write files; False if one of them was there already and isn't to be overwritten. Modal takes only what it hasn't got."""

        def call() -> bool:
            modal = _modal()
            try:
                with self._made_volume().batch_upload(force=overwrite) as batch:
                    for path, content in files.items():
                        batch.put_file(io.BytesIO(content) if isinstance(content, bytes) else str(content), f"/{path.strip('/')}")
            except FileExistsError:
                return False
            except modal.exception.ConflictError as error:
                # Whatever got in between: files that are written again are the same.
                raise BackendError(f"the upload to Volume {self._volume_name!r} broke off ({_said(error)})", retryable=True) from error
            return True

        return _guarded(f"writing {len(files)} file(s) to Volume {self._volume_name!r}", call)

    # Apps and calls.

    def find_app(self, name: str) -> AppSeen | None:
        """Find the app with this name that isn't stopped, and say whether there is work in it."""
        found = [app for app in self.apps() if app.name == name]
        return None if not found else self._with_work(found[0])

    def apps(self) -> list[AppSeen]:
        """List the apps of the environment that aren't stopped. Detached apps aren't found by name otherwise."""

        def call() -> list[AppSeen]:
            modal = _modal()
            environment = (
                modal.Environment.from_name(self._environment, client=_client())
                if self._environment
                else modal.Environment.from_context(client=_client())
            )
            return [AppSeen(app_id=app.app_id or "", name=app.description or app.name or "") for app in environment.apps.list()]

        return _guarded("listing apps", call)

    def look_at_app(self, app_id: str) -> AppSeen | None:
        """Look at an app by its id; None if it is stopped or unknown."""

        def call() -> AppSeen | None:
            modal = _modal()
            try:
                info = modal.App.lookup(app_id, client=_client()).info(refresh=True)
            except modal.exception.NotFoundError:
                return None
            if info.lifecycle.state.value in ("stopped", "stopping", "disabled"):
                return None
            return AppSeen(app_id=app_id, name=info.description)

        seen = _guarded(f"looking at app {app_id}", call)
        return None if seen is None else self._with_work(seen)

    def launch(self, request: Mapping[str, Any], *, name: str, run_id: str, order: str, on_app: Callable[[str], None]) -> tuple[str, str]:
        """Make a detached app and spawn the one call in it.

        Args:
            request: The launch request of a plan.
            name: Of the app.
            run_id: Goes into the app's tags.
            order: JSON for the runner.
            on_app: Called with the app's id when it is there and nothing was spawned yet.

        Returns:
            Ids of app and call.
        """

        def call() -> tuple[str, str]:
            modal = _modal()
            app = modal.App(name, tags={"ftsdk-run": run_id[:63]}, include_source=False)
            function = _register(modal, app, request, environment=self._environment)
            spawned: Any = None
            with app.run(detach=True, name=name, client=_client(), environment_name=self._environment):
                on_app(app.app_id or "")
                spawned = function.spawn(order)
            # The client swallows some exceptions of the block.
            if spawned is None or not app.app_id:
                raise BackendError(f"app {app.app_id} was made, but the call wasn't spawned in it", retryable=True)
            return app.app_id, spawned.object_id

        return _guarded(f"launching app {name}", call)

    def spawn_in(self, app_id: str, order: str) -> str:
        """Spawn the call in an app that is there already, and give its id."""

        def call() -> str:
            modal = _modal()
            functions = modal.App.lookup(app_id, client=_client()).info(refresh=True).functions
            return modal.Function.from_id(functions[_FUNCTION], client=_client()).spawn(order).object_id

        return _guarded(f"spawning in app {app_id}", call)

    def call_state(self, call_id: str, *, wait_s: float = 0.0) -> CallState:
        """Ask whether a call is over. Without `wait_s` it is one quick request: a longer one waits the whole time on an expired result."""

        def call() -> CallState:
            modal = _modal()
            known = modal.exception
            try:
                result = modal.FunctionCall.from_id(call_id, client=_client()).get(timeout=wait_s)
            except builtins.TimeoutError:
                return CallState(state="going", word="pending")
            except known.FunctionTimeoutError as error:
                return CallState(state="over", word="timeout", message=str(error))
            except known.OutputExpiredError as error:
                return CallState(state="over", word="expired", message=str(error))
            except (known.RemoteError, known.InternalFailure, known.NotFoundError, known.ExecutionError, known.DeserializationError) as error:
                return CallState(state="over", word=type(error).__name__, message=str(error)[:500])
            except RuntimeError as error:  # the runner's only one: every attempt ended without a word
                return CallState(state="over", word="raised", message=str(error)[:500])
            return CallState(state="over", word="returned", message=str(result)[:500])

        return _guarded(f"asking for call {call_id}", call)

    def cancel(self, call_id: str) -> None:
        """Cancel a call and end its containers at once. Does nothing if it is over or unknown."""

        def call() -> None:
            modal = _modal()
            with contextlib.suppress(modal.exception.NotFoundError):
                modal.FunctionCall.from_id(call_id, client=_client()).cancel(terminate_containers=True)

        _guarded(f"cancelling call {call_id}", call)

    def stop_app(self, app_id: str) -> None:
        """Stop an app with all that runs in it. Does nothing if it is stopped or unknown."""

        def call() -> None:
            modal = _modal()
            with contextlib.suppress(modal.exception.NotFoundError, modal.exception.ConflictError):
                modal.App.lookup(app_id, client=_client()).stop()

        _guarded(f"stopping app {app_id}", call)

    def _with_work(self, app: AppSeen) -> AppSeen:
        def call() -> AppSeen:
            modal = _modal()
            function_id = modal.App.lookup(app.app_id, client=_client()).info(refresh=True).functions.get(_FUNCTION)
            if function_id is None:
                return app
            stats = modal.Function.from_id(function_id, client=_client()).get_current_stats()
            return replace(app, has_function=True, has_work=stats.backlog + stats.num_running_inputs + stats.num_total_runners > 0)

        return _guarded(f"looking at app {app.app_id}", call)

    def _existing_volume(self) -> Any:
        if self._volume is None:
            modal = _modal()
            self._volume = modal.Volume.from_name(self._volume_name, environment_name=self._environment, client=_client()).hydrate()
        return self._volume

    def _made_volume(self) -> Any:
        modal = _modal()
        try:
            return self._existing_volume()
        except modal.exception.NotFoundError:
            # Version 2: any number of runs may write at once, where version 1 takes about five.
            found = modal.Volume.from_name(self._volume_name, environment_name=self._environment, create_if_missing=True, version=2, client=_client())
            self._volume = found.hydrate()
            return self._volume


def _register(modal: Any, app: Any, request: Mapping[str, Any], *, environment: str | None) -> Any:
    """Register the runner with everything that the launch request says."""
    gpu = request["gpu"]
    nodes = request["nodes"]
    volumes = {
        RUNS_MOUNT: modal.Volume.from_name(request["volume"], environment_name=environment),
        CACHE_MOUNT: modal.Volume.from_name(CACHE_VOLUME, environment_name=environment, create_if_missing=True, version=2),
    }
    # Request and limit are the same: what is billed is known before.
    cores, mebibytes = request["cpu"], request["memory_mib"]
    decorate = app.function(
        image=_image(modal, request["image"]),
        name=_FUNCTION,
        gpu=None if gpu is None else gpu[0] if len(gpu) == 1 else list(gpu),
        cpu=(cores, cores),
        memory=(mebibytes, mebibytes),
        region=request["region"],
        timeout=request["timeout_s"],
        startup_timeout=request["startup_timeout_s"],
        retries=modal.Retries(max_retries=request["max_attempts"] - 1, initial_delay=0.0),
        # A retry starts in a fresh process, without the memory of the attempt before.
        single_use_containers=True,
        max_containers=nodes,
        volumes=volumes,
        secrets=[modal.Secret.from_name(request["secret"], environment_name=environment)] if request["secret"] else [],
        env={
            runner.RUNS: f"{RUNS_MOUNT}/runs",
            "HF_HOME": f"{CACHE_MOUNT}/huggingface",
            "FTSDK_HOME": f"{CACHE_MOUNT}/ftsdk",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
        },
        include_source=False,
    )
    function = runner.run if nodes == 1 else modal.clustered(size=nodes)(runner.run)
    return decorate(function)


def _image(modal: Any, recipe: Mapping[str, Any]) -> Any:
    image = modal.Image.debian_slim(python_version=recipe["python"]).uv_pip_install(*recipe["packages"])
    if recipe["source"]:
        image = image.add_local_python_source("ftsdk")
        image = image.add_local_dir(*metadata_folder(home() / "modal"))
    return image


def _modal() -> Any:
    """Import the client.

    Raises:
        MissingExtraError: It isn't installed.
    """
    os.environ.setdefault("MODAL_MAX_THROTTLE_WAIT", _THROTTLE_S)
    try:
        modal = import_module("modal")
        # Part of it, but not imported by it in every version.
        import_module("modal.exception")
        import_module("modal.types")
    except ImportError as error:
        raise MissingExtraError("modal", needed_for="backend 'modal'", missing=error.name) from error
    return modal


def _client() -> Any:
    """Give the client for the address and the token that are configured now; None lets `modal` find other ways to log in.

    Its own client is made once a process and keeps the address and the token that it saw first.
    """
    modal = _modal()
    config = import_module("modal.config").config
    url, token_id, secret = (config.get(name) for name in ("server_url", "token_id", "token_secret"))
    if not (token_id and secret):
        return None
    # Not across a fork: a connection belongs to the process that made it.
    key = (os.getpid(), str(url), str(token_id), str(secret))
    if key not in _CLIENTS:
        _CLIENTS[key] = modal.Client.from_credentials(token_id, secret)
    return _CLIENTS[key]


_CLIENTS: dict[tuple[int, str, str, str], Any] = {}


def close_clients() -> None:
    """Close this process's connections to Modal; the next call opens a new one."""
    while _CLIENTS:
        (pid, *_), client = _CLIENTS.popitem()
        if pid == os.getpid():
            _outside_loops(client.close)


def _guarded(what: str, call: Callable[[], _T], *, through: tuple[type[Exception], ...] = ()) -> _T:
    """Make a call of the client: in a thread of its own if an event loop runs in this one, and with our errors in place of the client's."""
    try:
        return _outside_loops(call)
    except (FtsdkError, *through):
        raise
    except Exception as error:
        raise _translated(what, error) from error


def _outside_loops(call: Callable[[], _T]) -> _T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    # The client's blocking calls warn, and may hang, in a thread whose event loop runs: notebooks have one.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ftsdk-modal") as pool:
        return pool.submit(call).result()


def _translated(what: str, error: Exception) -> FtsdkError:
    modal = _modal()
    for names, build in _TABLE:
        kinds = tuple(kind for name in names if isinstance(kind := getattr(modal.exception, name, None), type))
        if isinstance(error, kinds):
            return build(what, error)
    if isinstance(error, OSError | builtins.TimeoutError):
        return _retryable(what, error)
    return BackendError(f"{what}: Modal's client failed in a way that nobody has seen yet ({type(error).__name__}: {_said(error)})")


def _credentials(what: str, error: Exception) -> FtsdkError:
    return CredentialsError(
        f"{what}: Modal refuses the token, or there is none ({_said(error)}). "
        "Log in with `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET."
    )


def _forbidden(what: str, error: Exception) -> FtsdkError:
    return CredentialsError(f"{what}: the token may not do this ({_said(error)}). Ask the workspace's owner, or use another profile: MODAL_PROFILE.")


def _too_much(what: str, error: Exception) -> FtsdkError:
    return BackendError(
        f"{what}: Modal asks to slow down or has no more to give ({_said(error)}). Try again later; about three apps a minute are allowed.",
        retryable=True,
        retry_after_s=_retry_after_s(error),
        status_code=429,
    )


def _image_failed(what: str, error: Exception) -> FtsdkError:
    image_id = getattr(error, "image_id", None)
    log = _end_of_build(image_id)
    return BackendError(
        f"{what}: the image couldn't be built ({_said(error)})."
        + (f" The build's log ends so:\n{log}" if log else "")
        + (f"\nAll of it: modal image logs {image_id}" if image_id else "")
    )


def _retryable(what: str, error: Exception) -> FtsdkError:
    return BackendError(f"{what}: Modal didn't answer, or not as it should ({type(error).__name__}: {_said(error)})", retryable=True, status_code=503)


def _missing(what: str, error: Exception) -> FtsdkError:
    return BackendError(f"{what}: Modal has no such thing ({_said(error)}). A Secret is made with `modal secret create`.", status_code=404)


def _refused(what: str, error: Exception) -> FtsdkError:
    advice = " Add a payment method at https://modal.com/settings." if "payment" in _said(error).lower() else ""
    return BackendError(f"{what}: Modal refuses it ({type(error).__name__}: {_said(error)}).{advice}", status_code=400)


_TABLE: Iterable[tuple[tuple[str, ...], Callable[[str, Exception], FtsdkError]]] = (
    # The order matters: special ones before their bases.
    (("AuthError",), _credentials),
    (("PermissionDeniedError",), _forbidden),
    (("ResourceExhaustedError",), _too_much),
    (("ImageBuildError",), _image_failed),
    (("NotFoundError",), _missing),
    (("ServiceError", "InternalError", "InternalFailure", "ConnectionError", "TimeoutError", "ClientClosed", "DataLossError"), _retryable),
    (("Error",), _refused),
)


def _said(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:500] or "no reason given"


def _retry_after_s(error: Exception) -> float | None:
    # The client's own property warns that it will go away; without it, nobody could say how long to wait.
    for detail in getattr(error, "_grpc_details", None) or ():
        seconds = getattr(detail, "retry_after_secs", None)
        if seconds:
            return float(seconds)
    return None


def _end_of_build(image_id: str | None) -> str:
    if not image_id:
        return ""
    with contextlib.suppress(Exception):  # the log is a help, not the matter
        entries = _outside_loops(partial(_modal().Image.from_id(image_id, client=_client()).logs.tail, 20))
        return "\n".join(entry.message.rstrip() for entry in entries)
    return ""
