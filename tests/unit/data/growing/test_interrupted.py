"""Ctrl-C while a server is silent: a call ends at once, and what was paid is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from chat_script import MODEL, Script

from ftsdk.testing.together import TogetherService

CHILD = """
import sys
import ftsdk
call, url, model = sys.argv[1:]
endpoint = ftsdk.Endpoint(url=url, model=model, api_key_env="TEACHER_KEY", concurrency=4, timeout_s=60)
rows = [{"prompt": f"Where is parcel {n}?", "completion": f"Parcel {n} is here."} for n in range(20)]
data = ftsdk.Dataset.from_rows(rows)
quiet = lambda _: None
try:
    if call == "augment":
        data.augment(endpoint, on_plan=quiet)
    else:
        data.to_preference(endpoint, endpoint, endpoint, on_plan=quiet)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("call", ["augment", "to_preference"])
def test_ctrl_c_ends_a_call_to_a_silent_server_and_keeps_answers(call: str, script: Script, tmp_path: Path) -> None:
    are_silent, may_go_on = threading.Event(), threading.Event()
    waiting: list[str] = []

    def reply(asked: str) -> str:
        if len(script.asked) > 6:
            waiting.append(asked)
            if len(waiting) == 4:
                are_silent.set()
            may_go_on.wait(60)
        return f"Say, where is it? {len(script.asked)}"

    script.reply = reply
    with TogetherService(chat=script) as service:
        home = tmp_path / "home"
        command = [sys.executable, "-c", CHILD, call, f"{service.base_url}/v1", MODEL]
        env = {**os.environ, "TEACHER_KEY": service.key, "FTSDK_HOME": str(home)}
        # A shell in the background starts its children deaf to SIGINT.
        child = subprocess.Popen(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            assert are_silent.wait(60), child.stderr
            time.sleep(0.2)  # until the last answers are on disk
            began = time.monotonic()
            child.send_signal(signal.SIGINT)
            output, errors = child.communicate(timeout=30)
            took = time.monotonic() - began
        finally:
            may_go_on.set()
            child.kill()
            child.communicate()
    assert (output, child.returncode) == ("interrupted\n", 0), errors
    assert took < 2, "no thread holds the process up"
    [kept] = (home / "answers").glob("*.jsonl")
    assert kept.read_text(encoding="utf-8").count('"key"') == 6
