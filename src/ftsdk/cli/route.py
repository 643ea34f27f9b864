"""`ftsdk route`: serve a router, and change who answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk.cli.default_command import DefaultCommand
from ftsdk.cli.show import out, plain, show_text, show_words

if TYPE_CHECKING:
    from ftsdk.deploy.router.router import Router

__all__ = ["route_app"]


class _ServeByDefault(DefaultCommand):
    """`ftsdk route FILE` is `ftsdk route serve FILE`."""

    default_command = "serve"


route_app = typer.Typer(
    name="route",
    cls=_ServeByDefault,
    help="Put a router before tuned models: fallback, canary, rollback. `ftsdk route FILE.yaml` serves it.",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(help="The router, as YAML.", metavar="FILE.yaml")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Reason = Annotated[str, typer.Option("--reason", help="The reason, for the record.")]


@route_app.command("serve")
def serve_command(
    file: File,
    host: Annotated[
        str | None, typer.Option("--host", help="The address to listen on. Default: the file's, or 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", help="The port to listen on. Default: the file's, or 8080.", min=0, max=65535),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible address until Ctrl-C. There is no login: keep it on this machine, or behind one."""
    from ftsdk.deploy.router.route_file import RouteFile

    found = RouteFile.from_yaml(file)
    found.router(file).serve(
        host=host or found.host,
        port=found.port if port is None else port,
        on_ready=lambda address: show_words(
            f"{found.name} answers at {address}; Ctrl-C stops it. `ftsdk monitor {found.name}` shows how it is doing."
        ),
    )


@route_app.command("status")
def status_command(file: File, as_json: AsJson = False) -> None:
    """Show who answers, and what the version on trial has shown so far."""
    show_text(_router(file).recorded_status(), as_json=as_json)


@route_app.command("switch")
def switch_command(
    file: File,
    champion: Annotated[str | None, typer.Argument(help="The target to ask first. Default: no change.")] = None,
    canary: Annotated[str | None, typer.Option("--canary", help="The target on trial.")] = None,
    share: Annotated[float, typer.Option("--share", help="The canary's share of conversations.", min=0, max=1)] = 0.0,
    reason: Reason = "by hand",
) -> None:
    """Name a champion, a canary or both, in one write. Requests in flight end as they began."""
    out.print(plain(str(_router(file).switch(champion, canary=canary, share=share, reason=reason))))


@route_app.command("promote")
def promote_command(file: File, reason: Reason = "by hand") -> None:
    """Make the canary the champion."""
    out.print(plain(str(_router(file).promote(reason=reason))))


@route_app.command("rollback")
def rollback_command(file: File, reason: Reason = "by hand") -> None:
    """Turn back the canary: the champion answers everything."""
    out.print(plain(str(_router(file).rollback(reason=reason))))


@route_app.command("litellm")
def litellm_command(file: File) -> None:
    """Print a configuration for LiteLLM's proxy, with fallbacks and a breaker."""
    from ftsdk.deploy.router.litellm import litellm_config

    typer.echo(litellm_config(_router(file)), nl=False)


def _router(file: Path) -> Router:
    from ftsdk.deploy.router.route_file import RouteFile

    return RouteFile.from_yaml(file).router(file)
