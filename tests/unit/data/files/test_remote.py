"""Files at an address: from a server on loopback that misbehaves, and from S3's real client and a stand-in."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ftsdk import Dataset, DatasetError, FtsdkError, MissingExtraError
from ftsdk.data.files import remote
from ftsdk.data.files.remote import fetched

ROWS = [{"prompt": f"What is {n} + {n}?", "completion": str(2 * n)} for n in range(100)]
KEY = "S3cret" * 3
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


class Server:
    """Answers by path, also to requests for a part, and keeps what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        own = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                own.answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append(f"{request.command} {path}")
        if path in self.answers:
            self.answers[path](request)
            return
        content = self.files.get(path)
        if content is None:
            send(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        headers = {
            "ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"',
            "Last-Modified": formatdate(0, usegmt=True),
        }
        part = request.headers.get("Range")
        if part is None:
            send(request, 200, content, headers)
            return
        first, last = (int(number) for number in part.removeprefix("bytes=").split("-"))
        last = min(last, len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        send(request, 206, content[first : last + 1], headers)


def send(request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def test_a_file_at_an_address_is_fetched_once_and_its_content_recorded(
    server: Server, tmp_path: Path, ftsdk_home: Path
) -> None:
    server.files["/data/sums%20and more.jsonl.gz".replace("%20", " ")] = packed = gzip.compress(LINES)
    address = f"{server.url}/data/sums%20and%20more.jsonl.gz?download=true"
    data = Dataset.from_file(address)
    assert (data.name, data.form, len(data)) == ("sums and more.jsonl.gz", "prompt and completion", 100)
    assert server.asked == ["GET /data/sums and more.jsonl.gz"]
    assert data.lineage == (
        {
            "file": address,
            "sha256": hashlib.sha256(packed).hexdigest(),
            "bytes": len(packed),
            "etag": hashlib.md5(packed, usedforsecurity=False).hexdigest(),
            "form": "prompt and completion",
        },
    )
    path = tmp_path / "sums.jsonl"
    path.write_bytes(LINES)
    assert data.fingerprint == Dataset.from_file(path).fingerprint
    assert not list((ftsdk_home / "data").glob("fetched-*"))


def test_a_recipe_refuses_a_file_that_has_changed(server: Server) -> None:
    server.files["/a.csv"] = b"prompt,completion\na,b\n"
    recipe = Dataset.from_file(f"{server.url}/a.csv").to_dict()
    assert set(recipe) == {"file", "sha256"}
    assert len(Dataset.from_dict(recipe)) == 1
    server.files["/a.csv"] += b"c,d\n"
    with pytest.raises(DatasetError, match="the file at this address has changed"):
        Dataset.from_dict(recipe)
    del recipe["sha256"]
    assert len(Dataset.from_dict(recipe)) == 2


def test_rows_of_a_signed_address_are_named_by_content(server: Server) -> None:
    server.files["/a.jsonl"] = LINES
    data = Dataset.from_file(f"{server.url}/a.jsonl?sv=1&sig=S3cret")
    assert data.lineage[0]["file"] == f"{server.url}/a.jsonl?sv=1&sig=***"
    assert "stored" in data.to_dict()
    assert "S3cret" not in f"{data}{data.lineage}{data.to_dict()}{data.ref()}{data.source}"


def test_values_of_a_query_are_shown_nowhere(server: Server) -> None:
    server.files["/a.jsonl"] = server.files["/b.jsonl"] = LINES
    address = f"{server.url}/a.jsonl?k=S3cret"
    data = Dataset.from_file(address)
    both = data.clean() + Dataset.from_file(f"{server.url}/b.jsonl?S3cret").clean()
    for one in (data, both):
        texts = (one, one.summary(), one.lineage, one.card(), one.ref(), one.source, one.report())
        assert "S3cret" not in "".join(f"{text}{text!r}" for text in texts)
    assert data.lineage[0]["file"] == f"{server.url}/a.jsonl?k=***"
    recipe = data.to_dict()
    assert recipe["file"] == address, "a recipe reads it again"
    server.files["/a.jsonl"] += LINES
    with pytest.raises(DatasetError, match="has changed") as caught:
        Dataset.from_dict(recipe)
    assert "S3cret" not in f"{caught.value}{caught.value.source}"
    stream = Dataset.from_file(address, stream=True)
    assert "S3cret" not in f"{stream}{stream!r}{stream.take(1).lineage}"


@pytest.mark.parametrize(
    "address", ["{}/none.jsonl?k=S3cret", "{}/a.docx?k=S3cret", "s3:/b/a.jsonl?k=S3cret", "ftp://h/a.jsonl?k=S3cret"]
)
def test_an_error_about_an_address_shows_no_value_of_its_query(server: Server, address: str) -> None:
    for path in (address.format(server.url), Path(address.format(server.url))):
        with pytest.raises(DatasetError) as caught:
            Dataset.from_file(path)
        assert "S3cret" not in "".join(traceback.format_exception(caught.value)).replace(repr(address), "")
    with pytest.raises(FtsdkError) as refused:
        Dataset.from_dict({"file": address.format(server.url), "chat": {"prompt": 1}})
    assert "S3cret" not in str(refused.value)


def redirect(target: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda request: send(request, 302, b"", {"Location": target})


def cut_off(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    send(request, 200, LINES[:50], {"Content-Length": str(len(LINES))})


def chunked(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for start in range(0, len(LINES), 1000):
        part = LINES[start : start + 1000]
        request.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    request.wfile.write(b"0\r\n\r\n")


def test_redirects_and_answers_of_unknown_length_are_followed(server: Server) -> None:
    server.answers["/a.jsonl"] = redirect("/elsewhere")
    server.answers["/elsewhere"] = chunked
    assert len(Dataset.from_file(f"{server.url}/a.jsonl")) == 100


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda request: send(request, 403, b""), "the server answers 403. Check the address; data that needs a login"),
        (lambda request: send(request, 503, b""), "the server answers 503. Try again later"),
        (redirect("http://example.org/a.jsonl"), "is or leads to plain http"),
        (redirect("file:///etc/passwd"), "leads to an address of the kind 'file'"),
        (redirect("/a.jsonl"), "redirects more than 5 times"),
        (redirect(f"https://[oops?sig={KEY}"), "leads to an address that isn't valid"),
        (redirect(f"https://127.0.0.1:{KEY}/a.jsonl"), "leads to an address that isn't valid"),
        (cut_off, "can't be fetched: peer closed connection"),
        (lambda request: send(request, 200, b"", {"Content-Length": str(3 << 30)}), "is larger than 2,147,483,648"),
        (lambda request: send(request, 200, b"x", {"Content-Encoding": "br"}), "the server sends it compressed"),
        (lambda request: send(request, 200, b""), "a.jsonl: the file is empty"),
        (lambda request: send(request, 200, b"<html>"), "a.jsonl:1: the line isn't JSON"),
    ],
)  # fmt: skip
def test_what_a_server_answers_instead_is_refused(
    answer: Callable[[BaseHTTPRequestHandler], None], message: str, server: Server
) -> None:
    server.answers["/a.jsonl"] = answer
    with pytest.raises(DatasetError) as caught:
        Dataset.from_file(f"{server.url}/a.jsonl?token={KEY}")
    assert message in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://example.org/a.jsonl", "plain http"),
        ("gs://bucket/a.jsonl", "https:// and s3:// are"),
        ("https://example.org/data", "files that end in 'nothing' can't be read"),
        ("https://example.org/a.xlsx", "files that end in '.xlsx' can't be read"),
        ("https://ann:S3cret@example.org/a.jsonl", "has a user name or a password"),
        ("https://[oops/a.jsonl", "isn't a valid URL"),
        ("https://huggingface.co/datasets/org/name", "Pass the id: 'org/name'"),
        ("https://127.0.0.1:1/a.jsonl", "can't be fetched"),
        ("https://127.0.0.1:pass/a.jsonl", "https://***/a.jsonl: isn't a valid URL"),
    ],
)
def test_an_address_that_is_not_read_is_refused(address: str, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.from_file(address)
    assert message in str(caught.value)
    assert "S3cret" not in str(caught.value)


def test_a_server_that_takes_too_long_is_left(server: Server) -> None:
    server.files["/a.jsonl"] = LINES
    now = iter(range(0, 100_000, 2000))
    with (
        pytest.raises(DatasetError, match="isn't whole after 1,800 s"),
        fetched(f"{server.url}/a.jsonl", clock=lambda: float(next(now))),
    ):
        pass


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    pytest.importorskip("s3fs", reason="the extra 's3' isn't installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S3cretS3cretS3cret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    return server


def test_a_file_on_s3_is_fetched_by_its_own_client(bucket: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_BLOCK", 1000)
    bucket.files["/mine/sums/a.jsonl"] = LINES
    data = Dataset.from_file("s3://mine/sums/a.jsonl")
    assert len(data) == 100
    assert data.lineage[0]["etag"] == hashlib.md5(LINES, usedforsecurity=False).hexdigest()
    assert data.to_dict() == {"file": "s3://mine/sums/a.jsonl", "sha256": hashlib.sha256(LINES).hexdigest()}
    assert Dataset.from_dict(data.to_dict()).fingerprint == data.fingerprint


def test_what_is_not_on_s3_is_refused_without_keys(bucket: Server) -> None:
    with pytest.raises(DatasetError, match="there is no such file") as caught:
        Dataset.from_file("s3://mine/a.jsonl")
    assert "S3cret" not in "".join(traceback.format_exception(caught.value))
    bucket.answers["/mine/b.jsonl"] = lambda request: send(request, 403, b"")
    with pytest.raises(DatasetError, match="access is denied"):
        Dataset.from_file("s3://mine/b.jsonl")


def test_public_data_on_s3_needs_no_credentials(bucket: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    bucket.files["/public/a.jsonl"] = LINES
    assert len(Dataset.from_file("s3://public/a.jsonl")) == 100


def test_s3_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ftsdk\[s3\]"'):
        Dataset.from_file("s3://mine/a.jsonl")
