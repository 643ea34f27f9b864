"""One deadline and one size for an answer, whatever a server does with its sockets."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from ftsdk.evals.bounded_http import AnswerTooLarge, AnswerTooLate, BoundedClient, Unreachable

Serve = Callable[[Callable[[socket.socket], None]], str]
LIMIT = 100_000


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(script: Callable[[socket.socket], None]) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listening.accept()
                        with contextlib.suppress(OSError), connection:
                            received = b""
                            while b"{}" not in received:
                                received += connection.recv(65536)
                            script(connection)

            threading.Thread(target=answer, daemon=True).start()
            return f"http://127.0.0.1:{listening.getsockname()[1]}/"

        yield start


@pytest.fixture
def client() -> Iterator[BoundedClient]:
    client = BoundedClient(headers={}, timeout_s=0.5, connections=2, most_bytes=LIMIT)
    yield client
    client.close()
    client.close()


def head(*lines: str, length: int | None = None, status: int = 200) -> bytes:
    announced = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"HTTP/1.1 {status} X", "Connection: close", *announced, *lines, "", ""]).encode()


def drip(connection: socket.socket, part: bytes) -> None:
    for _ in range(100):
        connection.sendall(part)
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("before", "part"),
    [
        (b"", b""),
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (head(length=1000), b"a"),
        (head("Transfer-Encoding: chunked"), b"1\r\na\r\n"),
        (head(), b"a"),
    ],
)
def test_a_drip_of_any_part_ends_at_the_deadline(
    serve: Serve, client: BoundedClient, before: bytes, part: bytes
) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(before)
        drip(connection, part)

    url = serve(script)
    started = time.monotonic()
    with pytest.raises((AnswerTooLate, Unreachable)):
        client.post(url, b"{}")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "content",
    [
        head(length=LIMIT + 1),
        head(length=10**15),
        head() + b"a" * (LIMIT + 1),
        head("Transfer-Encoding: chunked") + b"fffff\r\n" + b"a" * 0xFFFFF,
        head("Content-Encoding: gzip") + gzip.compress(b"a" * 50_000_000),
        head("Content-Encoding: deflate") + zlib.compress(b"a" * 50_000_000),
    ],
)
def test_more_than_the_limit_is_not_kept(serve: Serve, client: BoundedClient, content: bytes) -> None:
    url = serve(lambda connection: connection.sendall(content))
    with pytest.raises(AnswerTooLarge):
        client.post(url, b"{}")


def test_a_refusal_that_is_too_large_keeps_its_status(serve: Serve, client: BoundedClient) -> None:
    url = serve(lambda connection: connection.sendall(head(status=400) + b"a" * (LIMIT + 1)))
    answer = client.post(url, b"{}")
    assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize(
    ("encoding", "content"),
    [("gzip", gzip.compress(b"hello")), ("deflate", zlib.compress(b"hello")), ("identity", b"hello")],
)
def test_a_compressed_answer_is_read(serve: Serve, client: BoundedClient, encoding: str, content: bytes) -> None:
    url = serve(lambda connection: connection.sendall(head(f"Content-Encoding: {encoding}") + content))
    assert client.post(url, b"{}").body == b"hello"


def test_an_answer_shorter_than_announced_is_no_answer(serve: Serve, client: BoundedClient) -> None:
    url = serve(lambda connection: connection.sendall(head(length=10) + b"hello"))
    with pytest.raises(Unreachable):
        client.post(url, b"{}")
