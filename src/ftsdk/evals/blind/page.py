"""A blind comparison as one page on this machine, for as long as it takes."""

from __future__ import annotations

import re
import secrets
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from ftsdk._format import Html, escaped, html_block
from ftsdk.evals.blind.session import BlindSession

__all__ = ["ComparisonPage"]

_LARGEST_FORM = 1_000
_LENGTH = re.compile(r"[0-9]{1,6}")
_STYLE = (
    "body{margin:1em auto;max-width:70em;padding:0 1em;background:#fff;color:#1a1a1a}"
    "@media(prefers-color-scheme:dark){body{background:#16181d;color:#e4e6eb}}"
    ".ftsdk{max-width:none}.ftsdk .text{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}"
    ".ftsdk .side{display:grid;grid-template-columns:repeat(auto-fit,minmax(17em,1fr));gap:1em;margin:1em 0}"
    ".ftsdk .answer{border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.6em .9em;min-width:0}"
    ".ftsdk button{font:inherit;padding:.6em 1.1em;margin:0 .5em .5em 0;border-radius:6px;cursor:pointer;"
    "border:1px solid rgba(128,128,128,.6);background:rgba(128,128,128,.12);color:inherit}"
    ".ftsdk form{position:sticky;bottom:0;background:inherit;padding:.5em 0}"
)
_SCRIPT = (
    "addEventListener('keydown',e=>{if(e.ctrlKey||e.metaKey||e.altKey||e.repeat)return;"
    "const b=document.querySelector('button[value=\"'+CSS.escape(e.key.toLowerCase())+'\"]');if(b)b.click()})"
)
_BUTTONS = (("a", "A is better"), ("b", "B is better"), ("t", "Tie"), ("s", "Skip"), ("z", "Back"), ("q", "Quit"))


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the terminal clean of browsers that hang up; other errors are shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class ComparisonPage:
    """Serves one session on 127.0.0.1, to whoever has its address, until all pairs are judged.

    The address holds a secret, so that no other page or user of this machine can read prompts or give verdicts.
    """

    def __init__(
        self,
        session: BlindSession,
        *,
        outcome: Callable[[], str],
        idle_s: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Listen; nothing is served before `serve`.

        Args:
            session: What is judged.
            outcome: Returns what to show at the end.
            idle_s: Stop after so many seconds without a request.
            clock: Seconds that never go back.
        """
        self._session = session
        self._outcome = outcome
        self._idle_s = idle_s
        self._clock = clock
        self._lock = threading.Lock()
        self._token = secrets.token_urlsafe(24)
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.timeout = 0.2
        self._last = clock()
        self._is_over = session.position is None

    @property
    def url(self) -> str:
        """The address for the browser."""
        return f"http://{self._host}/{self._token}/"

    @property
    def _host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def serve(self) -> None:
        """Answer requests until all pairs are judged, somebody quits, or nobody has come for a while."""
        with self._server:
            while not self._is_over and self._clock() - self._last < self._idle_s:
                self._server.handle_request()
            with self._lock:  # the last answer shows the outcome, and is on its way until its thread lets go
                pass

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # a browser opens connections that it may never use

            def do_GET(self) -> None:
                if page._is_ours(self):
                    page._show(self)

            def do_POST(self) -> None:
                if page._is_ours(self):
                    page._judge(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Keep the terminal clean."""

        return Handler

    def _is_ours(self, request: BaseHTTPRequestHandler) -> bool:
        # The name must be right, too: another one would be a foreign site that has its own name point here.
        path = request.path.encode("utf-8", "replace")
        if request.headers.get("Host") == self._host and secrets.compare_digest(path, f"/{self._token}/".encode()):
            self._last = self._clock()
            return True
        _send(request, 404, "not found", kind="text/plain")
        return False

    def _judge(self, request: BaseHTTPRequestHandler) -> None:
        length = request.headers.get("Content-Length", "")
        origin = request.headers.get("Origin")
        if not _LENGTH.fullmatch(length) or int(length) > _LARGEST_FORM or origin not in (None, f"http://{self._host}"):
            _send(request, 400, "bad request", kind="text/plain")
            return
        form = parse_qs(request.rfile.read(int(length)).decode("utf-8", "replace"))
        key, shown = form.get("key", [""])[0], form.get("pair", [""])[0]
        with self._lock:
            pair = self._session.pair
            # A form that was sent twice, or from an old tab, is about another pair than the one that is open.
            is_current = pair is not None and pair.id == shown
            if key == "q":
                self._is_over = True
            elif is_current:
                self._session.press(key)
            self._is_over = self._is_over or self._session.position is None
            if self._is_over:
                _send(request, 200, self._page())
                return
        request.send_response(303)
        request.send_header("Location", f"/{self._token}/")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _show(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            _send(request, 200, self._page())

    def _page(self) -> str:
        session, pair = self._session, self._session.pair
        if self._is_over or pair is None or session.position is None:
            lines = "".join(f"<p>{escaped(line)}</p>" for line in self._outcome().splitlines())
            return str(html_block(lines, Html("<p class='muted'>You can close this tab.</p>"), title="Done"))
        answers = "".join(
            f'<div class="answer"><b>{name}</b><div class="text" dir="auto">{escaped(text)}</div></div>'
            for name, text in zip("AB", pair.shown, strict=True)
        )
        buttons = "".join(f'<button name="key" value="{key}">{text} ({key})</button>' for key, text in _BUTTONS)
        return str(
            html_block(
                f'<div class="text" dir="auto">{escaped(pair.prompt)}</div><div class="side">{answers}</div>'
                f'<form method="post"><input type="hidden" name="pair" value="{pair.id}">{buttons}</form>',
                title=f"Which answer is better? {session.position + 1} of {session.total}",
            )
        )


def _send(request: BaseHTTPRequestHandler, status: int, body: str, *, kind: str = "text/html") -> None:
    nonce = secrets.token_urlsafe(12)
    page = body
    if kind == "text/html":
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>Blind comparison</title><style>{_STYLE}</style></head><body>{body}"
            f'<script nonce="{nonce}">{_SCRIPT}</script></body></html>'
        )
    content = page.encode("utf-8", "replace")
    request.send_response(status)
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Length": str(len(content)),
        "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "Cache-Control": "no-store",
        # With no-referrer, browsers send forms with the origin "null", which `_judge` refuses.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)
