"""What a server may send in place of a chat completion: text, or an error of ours, in time, and never the key."""

from __future__ import annotations

import contextlib
import gzip
import json
import pickle
import random
import socket
import sys
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from fuzzing import FuzzCases, limits

from ftsdk.errors import FtsdkError
from ftsdk.evals.chat_wire import ChatWire

pytestmark = pytest.mark.fuzz

KEY = "Zq-fuzz-7Hk2mPxW9sLtVb"
Script = Callable[[socket.socket], None]


class Server:
    """Answers each request by the script of the moment."""

    def __init__(self) -> None:
        self.script: Script = lambda connection: None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection, self.script), daemon=True).start()

    def _answer(self, connection: socket.socket, script: Script) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            request = b""
            while b'"temperature"' not in request:
                received = connection.recv(65536)
                if not received:
                    return
                request += received
            script(connection)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def test_a_malformed_answer_is_text_or_an_error_of_ours(fuzz_cases: FuzzCases, server: Server) -> None:
    ends: Counter[str] = Counter()
    for rng in fuzz_cases:
        server.script = _script(rng)
        started = time.monotonic()
        with limits(seconds=20, mib=96):
            ends[_ask(server)] += 1
        assert time.monotonic() - started < 10
    sys.stdout.write(f"{dict(ends)}\n")  # shown by -s
    assert sum(ends.values()) == fuzz_cases.count


def _ask(server: Server) -> str:
    with ChatWire(url=server.url, model="m", key=KEY, key_name="MY_KEY", attempts=1, timeout_s=1.0) as wire:
        try:
            (answer,) = wire.generate([[{"role": "user", "content": "hello"}]], max_new_tokens=4)
        except FtsdkError as error:
            failure = error
        else:
            assert isinstance(answer, str)
            return "text"
    shown = "".join(traceback.format_exception(failure)) + repr(vars(failure)) + repr(pickle.dumps(failure))
    assert KEY not in shown
    assert len(str(failure)) < 2000
    return type(failure).__name__


def _script(rng: random.Random) -> Script:
    """Return what a server does with a request that it has read."""
    way = rng.random()
    if way < 0.01:
        return _drip(rng)
    if way < 0.02:
        return _flood(rng)
    content = _body(rng)
    encoding = ""
    if rng.random() < 0.15:
        encoding = rng.choice(["gzip", "deflate", "br", "identity", "GZIP", "gzip, gzip", "x"])
        content = rng.choice([gzip.compress, zlib.compress, bytes])(content)
    if rng.random() < 0.2:
        content = _damaged(rng, content)
    if rng.random() < 0.6:
        status = rng.choice([200, 200, 200, 400, 401, 429, 500])
        lines = [
            f"HTTP/1.1 {status} X",
            f"Content-Length: {len(content)}",
            f"Content-Encoding: {encoding or 'identity'}",
        ]
        message = "\r\n".join([*lines, "", ""]).encode() + content
    else:
        message = _head(rng, content, encoding) + _framed(rng, content)
    if rng.random() < 0.1:
        message = _damaged(rng, message)
    return lambda connection: connection.sendall(message)


def _drip(rng: random.Random) -> Script:
    head = rng.choice([b"", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"])

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(60):
            connection.sendall(b"a")
            time.sleep(0.05)

    return script


def _flood(rng: random.Random) -> Script:
    head = rng.choice([b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 500 No\r\n\r\n", b""])
    part = rng.choice([b" " * 65536, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, b"X-A: b\r\n" * 8000])

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(2000):
            connection.sendall(part)

    return script


def _body(rng: random.Random) -> bytes:
    texts = ["hi", "", "\ud800", "\x00", "x" * 100_000, f"Bearer {KEY}", None, 1, [], {}, ["hi"], True]
    if rng.random() < 0.5:
        return json.dumps({"choices": [{"message": {"content": rng.choice(texts)}}]}).encode()
    message: object = {"role": "assistant", "content": rng.choice(texts)}
    completion: object = {"choices": [{"index": 0, "message": message}]}
    echo = "x" * rng.randrange(470, 510) + KEY
    return rng.choice(
        [
            lambda: json.dumps(completion).encode(),
            lambda: json.dumps({"choices": rng.choice([[], None, {}, [None], [[]], [{}], "x", 1])}).encode(),
            lambda: json.dumps({"error": rng.choice([echo, {"message": echo}, {"detail": echo}, [echo], 1])}).encode(),
            lambda: json.dumps(rng.choice([None, [], "x", 1, True, {}, {"choices": [{"message": KEY}]}])).encode(),
            lambda: b"[" * rng.choice([10, 100_000]),
            lambda: b'{"choices":' * 50_000,
            lambda: b'{"choices":[{"message":{"content":' + b"9" * 10_000 + b"}}]}",
            lambda: b'{"choices":[{"message":{"content":NaN}}]}',
            lambda: b"\xff\xfe" + json.dumps(completion).encode("utf-16-le"),
            lambda: f"<html>{KEY}</html>".encode(),
            lambda: b" " * (5 << 20),
            lambda: b"\0" * (40 << 20),
            lambda: rng.randbytes(rng.randrange(200)),
        ]
    )()


def _head(rng: random.Random, content: bytes, encoding: str) -> bytes:
    status = rng.choice([200, 200, 200, 200, 400, 401, 404, 429, 500, 503, 301, 204, 304, 100, 101, 999, 0, -1])
    reason = rng.choice(["OK", "", KEY, "x" * 500])
    lines = [f"{rng.choice(['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/9', 'ICY'])} {status} {reason}"]
    length = rng.choice(
        [
            len(content),
            len(content),
            len(content),
            len(content) + 10,
            max(0, len(content) - 10),
            -1,
            10**30,
            "x",
            "",
            "٣",
        ]
    )
    if rng.random() < 0.8:
        lines.append(f"Content-Length: {length}")
    if rng.random() < 0.1:
        lines.append(f"Content-Length: {len(content) + 1}")
    if rng.random() < 0.15:
        lines.append(f"Transfer-Encoding: {rng.choice(['chunked', 'gzip, chunked', 'x'])}")
    if encoding:
        lines.append(f"Content-Encoding: {encoding}")
    if rng.random() < 0.3:
        wait = rng.choice(["1", "-1", "nan", "inf", "1e400", "Fri, 32 Foo 2026", "Fri, 01 Jan 99999 00:00:00 GMT", KEY])
        lines.append(f"Retry-After: {wait}")
    if rng.random() < 0.2:
        lines.append(rng.choice(["Set-Cookie: a=b; expires=x", "no colon", f"X-Echo: {KEY}", ": x", "X-A: é", " x: y"]))
    lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode()


def _framed(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.85:
        return content
    size = rng.choice([b"%x" % len(content), b"ffffffffffffffffffff", b"-1", b"x"])
    return size + b"\r\n" + content + b"\r\n" + rng.choice([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b""])


def _damaged(rng: random.Random, content: bytes) -> bytes:
    if not content:
        return content
    place = rng.randrange(min(len(content), 400))
    return rng.choice(
        [
            lambda: content[:place],
            lambda: content[:place] + rng.randbytes(3) + content[place + 3 :],
            lambda: content[:place] + content[:200] + content[place:],
            lambda: content + rng.randbytes(20),
        ]
    )()
