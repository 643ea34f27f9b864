"""Keeps web pages away from a router: a page that a user visits could otherwise spend their money or read prompts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from ftsdk.deploy.bounded_server import is_loopback_name, name_in_host

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

__all__ = ["browser_guard"]


def browser_guard(host: str, *, refuse: Callable[[int, str, str], web.Response]) -> Middleware:
    """Return what refuses requests of web pages, before anything is read or asked.

    A page can send a POST here without asking, as long as it isn't sent as JSON; browsers tell its `Origin`. And a page
    can give its own name our address (DNS rebinding): then `Host` has that name.

    Args:
        host: What the router listens at; any `Host` is fine if it isn't an address of this machine only.
        refuse: Makes a response of a status, a word and a message.
    """
    is_local = is_loopback_name(host)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked_for = request.headers.get("Host", "")
        if is_local and not is_loopback_name(name_in_host(asked_for)):
            return refuse(403, "host", "this router answers at 127.0.0.1 and localhost only; to be reached by other "
                          "names it must listen at another address")  # fmt: skip
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != asked_for.lower():
            return refuse(403, "origin", "web pages can't ask this router; ask it from a program or a server")
        if request.method == "POST" and request.content_type != "application/json":
            return refuse(415, "content_type", "the body must be sent as application/json")
        response: Awaitable[web.StreamResponse] = handler(request)
        return await response

    return guard
