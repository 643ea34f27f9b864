"""What the tests of the stand-in for Together share: the service, its real client, and the way to a job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ftsdk.testing.together import TogetherService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from together import Together

ROWS = tuple({"prompt": f"Sort message {number}.", "completion": "travel"} for number in range(40))
PAIRS = tuple(
    {
        "input": {"messages": [{"role": "user", "content": f"Sort message {number}."}]},
        "preferred_output": [{"role": "assistant", "content": "travel"}],
        "non_preferred_output": [{"role": "assistant", "content": "No."}],
    }
    for number in range(40)
)


@pytest.fixture
def service() -> Iterator[TogetherService]:
    pytest.importorskip("together", reason="the extra 'together' isn't installed")
    with TogetherService() as service:
        yield service


@pytest.fixture
def client(service: TogetherService) -> Iterator[Together]:
    """The real client; it tries nothing twice by itself, so that tests see each answer and needn't wait."""
    import together

    # There is no TLS on loopback: verify=False saves reading the system's certificates.
    http = together.DefaultHttpxClient(trust_env=False, verify=False)
    with together.Together(
        api_key=service.key, base_url=service.base_url, max_retries=0, http_client=http, project_id=service.project_id
    ) as client:
        yield client


@pytest.fixture
def upload(client: Together, tmp_path: Path) -> Callable[..., str]:
    """Upload rows, wait until they are processed, and give the file's id."""
    count = 0

    def upload(rows: Any = ROWS, *, waits: bool = True, name: str = "") -> str:
        nonlocal count
        count += 1
        path = tmp_path / (name or f"rows-{count}.jsonl")
        path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
        file_id = client.files.upload(path, purpose="fine-tune").id
        while waits and client.files.retrieve(file_id).processing_status in ("PENDING", "QUEUED", "RUNNING"):
            pass
        return file_id

    return upload


@pytest.fixture
def start(client: Together, upload: Callable[..., str]) -> Callable[..., str]:
    """Start a job, and give its id."""

    def start(**changes: Any) -> str:
        asked = {
            "model": "example/tiny-instruct",
            "lora": True,
            "lora_r": 8,
            "learning_rate": 1e-4,
            "suffix": "abc",
            **changes,
        }
        if asked.get("training_method", "sft") == "sft":
            asked = {"train_on_inputs": "auto", **asked}
        if "training_file" not in asked:
            asked["training_file"] = upload()
        return client.fine_tuning.create(**asked).id

    return start


@pytest.fixture
def finish(client: Together) -> Callable[[str], list[str]]:
    """Look at a job until it is over, and give the statuses that were seen, each once in a row."""

    def finish(job_id: str) -> list[str]:
        seen: list[str] = []
        for _ in range(50):
            status = client.fine_tuning.retrieve(job_id).status
            seen += [status] if seen[-1:] != [status] else []
            if status in ("completed", "error", "user_error", "cancelled"):
                return seen
        raise AssertionError(f"the job didn't come to its end: {seen}")

    return finish
