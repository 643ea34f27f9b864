"""`ftsdk chat`: one question, a pipe of them, and a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, Response, completion
from serving import serving
from terminal import INTERRUPT, in_terminal
from typer.testing import CliRunner, Result

from ftsdk import BackendError, ModelError, RunNotFoundError, SpecError
from ftsdk.cli.app import app

HOSTILE = "a\x1b[2Jb\x07 \u202e[red]c[/red]"
SHOWN = "a␛[2Jb␇ \ufffd[red]c[/red]"


def chat(*words: object, keys: str = "") -> Result:
    return CliRunner().invoke(app, ["chat", *map(str, words)], input=keys, catch_exceptions=False)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as made:
        yield made


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


def test_without_memory_each_question_stands_alone(server: ApiServer) -> None:
    shown = chat(f"{server.url}#m", "--no-memory", "--system", "be kind", keys="one\ntwo\n")
    assert (shown.exit_code, shown.stdout) == (0, "one\ntwo\n")
    assert [message["content"] for message in server.requests[-1]["messages"]] == ["be kind", "two"]


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
    done = in_terminal("chat", f"{url}#m", keys=keys)
    return done.code, done.lines


def test_a_conversation_in_a_terminal_goes_on_after_a_failure_and_ends_with_ctrl_d(server: ApiServer) -> None:
    server.respond = lambda request, n: Response(status=400) if request["messages"][-1]["content"] == "bad" else None
    code, lines = talk(server.url, [("> ", b"one\r"), ("> ", b"bad\r"), ("> ", b"two\r"), ("> ", b"\x04")])
    assert code == 0
    assert lines[0].endswith("Ctrl-D or Ctrl-C leaves.")
    assert lines[1:4:2] == ["> one", "> bad"]
    assert any("HTTP 400" in line for line in lines)
    assert lines[-3:] == ["> two", "two", ">"]


def test_ctrl_c_leaves_at_once_in_the_prompt_and_in_an_answer(server: ApiServer) -> None:
    assert talk(server.url, [("> ", INTERRUPT)])[0] == 0
    server.delay_s = 20
    code, lines = talk(server.url, [("> ", b"one\r"), ("answering", INTERRUPT)])
    assert code == 130
    assert not any("Traceback" in line for line in lines)
