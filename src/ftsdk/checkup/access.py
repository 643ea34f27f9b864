"""Which providers and clusters answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ftsdk.backends.registry import backend_names, get_backend
from ftsdk.checkup.check import Check, State
from ftsdk.checkup.keys import is_key_there
from ftsdk.errors import BackendError, CredentialsError, FtsdkError, MissingExtraError, SpecError
from ftsdk.protocol import Backend, CanCheckAccess
from ftsdk.run.ledger import Ledger, Record

__all__ = ["check_access"]

_WHERE = ("host", "address", "server")
"""Options of backends that say which machine or cluster."""


def check_access(*, is_online: bool, backends: Iterable[Backend] | None, timeout_s: float) -> list[Check]:
    """Ask each backend whether it can be used. Starts and spends nothing.

    Args:
        is_online: False asks nobody, and only lists whom it would ask.
        backends: Whom to ask. None: every installed backend as it is without options, and each machine that runs in
            the ledger are on. What isn't set up for the former is `missing`, and no problem.
        timeout_s: Seconds that each may take.
    """
    asked = [(backend, True) for backend in backends] if backends is not None else _known()
    if not is_online:
        return [_line(backend, "not checked", "not asked", "ftsdk doctor --online asks it") for backend, _ in asked]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="ftsdk-doctor") as pool:
        answers = [pool.submit(_check, backend, is_meant, timeout_s=timeout_s) for backend, is_meant in asked]
        return [answer.result() for answer in answers]


def _known() -> list[tuple[Backend, bool]]:
    found: list[tuple[Backend, bool]] = []
    for name in backend_names():
        try:
            found.append((get_backend(name), False))
        except FtsdkError:
            continue  # its extra isn't installed, which the list of extras says
    hosts: dict[str, tuple[str, dict[str, object]]] = {}
    for entry in Ledger().entries():
        if isinstance(entry, Record) and not entry.options.keys().isdisjoint(_WHERE):
            name = entry.ref.partition(":")[0]
            options = {k: v for k, v in entry.options.items() if k in (*_WHERE, "ssh", "python", "folder")}
            hosts.setdefault(json.dumps([name, options], sort_keys=True), (name, options))
    for name, options in hosts.values():
        try:
            found.append((get_backend(name, options), True))
        except FtsdkError:
            continue
    return found


def _check(backend: Backend, is_meant: bool, *, timeout_s: float) -> Check:
    """Ask one backend.

    Args:
        backend: Whom to ask.
        is_meant: Whether its user named it: then it has to work.
        timeout_s: Seconds that it may take.
    """
    if not isinstance(backend, CanCheckAccess):
        return _line(backend, "not checked", "it has no way to be asked", "plan a job for it")
    try:
        answer = backend.check_access(timeout_s=timeout_s)
    except FtsdkError as error:
        match error:
            case CredentialsError():
                is_set_up = is_key_there(backend.name)
            case BackendError():
                is_set_up = error.retryable
            case MissingExtraError() | SpecError():
                is_set_up = False
            case _:
                is_set_up = True
        said = ("nobody to ask yet", str(error)) if isinstance(error, SpecError) else _halves(str(error))
        return _line(backend, "problem" if is_meant or is_set_up else "missing", *said)
    return _line(backend, "ok", answer, f"plan a job for it: backend={backend.name!r}")


def _line(backend: Backend, state: State, found: str, next_step: str) -> Check:
    host = backend.options.get("host")
    name = f"{backend.name} ({host})" if host else backend.name
    return Check(part="access", name=name, state=state, found=found, next_step=next_step)


def _halves(text: str) -> tuple[str, str]:
    """Return what happened, and what to do next: our messages have them in this order.

    What stands in parentheses is somebody else's text, and isn't taken apart.
    """
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if depth <= 0 and ((sign in ".;" and text[at + 1 : at + 2] == " ") or text[at:].startswith(": set ")):
            return text[:at], text[at + 1 :].strip().rstrip(".")
    return text, "see the documentation of this backend"
