"""`ftsdk chat`: one question, a pipe of them, and a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from api_server import ApiServer, Response, completion
from typer.testing import CliRunner, Result

from ftsdk import BackendError, ModelError, RunNotFoundError, SpecError
from ftsdk.cli.app import app

HOSTILE = "a\x1b[2Jb\x07 \u202e[red]c[/red]"
SHOWN = "a␛[2Jb␇ \ufffd[red]c[/red]"


def chat(*words: object, keys: str = "") -> Result:
    return CliRunner().invoke(app, ["chat", *map(str, words)], input=keys, catch_exceptions=False)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield made
        made.shutdown()


def test_one_question_prints_its_answer_and_nothing_else(server: ApiServer) -> None:
    shown = chat(f"{server.url}#m", "rome?", "--system", "be kind", "--max-new-tokens", 7)
    assert (shown.exit_code, shown.stdout) == (0, "rome?\n")
    assert [message["content"] for message in server.requests[0]["messages"]] == ["be kind", "rome?"]
    assert server.requests[0]["max_tokens"] == 7


def test_a_model_on_this_machine_answers(tiny_model: Path) -> None:
    shown = chat(tiny_model, "rome?", "--max-new-tokens", 2)
    assert shown.exit_code == 0
    assert "cut off" in shown.stderr


def test_each_line_of_a_pipe_is_a_question(server: ApiServer) -> None:
    shown = chat(f"{server.url}#m", keys="one\n\ntwo")
    assert (shown.exit_code, shown.stdout) == (0, "one\ntwo\n")
    assert len(server.requests[-1]["messages"]) == 3


def test_an_answer_cannot_drive_the_terminal(server: ApiServer) -> None:
    server.respond = lambda request, n: Response(content=completion(request, HOSTILE), is_billed=True)
    assert chat(f"{server.url}#m", "a").stdout == f"{SHOWN}\n"


def test_a_pipe_ends_with_the_first_failure(server: ApiServer) -> None:
    server.respond = lambda request, n: Response(status=400)
    with pytest.raises(BackendError):
        chat(f"{server.url}#m", keys="one\ntwo\n")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("words", "error", "match"),
    [
        (["./nowhere", "a"], ModelError, "no folder"),
        (["local:20260101-abcdef", "a"], RunNotFoundError, "no run"),
        (["http://127.0.0.1/v1", "a"], SpecError, "URL#MODEL"),
        (["http://127.0.0.1/v1#m", "a", "--adapter", "x"], SpecError, "--adapter is for a model"),
        (["./nowhere", "a", "--api-key-env", "KEY"], SpecError, "--api-key-env is for a server"),
    ],
)
def test_what_cannot_be_talked_to_is_refused(words: list[str], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        chat(*words)


def talk(url: str, keys: list[tuple[str, bytes]]) -> tuple[int, list[str]]:
    """Type in a terminal, each time once a text is shown; return the exit status and what is on the screen."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, 80))
    child = subprocess.Popen(
        [sys.executable, "-m", "ftsdk", "chat", f"{url}#m"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C arrives
    )
    os.close(follower)
    screen = pyte.Screen(80, 40)
    stream = pyte.ByteStream(screen)
    waiting, shown, deadline = list(keys), "", time.monotonic() + 60
    sent, sent_at = b"", 0.0
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                piece = os.read(leader, 65_536)
            except OSError:
                break
            if not piece:
                break
            stream.feed(piece)
            shown += piece.decode(errors="replace")
        if waiting and waiting[0][0] in shown:
            shown = ""
            sent, sent_at = waiting.pop(0)[1], time.monotonic()
            os.write(leader, sent)
        elif sent == b"\x03" and time.monotonic() > sent_at + 2:
            # Python's readline misses one that comes between its prompt and its wait; people press it again.
            sent_at = time.monotonic()
            os.write(leader, sent)
    try:
        return child.wait(timeout=10), [line.rstrip() for line in screen.display if line.strip()]
    finally:
        child.kill()
        os.close(leader)


def test_a_conversation_in_a_terminal_goes_on_after_a_failure_and_ends_with_ctrl_d(server: ApiServer) -> None:
    server.respond = lambda request, n: Response(status=400) if request["messages"][-1]["content"] == "bad" else None
    code, lines = talk(server.url, [("> ", b"one\r"), ("> ", b"bad\r"), ("> ", b"two\r"), ("> ", b"\x04")])
    assert code == 0
    assert lines[0].endswith("Ctrl-D or Ctrl-C leaves.")
    assert lines[1:4:2] == ["> one", "> bad"]
    assert any("HTTP 400" in line for line in lines)
    assert lines[-3:] == ["> two", "two", ">"]


def test_ctrl_c_leaves_at_once_in_the_prompt_and_in_an_answer(server: ApiServer) -> None:
    assert talk(server.url, [("> ", b"\x03")])[0] == 0
    server.delay_s = 20
    code, lines = talk(server.url, [("> ", b"one\r"), ("answering", b"\x03")])
    assert code == 130
    assert not any("Traceback" in line for line in lines)
