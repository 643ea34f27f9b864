"""A little S3 on loopback for its own client: whole objects, ranges and listings, in memory."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["S3StandIn"]


class S3StandIn:
    """Serves while the block runs; `env` points a client to it."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        """By bucket and key, with the time of writing."""
        self.refuses = False
        """Whether every request gets 403."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.env = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "S3cretS3cretS3cret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }

    def __enter__(self) -> S3StandIn:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(service: S3StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self._is_refused():
                return
            service.objects[self._key()] = (content, time.time())
            self._send(200, headers={"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'})

        def do_GET(self) -> None:
            if self._is_refused():
                return
            asked = parse_qs(urlsplit(self.path).query)
            if "list-type" in asked:
                self._list(asked.get("prefix", [""])[0], asked.get("delimiter", [""])[0])
            else:
                self._object()

        do_HEAD = do_GET  # noqa: N815

        def do_DELETE(self) -> None:
            if self._is_refused():
                return
            service.objects.pop(self._key(), None)
            self._send(204)

        def _object(self) -> None:
            found = service.objects.get(self._key())
            if found is None:
                self._error(404, "NoSuchKey")
                return
            content, at = found
            facts = {"Last-Modified": formatdate(at, usegmt=True), "ETag": '"x"', "Accept-Ranges": "bytes"}
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if span is None:
                self._send(200, content, facts)
            elif int(span[1]) >= len(content):
                self._error(416, "InvalidRange")
            else:
                end = min(int(span[2] or len(content) - 1), len(content) - 1)
                facts["Content-Range"] = f"bytes {span[1]}-{end}/{len(content)}"
                self._send(206, content[int(span[1]) : end + 1], facts)

        def _list(self, prefix: str, delimiter: str) -> None:
            bucket = self._key().partition("/")[0]
            rows, folders = [], set()
            for name, (content, at) in sorted(service.objects.items()):
                key = name.removeprefix(f"{bucket}/")
                if not name.startswith(f"{bucket}/") or not key.startswith(prefix):
                    continue
                rest = key[len(prefix) :]
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                    continue
                when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
                rows.append(
                    f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified>"
                    f"<Size>{len(content)}</Size></Contents>"
                )
            common = "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders))
            count = len(rows) + len(folders)
            text = (
                f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount>"
                f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{''.join(rows)}{common}</ListBucketResult>"
            )
            self._send(200, text.encode(), {"Content-Type": "application/xml"})

        def _key(self) -> str:
            return unquote(urlsplit(self.path).path).strip("/")

        def _is_refused(self) -> bool:
            if service.refuses:
                self._error(403, "AccessDenied")
            return service.refuses

        def _error(self, status: int, code: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
            self._send(status, text.encode(), {"Content-Type": "application/xml"})

        def _send(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
