"""A conversation that goes on: what is sent again, and what is dropped when it no longer fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, Response, completion
from serving import serving

from ftsdk import BackendError, DatasetError, Endpoint, Model
from ftsdk.evals.chat import Chat, EndpointPartner, LocalPartner
from ftsdk.evals.chat_wire import ChatWire


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as running:
        yield running


@pytest.fixture
def wire(server: ApiServer) -> Iterator[ChatWire]:
    with Endpoint(url=server.url, model="m", attempts=1).open() as opened:
        yield opened


def sent(server: ApiServer) -> list[str]:
    return [message["content"] for message in server.requests[-1]["messages"]]


def test_each_question_comes_with_what_was_said_before(server: ApiServer, wire: ChatWire) -> None:
    chat = Chat(EndpointPartner(wire), system="be kind")
    assert chat.ask("one").text == "one"
    chat.ask("two")
    assert sent(server) == ["be kind", "one", "one", "two"]


def test_reasoning_is_shown_and_not_sent_again(server: ApiServer, wire: ChatWire) -> None:
    thought = "<think>hm</think>\n\nyes"
    server.respond = lambda request, n: Response(content=completion(request, thought), is_billed=True)
    chat = Chat(EndpointPartner(wire))
    assert chat.ask("one").text == thought
    chat.ask("two")
    assert sent(server) == ["one", "yes", "two"]


def test_a_question_without_an_answer_is_not_part_of_the_conversation(server: ApiServer, wire: ChatWire) -> None:
    server.respond = lambda request, n: Response(status=400) if request["messages"][-1]["content"] == "bad" else None
    chat = Chat(EndpointPartner(wire))
    with pytest.raises(BackendError):
        chat.ask("bad")
    chat.ask("one")
    with pytest.raises(BackendError):
        chat.ask("bad")
    assert chat.ask("two").forgotten == 0
    assert sent(server) == ["one", "one", "two"]


def test_what_a_server_finds_too_long_loses_its_beginning(server: ApiServer, wire: ChatWire) -> None:
    server.respond = lambda request, n: Response(status=400) if len(request["messages"]) > 6 else None
    chat = Chat(EndpointPartner(wire), system="be kind")
    replies = [chat.ask(f"{n}") for n in range(4)]
    assert [reply.forgotten for reply in replies] == [0, 0, 0, 2]
    assert sent(server) == ["be kind", "2", "2", "3"]


def test_what_a_local_model_cannot_read_loses_its_beginning(tiny_model: Path) -> None:
    chat = Chat(LocalPartner(Model(id=str(tiny_model))), max_new_tokens=20)
    parts: list[str] = []
    first = chat.ask("rome " * 240, parts.append)
    assert first.text.startswith(parts[0])
    assert len(parts) > 1
    assert [chat.ask("money " * 240).forgotten, chat.ask("city").forgotten] == [1, 0]
    with pytest.raises(DatasetError, match="the prompt has"):
        chat.ask("rome " * 600)
    assert chat.ask("city").forgotten == 0
