"""Clients of the small servers that are slow, half open, or many."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ftsdk.deploy.bounded_server import BoundedHandler, BoundedServer, is_loopback_name, name_in_host
from ftsdk.deploy.monitor import Monitor
from ftsdk.deploy.monitor.server import MonitorServer
from ftsdk.deploy.servers.llama_cpp.front import Front


class Plain(BoundedHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_POST(self) -> None:  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()


@contextmanager
def running(server: BoundedServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def connected(port: int, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(sent)
    return client


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "beginning", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
)
def test_what_never_arrives_is_hung_up_on_however_it_drips(beginning: bytes) -> None:
    class Hasty(BoundedServer):
        request_s = 0.4

    with running(Hasty(("127.0.0.1", 0), Plain)) as port:
        slow = connected(port, beginning)
        dripping = threading.Thread(target=_drip, args=(slow,))
        dripping.start()
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "ok"
        assert ended(slow)
        slow.close()
        dripping.join()


def _drip(client: socket.socket) -> None:
    for _ in range(8):
        time.sleep(0.1)
        try:
            client.sendall(b"x")
        except OSError:
            return


def test_connections_beyond_the_places_are_closed_and_places_come_back() -> None:
    class Small(BoundedServer):
        most_connections = 4

    with running(Small(("127.0.0.1", 0), Plain)) as port:
        held = [connected(port, b"GET / HT") for _ in range(4)]
        time.sleep(0.2)
        beyond = connected(port, b"GET / HTTP/1.1\r\n\r\n")
        assert ended(beyond)
        for client in (*held, beyond):
            client.close()
        answers: list[str] = []
        for _ in range(200):
            try:
                answers.append(httpx.get(f"http://127.0.0.1:{port}/").text)
                break
            except httpx.HTTPError:
                time.sleep(0.02)
        assert answers == ["ok"]


def test_a_kept_connection_has_its_time_for_each_request() -> None:
    class Hasty(BoundedServer):
        request_s = 0.5

    with running(Hasty(("127.0.0.1", 0), Plain)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(4):
            assert client.get("/").text == "ok"
            time.sleep(0.2)


def test_headers_without_end_are_refused_and_the_monitor_goes_on(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    server = MonitorServer(Monitor(tmp_path))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    port = int(server.address.rstrip("/").rpartition(":")[2])
    for line in (
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"A: b\r\n" * 200,
    ):
        client = connected(port, line)
        assert client.recv(12)[9:] in (b"414", b"431")
        client.close()
    assert httpx.get(server.address).status_code == 200
    assert httpx.get(server.address, headers={"Host": "evil.example"}).status_code == 403
    server.stop()
    thread.join()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Host": "evil.example"}, 403),
        ({}, 401),
        ({"Authorization": "Bearer right", "Content-Type": "text/plain"}, 415),
    ],
)
def test_nobody_sends_a_body_to_llama_cpp_before_it_is_known_who(headers: dict[str, str], status: int) -> None:
    front = Front(("127.0.0.1", 0), upstream=("127.0.0.1", 9), upstream_key="k", models={"m": None}, key="right")
    with running(front) as port:
        body = json.dumps({"model": "m", "messages": []})
        found = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", content=body, headers=headers)
        assert found.status_code == status
        unread = connected(
            port, b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 30000000\r\n\r\n"
        )
        answer = unread.recv(100)
        assert answer.startswith(b"HTTP/1.1 401")
        unread.close()


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1:80", True), ("localhost", True), ("LOCALHOST:1", True), ("[::1]:80", True), ("[::1]", True),
     ("127.0.0.1.evil.example", False), ("evil.example", False), ("", False), ("[::1", False), ("0.0.0.0", False)],
)  # fmt: skip
def test_names_of_this_machine(host: str, is_local: bool) -> None:
    assert is_loopback_name(name_in_host(host)) is is_local
