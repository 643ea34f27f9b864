"""`ftsdk serve`: tuned models behind one address until Ctrl-C, or the files that start them elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk.cli.exit_codes import ERROR
from ftsdk.cli.show import err, out, plain, show_text, show_words, shown_text
from ftsdk.cli.things import named_thing
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.deploy.servers import Engine, Servable, Server

__all__ = ["serve_command"]

_POLL_S = 1.0


def serve_command(
    what: Annotated[
        list[str],
        typer.Argument(
            help="Run refs, models, folders of exports or .gguf files. NAME=... chooses the name for requests.",
            metavar="RUN...",
        ),
    ],
    engine: Annotated[str, typer.Option("--engine", help="llama.cpp, vllm, ollama or modal.")] = "llama.cpp",
    url: Annotated[
        str | None, typer.Option("--url", help="For vllm and ollama: the address of a running server.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="The port to listen on. Default: a free one.")] = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="Only write the files that start the server, into this folder.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show the plan.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --plan: print JSON, for scripts.")] = False,
    max_hours: Annotated[float | None, typer.Option("--max-hours", help="Stop after this many hours.")] = None,
    budget_usd: Annotated[
        float | None, typer.Option("--budget-usd", help="For engines that bill: the most to spend, in US dollars.")
    ] = None,
    allow_failed: Annotated[
        bool,
        typer.Option(
            "--allow-failed", help="Serve an export even if it failed the comparison with the evaluated model."
        ),
    ] = False,
) -> None:
    """Serve tuned models behind one OpenAI-compatible address, until Ctrl-C. The `model` of a request chooses."""
    from ftsdk.deploy.servers import serve

    server = serve(
        dict(map(_named, what)) if any("=" in one for one in what) else [_thing(one) for one in what],
        engine=_engine(engine, url=url, port=port),
        max_hours=max_hours,
        budget_usd=budget_usd,
        allow_failed=allow_failed,
    )
    planned = server.plan()
    if plan:
        show_text(planned, as_json=as_json)
        if planned.refused:
            raise typer.Exit(ERROR)
        return
    if write is not None:
        for file in server.write_files(write):
            out.print(plain(str(file)))
        return
    show_text(planned)
    _serve(server)


def _serve(server: Server) -> None:
    """Serve until Ctrl-C, the time limit, or the end of the server."""
    from ftsdk.deploy.servers.record import is_asked_to_stop

    with err.status(shown_text("starting ...", "dim")) as shown:
        server.start(on_message=lambda text: shown.update(shown_text(f"{text} ...", "dim")))
    try:
        url = server.endpoint(server.names[-1]).url
        show_words(f"\n{url}   Ctrl-C stops it.\nTry it: ftsdk chat {url}#{server.names[-1]}")
        while server.status().state not in ("gone", "failed", "stopped"):
            time.sleep(_POLL_S)
        server.endpoint(server.names[-1])  # raises, if its time was up
        if server.log is not None and is_asked_to_stop(server.log.parent):
            out.print("stopped by `ftsdk stop`")
            return
        err.print(shown_text(f"the server ended: {server.status().reason or server.status().native}"))
        raise typer.Exit(ERROR)
    except KeyboardInterrupt:
        out.print("\nstopped")
    finally:
        server.stop()


def _engine(name: str, *, url: str | None, port: int | None) -> Engine:
    from ftsdk.deploy.servers.engines import engine_named

    engine = engine_named(name)  # pyright: ignore[reportArgumentType] - a name that isn't one is refused in words
    for option, field, value in (("--url", "url", url), ("--port", "port", port)):
        if value is None:
            continue
        if field not in type(engine).model_fields:
            raise SpecError(f"{option} isn't for the engine {name}")
        engine = engine.replace(**{field: value})
    return engine


def _named(text: str) -> tuple[str, Servable]:
    name, _, thing = text.partition("=")
    if not thing:
        raise SpecError(f"name all models or none: NAME=... for {text!r}, too")
    return name, _thing(thing)


def _thing(text: str) -> Servable:
    from ftsdk.evals import Endpoint

    if Path(text).expanduser().exists():
        return Path(text)
    found = named_thing(text)
    if isinstance(found, Endpoint):
        raise SpecError(f"{text} is a server already")
    return found
