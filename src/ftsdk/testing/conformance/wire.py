"""The wire: what goes wrong there becomes our errors, and no key leaks."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftsdk.errors import BackendError, CredentialsError, FtsdkError, RunNotFoundError
from ftsdk.protocol import Backend, RunRef
from ftsdk.testing.conformance.hooks import RETRY_AFTER_S, Hooks, new_key

__all__ = ["WireChecks"]

_FAULTS = ("401", "404", "429", "503", "timeout", "garbage")


class WireChecks(Hooks):
    """Faults and secrets."""

    def test_wire_faults_become_our_errors(self, tmp_path: Path) -> None:
        """Each of six faults is the right error with the right advice, pickles, and leaks no key."""
        backend = self.make_backend(tmp_path)
        if self.wire_faults(backend) is None:
            pytest.skip("wire_faults() isn't overridden: there is no wire")
        ref = self._submitted(backend)
        plan = backend.plan(self.make_spec())
        key = new_key()
        calls: dict[str, Callable[[], object]] = {
            "status": lambda: backend.status(ref),
            "events": lambda: list(backend.events(ref)),
            "cancel": lambda: backend.cancel(ref),
            "submit": lambda: backend.submit(plan, key=key),
        }
        wrong: list[str] = []
        for fault in _FAULTS:
            for name, call in calls.items():
                if (fault, name) == ("404", "submit"):
                    continue  # a run can't be missing before it is there
                contexts = self.wire_faults(backend)
                assert contexts is not None
                assert set(contexts) == set(_FAULTS), f"wire_faults() must return {', '.join(_FAULTS)}"
                with contexts[fault]:
                    error = _raised_by(call)
                wrong += [f"{fault} in {name}: {problem}" for problem in _problems_of(fault, error, self.secrets())]
        self._stop(backend, ref)
        self._stop(backend, backend.submit(plan, key=key))
        assert not wrong, "\n".join(wrong)

    def test_a_fault_in_submit_does_not_start_a_second_run(self, tmp_path: Path) -> None:
        """After a timeout, the same key starts one run, whatever came of the first request."""
        backend = self.make_backend(tmp_path)
        contexts = self.wire_faults(backend)
        if contexts is None:
            pytest.skip("wire_faults() isn't overridden: there is no wire")
        plan = backend.plan(self.make_spec())
        key = new_key()
        before = self.runs_started(backend)
        with contexts["timeout"], pytest.raises(BackendError):
            backend.submit(plan, key=key)
        first = backend.submit(plan, key=key)
        second = backend.submit(plan, key=key)
        after = self.runs_started(backend)
        self._stop(backend, first)
        assert first.id == second.id
        if before is not None and after is not None:
            assert after - before == 1, f"{after - before} runs were started"

    def test_nothing_says_a_secret(self, tmp_path: Path) -> None:
        """No key in options, plans, refs, statuses, events, errors, or what any of them prints."""
        secrets = self.secrets()
        if not secrets:
            pytest.skip("secrets() is empty: the backend holds no secret")
        backend = self.make_backend(tmp_path)
        plan = backend.plan(self.make_spec())
        ref = backend.submit(plan, key=new_key())
        texts = {f"{what}: {text}" for what, text in _texts(backend, ref)}
        texts |= {f"plan: {text}" for text in (repr(plan), str(plan), plan.to_json(), plan.to_html())}
        self._stop(backend, ref)
        leaks = [text for text in texts if any(secret in text for secret in secrets)]
        assert not leaks, (
            f"{len(leaks)} texts contain a secret; it is in: {sorted({text.split(':')[0] for text in leaks})}"
        )


def _texts(backend: Backend, ref: RunRef) -> Iterator[tuple[str, str]]:
    yield "options", json.dumps(dict(backend.options))
    yield "backend", repr(backend) + str(backend)
    yield "ref", f"{ref!r} {ref} {json.dumps(dict(ref.native))}"
    yield "status", repr(backend.status(ref))
    yield "events", "".join(event.to_json() for event in backend.events(ref))
    error = _raised_by(lambda: backend.status(RunRef(backend=backend.name, id="no-such-run")))
    if error is not None:
        yield "error", _all_of(error)


def _raised_by(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the suite judges whatever comes
        return error
    return None


def _problems_of(fault: str, error: Exception | None, secrets: object) -> list[str]:
    if error is None:
        return ["nothing was raised"]
    said = f"{type(error).__name__}: {error}"
    problems: list[str] = []
    if fault == "401" and not isinstance(error, CredentialsError):
        problems.append(f"should be a CredentialsError, is {said}")
    elif fault == "404" and not isinstance(error, RunNotFoundError):
        problems.append(f"should be a RunNotFoundError, is {said}")
    elif fault not in ("401", "404"):
        problems += _problems_of_backend_error(fault, error, said)
    if any(secret in _all_of(error) for secret in (secrets if isinstance(secrets, (list, tuple)) else ())):
        problems.append(f"a secret is in the {type(error).__name__}")
    if isinstance(error, FtsdkError):
        try:
            copy = pickle.loads(pickle.dumps(error))
        except Exception as failure:  # noqa: BLE001 - pickling fails in many ways
            problems.append(f"can't be pickled: {failure}")
        else:
            if (type(copy), str(copy), vars(copy)) != (type(error), str(error), vars(error)):
                problems.append("is another one after pickling")
    return problems


def _problems_of_backend_error(fault: str, error: Exception, said: str) -> list[str]:
    if not isinstance(error, BackendError):
        return [f"should be a BackendError, is {said}"]
    problems: list[str] = []
    if fault != "garbage" and not error.retryable:
        problems.append("should be retryable")
    if fault == "429" and error.retry_after_s != RETRY_AFTER_S:
        problems.append(f"retry_after_s should be {RETRY_AFTER_S}, as the service sent; is {error.retry_after_s}")
    if fault in ("429", "503") and error.status_code != int(fault):
        problems.append(f"status_code should be {fault}; is {error.status_code}")
    return problems


def _all_of(error: BaseException) -> str:
    """The text of an error and of its causes."""
    texts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(texts) < 20:
        texts.append(f"{current} {current!r} {current.args} {vars(current)}")
        current = current.__cause__ or current.__context__
    return "\n".join(texts)
