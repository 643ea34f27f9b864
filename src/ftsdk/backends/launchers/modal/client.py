"""Calling Modal's client: imported late, safe inside a running event loop, with our errors in place of its own.

Only public names of the client are used (`modal>=1.6,<1.7`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from ftsdk.backends.launchers.modal.client_errors import translate_error
from ftsdk.errors import BackendError, FtsdkError, MissingExtraError

__all__ = ["ask_modal", "close_clients", "import_modal", "modal_call", "modal_client"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_THROTTLE_S = "5"
"""Seconds that the client may wait by itself when Modal asks it to.

Without a limit it waits as long as Modal asks for.
"""
_HEADER_LOGGERS = ("hpack.hpack", "hpack.table")
"""At DEBUG they log every HTTP/2 header in clear, and the token is one."""
_clients: dict[tuple[int, str, str, str], Any] = {}
"""By process, address and token."""


def import_modal() -> Any:
    """Return the package `modal`.

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
    for name in _HEADER_LOGGERS:
        logging.getLogger(name).addFilter(_is_without_headers)  # adding it twice adds it once
    return modal


def modal_client() -> Any:
    """Return the client for the address and the token that are configured now.

    None lets `modal` find other ways to log in.

    Its own client is made once per process and keeps the address and the token that it saw first.
    """
    modal = import_modal()
    config = import_module("modal.config").config
    url, token_id, secret = (config.get(name) for name in ("server_url", "token_id", "token_secret"))
    if not (token_id and secret):
        return None
    # Not across a fork: a connection belongs to the process that made it.
    key = (os.getpid(), str(url), str(token_id), str(secret))
    if key not in _clients:
        _clients[key] = modal.Client.from_credentials(token_id, secret)
    return _clients[key]


def close_clients() -> None:
    """Close this process's connections to Modal; the next call opens a new one."""
    while _clients:
        (pid, *_), client = _clients.popitem()
        if pid == os.getpid():
            _outside_event_loop(client.close)


def modal_call(
    what: str, *, through: tuple[type[Exception], ...] = ()
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a function that calls Modal's client, so that it can be used in an event loop and raises our errors.

    Args:
        what: What the function does, for messages; its arguments in braces: `"listing {folder}"`.
        through: Errors of others that are raised as they are.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                return _outside_event_loop(functools.partial(function, *args, **kwargs))
            except (FtsdkError, *through):
                raise
            except Exception as error:  # noqa: BLE001 - whatever the client raises becomes our error
                doing = what.format(**signature.bind(*args, **kwargs).arguments)
                failure = translate_error(doing, error, import_modal(), build_log=_end_of_build_log)
            # Out of the `except`: the service's words in the client's error may repeat the token.
            raise failure

        return call

    return decorate


@modal_call("asking Modal whether it accepts the token")
def ask_modal(*, timeout_s: float) -> str:
    """Ask the service whether it accepts the token, and return its address.

    Raises:
        FtsdkError: It doesn't, or it doesn't answer.
    """
    modal = import_modal()
    client = modal_client() or modal.Client.from_env()
    answers: list[Exception | None] = []

    def ask() -> None:
        try:
            client.hello()
            answers.append(None)
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that asked
            answers.append(error)

    # The client tries for longer than a checkup should take; a daemon is not waited for.
    asking = threading.Thread(target=ask, daemon=True, name="ftsdk-modal-hello")
    asking.start()
    asking.join(timeout_s)
    if not answers:
        raise BackendError(f"Modal didn't answer within {timeout_s:g} s; try again", retryable=True)
    if answers[0] is not None:
        raise answers[0]
    return str(import_module("modal.config").config.get("server_url"))


def _outside_event_loop(call: Callable[[], _R]) -> _R:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    # The client's blocking calls warn, and may hang, in a thread whose event loop is running: notebooks have one.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ftsdk-modal") as pool:
        return pool.submit(call).result()


def _end_of_build_log(image_id: str) -> str:
    with contextlib.suppress(Exception):  # the log helps, but the error is what matters
        entries = _outside_event_loop(
            functools.partial(import_modal().Image.from_id(image_id, client=modal_client()).logs.tail, 20)
        )
        return "\n".join(entry.message.rstrip() for entry in entries)
    return ""


def _is_without_headers(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
