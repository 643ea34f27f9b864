"""`ftsdk export`: write a run's model for others to run, and prove that it is the one that was evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ftsdk._files import replace_file
from ftsdk.cli.exit_codes import NOT_SHIPPED
from ftsdk.cli.show import err, out, plain, show_text
from ftsdk.cli.things import named_thing
from ftsdk.errors import SpecError

__all__ = ["export_command"]


def export_command(
    what: Annotated[str, typer.Argument(help="A run's ref, or a model: a hub id or a folder.", metavar="RUN|MODEL")],
    into: Annotated[Path, typer.Option("--into", help="The folder to write, new or empty.")],
    to: Annotated[str, typer.Option("--to", help="The form: adapter, merged, gguf or ollama.")] = "merged",
    quantization: Annotated[
        str | None,
        typer.Option(
            "--quantization",
            help="f32, f16 or bf16; for gguf and ollama also q8_0 (their default), q6_k, q5_k_m, q4_k_m.",
        ),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="For a model: the folder of a LoRA adapter to apply.")
    ] = None,
    adapter_only: Annotated[
        bool, typer.Option("--adapter-only", help="With --to gguf: write the adapter and its base as two files.")
    ] = False,
    prove: Annotated[
        bool, typer.Option("--prove/--no-prove", help="Compare what was written with the model that was evaluated.")
    ] = True,
    push: Annotated[
        str | None, typer.Option("--push", help="Upload to this Hugging Face Hub repository, created as private.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write the report as an HTML page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Write a model for others to run, and prove that it is the one that was evaluated. Exit status 1: it isn't."""
    from ftsdk.models.export import push_to_hub
    from ftsdk.run.run import Run
    from ftsdk.spec import Model

    thing = named_thing(what, api_key_env=None)
    options: dict[str, Any] = {"adapter_only": adapter_only, "prove": prove}

    def say(sentence: str) -> None:
        err.print(plain(sentence))

    if isinstance(thing, Model):
        model = thing if adapter is None else thing.replace(adapter=str(adapter))
        made = model.export(into, to=cast("Any", to), quantization=quantization, on_message=say, **options)
    elif isinstance(thing, Run):
        if adapter is not None:
            raise SpecError(f"--adapter is for a model; {what!r} is a run, which has its own")
        made = thing.export(into, to=cast("Any", to), quantization=quantization, on_message=say, **options)
    else:
        raise SpecError(f"{what!r} is a server; its model is exported where its weights are")
    show_text(made, as_json=as_json)
    if html is not None:
        replace_file(html, made.to_html().encode(), is_private=False)
        say(f"report written to {html}")
    if made.has_failed:
        raise typer.Exit(NOT_SHIPPED)
    if not as_json:
        say(
            f"{made.path / 'README.md'} tells how to load it"
            + _serve_hint(made.path, is_whole=to == "gguf" and not adapter_only)
        )
    if push is not None:
        out.print(plain(push_to_hub(made.path, push)))


def _serve_hint(folder: Path, *, is_whole: bool) -> str:
    """Return the command that serves it here, for the form that llama.cpp opens by itself."""
    return f"; `ftsdk serve {folder}` serves it here" if is_whole else ""
