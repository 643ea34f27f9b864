"""`ftsdk chat`: talk to a run's model, any other model, or an endpoint, in a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.status import Status

from ftsdk._format import printable
from ftsdk.cli.exit_codes import INTERRUPTED
from ftsdk.cli.show import err, out, show_error, shown_text
from ftsdk.cli.things import named_thing
from ftsdk.errors import BackendError, DatasetError, SpecError

if TYPE_CHECKING:
    from ftsdk.evals.chat import Chat, Partner

__all__ = ["chat_command"]


def chat_command(
    what: Annotated[
        str,
        typer.Argument(
            help="A run's ref; a model, as a hub id, a folder or a .gguf file; or URL#MODEL of a server.",
            metavar="RUN|MODEL|URL#MODEL",
        ),
    ],
    question: Annotated[
        str | None, typer.Argument(help="Answer this and stop. Without it, a conversation begins.")
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", help="The system message; use the one the model was trained with.")
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-new-tokens", help="The longest answer. Default: 512, or what is left of the context.", min=1
        ),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="For a model: the folder of a LoRA adapter to apply.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="For a server: the environment variable with its key.")
    ] = None,
    has_memory: Annotated[
        bool,
        typer.Option("--memory/--no-memory", help="Remember the conversation, or answer each question by itself."),
    ] = True,
) -> None:
    """Talk to a model. Ctrl-D or Ctrl-C leaves.

    In a pipe, each line is a question. Add --no-memory for a model that was trained on single questions.
    """
    from ftsdk.evals.chat import Chat

    try:
        with _partner(what, adapter, api_key_env) as partner:

            def begin() -> Chat:
                return Chat(partner, system=system, max_new_tokens=max_new_tokens)

            if question is not None:
                _answer(begin(), question)
            else:
                _talk(begin, what, has_memory=has_memory)
    except KeyboardInterrupt:
        out.print()
        raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def _partner(what: str, adapter: Path | None, api_key_env: str | None) -> Generator[Partner]:
    from ftsdk.evals import Endpoint
    from ftsdk.evals.chat import EndpointPartner, LocalPartner
    from ftsdk.spec import Model

    thing = named_thing(what, api_key_env=api_key_env)
    if adapter is not None and not isinstance(thing, Model):
        raise SpecError(f"--adapter is for a model; {what!r} isn't one")
    if isinstance(thing, Endpoint):
        with thing.open() as wire:
            yield EndpointPartner(wire)
        return
    if api_key_env is not None:
        raise SpecError(f"--api-key-env is for a server, named as URL#MODEL; {what!r} isn't one")
    with _waiting("loading the model"):
        model = thing if isinstance(thing, Model) else thing.model()
        partner = LocalPartner(model if adapter is None else model.replace(adapter=str(adapter)))
    yield partner


def _talk(begin: Callable[[], Chat], what: str, *, has_memory: bool) -> None:
    """Answer until the input ends, in one conversation or in one for each question."""
    chat = begin()
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if is_terminal:
        with contextlib.suppress(ImportError):  # lines can be edited and fetched again; not on every system
            __import__("readline")
        out.print(
            shown_text(f"{what}   {'' if has_memory else 'Each question by itself.   '}Ctrl-D or Ctrl-C leaves.", "dim")
        )
    while (question := _question(is_terminal)) is not None:
        if not question.strip():
            continue
        if not has_memory:
            chat = begin()
        try:
            _answer(chat, question)
        except (BackendError, DatasetError) as error:  # of this question; the next one may fare better
            if not is_terminal:
                raise
            show_error(error)
        if is_terminal:
            out.print()


def _question(is_terminal: bool) -> str | None:
    """Return the next question; None if there is none."""
    try:
        if is_terminal:
            return input("> ")
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    except (EOFError, KeyboardInterrupt):
        out.print()
        return None


def _answer(chat: Chat, question: str) -> None:
    """Print the answer: in a terminal as it comes, in a pipe whole."""
    with _waiting("answering") as status:
        shown = ""

        def show(text: str) -> None:
            """Print what is new of the answer."""
            nonlocal shown
            if text.endswith("\ufffd") or not text.startswith(shown):  # half a letter; the rest comes at the end
                return
            status.stop()
            typer.echo(printable(text[len(shown) :]), nl=False)
            shown = text

        reply = chat.ask(question, show if out.is_terminal else lambda _: None)
    typer.echo(printable(reply.text[len(shown) :] if reply.text.startswith(shown) else f"\n{reply.text}"))
    if not reply.text.strip():
        err.print(shown_text("(an empty answer; does the prompt have the form of the training rows?)", "dim"))
    if reply.forgotten:
        many = "exchange is" if reply.forgotten == 1 else f"{reply.forgotten} exchanges are"
        err.print(shown_text(f"(the context is full: the oldest {many} no longer part of the conversation)", "dim"))
    if reply.is_cut:
        err.print(shown_text("(cut off at the limit of tokens; --max-new-tokens sets another one)", "dim"))


def _waiting(what: str) -> Status:
    """Return a line that shows that something is going on, in a terminal; it vanishes at the end."""
    return err.status(shown_text(f"{what} ...", "dim"))
