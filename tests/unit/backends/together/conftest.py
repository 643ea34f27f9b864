"""What the tests of the Together backend share.

The service on loopback, a clock that is moved by hand, data and specs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ftsdk import DPO, Dataset, Model, Together
from ftsdk.data import Store
from ftsdk.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ftsdk.testing.together import TogetherService


class Clock:
    """Seconds since the epoch; sleeping moves it on."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherService]:
    pytest.importorskip("together", reason="the extra 'together' isn't installed")
    from ftsdk.testing.together import TogetherService

    with TogetherService() as service:
        monkeypatch.setenv("TOGETHER_API_KEY", service.key)
        yield service


@pytest.fixture
def make_backend(service: TogetherService, clock: Clock) -> Callable[..., Together]:
    def make_backend(**options: Any) -> Together:
        given: dict[str, Any] = {
            "base_url": service.base_url,
            "max_retries": 0,
            "poll_s": 0,
            "clock": clock,
            "sleep": clock.sleep,
        }
        return Together(**{**given, **options})

    return make_backend


@pytest.fixture
def backend(make_backend: Callable[..., Together]) -> Together:
    return make_backend()


def chats(word: str = "question", count: int = 16) -> Dataset:
    return Dataset.from_rows([{"q": f"{word} {i}", "a": "yes"} for i in range(count)]).as_chat(
        prompt="{q}", completion="{a}"
    )


def pairs(word: str = "question", count: int = 16) -> Dataset:
    rows = [{"q": f"{word} {i}", "good": "yes", "bad": "no"} for i in range(count)]
    return Dataset.from_rows(rows).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")


@pytest.fixture
def make_chats() -> Callable[[], Dataset]:
    return chats


@pytest.fixture
def make_spec(ftsdk_home: object) -> Callable[..., JobSpec]:
    """Give a spec whose data are in the store."""

    def make_spec(*, word: str = "question", validation: bool = False, **changes: Any) -> JobSpec:
        make = pairs if isinstance(changes.get("method"), DPO) else chats
        train, held_out = make(word), make(f"another {word}")
        store = Store()
        store.put(train)
        store.put(held_out)
        more = {"validation": held_out.ref()} if validation else {}
        return JobSpec(**{"model": Model(id="Qwen/Qwen3.5-9B"), "train": train.ref(), **more, **changes})

    return make_spec
