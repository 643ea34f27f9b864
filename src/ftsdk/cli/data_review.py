"""`ftsdk data review`: judge a sample of rows, one key a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ftsdk._format import printable
from ftsdk.cli.keys import key_reader, reads_keys
from ftsdk.cli.show import out, plain, show_text
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.data import Dataset
    from ftsdk.data.review import ReviewSession

__all__ = ["review_command"]

_MOST_CHARACTERS = 4_000
"""Of a message, that are shown."""


def review_command(
    file: Annotated[str, typer.Argument(help="A data file, or an id on the Hugging Face hub.", metavar="FILE")],
    rows: Annotated[int, typer.Option("--rows", help="Rows of the sample.", min=1)] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Which rows.")] = 0,
    verdicts: Annotated[
        Path | None, typer.Option("--verdicts", help="The file of verdicts. Default: beside FILE.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the rows without the bad ones here.", metavar="OUT.jsonl"),
    ] = None,
    to_label_studio: Annotated[
        Path | None,
        typer.Option("--to-label-studio", help="Write the sample as Label Studio tasks instead.", metavar="TASKS.json"),
    ] = None,
    from_label_studio: Annotated[
        Path | None,
        typer.Option("--from-label-studio", help="Add the verdicts of Label Studio's JSON export.", metavar="EXPORT"),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="For a table: the template of the prompt, with {column} fields.")
    ] = None,
    completion: Annotated[
        str | None, typer.Option("--completion", help="For a table: the template of the answer.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, for scripts.")] = False,
) -> None:
    """Show a stratified sample and take a verdict on each row: g good, b bad, s skip, z back, n note, q quit.

    Verdicts are kept at once, so the review goes on where it ended. In a pipe, each line is a key, with a note behind
    it: "b wrong label".
    """
    from ftsdk.data import Dataset
    from ftsdk.data.review import (
        ReviewSession,
        read_review,
        read_verdicts,
        review_sample,
        row_ids,
        summarise_review,
        update_verdicts,
    )

    dataset = Dataset.from_file(file)
    if prompt is not None or completion is not None:
        dataset = dataset.as_chat(prompt, completion)
    positions, stratified_by = review_sample(dataset, rows, seed)
    if to_label_studio is not None:
        config = dataset.to_label_studio(to_label_studio, rows=rows, seed=seed)
        out.print(plain(f"{to_label_studio}: {len(positions):,} tasks; the labelling interface is in {config}"))
        return
    kept_in = verdicts or _beside(file)
    known = read_verdicts(kept_in)
    saved = dict(known)

    def save() -> None:
        changed = {one: verdict for one, verdict in known.items() if saved.get(one) != verdict}
        update_verdicts(kept_in, changed, name=dataset.name)
        saved.update(changed)

    every = list(row_ids(dataset))
    ids = [every[position] for position in positions]
    if from_label_studio is not None:
        known.update(read_review(from_label_studio).verdicts)
        save()
        ids = [one for one in dict.fromkeys(every) if one in known] or ids
    else:
        session = ReviewSession(ids, known, save)
        if not as_json:
            out.print(plain(f"{len(ids):,} of {len(dataset):,} rows, stratified by {stratified_by}"))
        _judge(session, dataset, positions, show=_silent if as_json else _echo)
    show_text(summarise_review(ids, known, rows=len(dataset)), as_json=as_json)
    if output is not None:
        left = dataset.reviewed(kept_in)
        left.to_jsonl(output)
        if not as_json:
            out.print(plain(f"{output}: {len(left):,} rows"))
    elif not as_json and known:
        out.print(plain(f"verdicts: {kept_in}"))


def _judge(
    session: ReviewSession, dataset: Dataset, positions: tuple[int, ...], *, show: Callable[[str], None]
) -> None:
    from ftsdk.data.review.session import KEYS

    is_terminal = reads_keys()
    read = key_reader()
    shown: int | None = None
    while (place := session.place) is not None:
        if place != shown:
            show(_row_text(dataset, positions[place], f"[{place + 1}/{len(positions)}]"))
            known = session.current
            if known is not None:
                show(f"so far: {known.verdict or 'no verdict'}{' - ' + known.note if known.note else ''}")
            show(KEYS)
            shown = place
        key, text = read()
        if is_terminal and key == "n":
            text = typer.prompt("note", default="", show_default=False)
        result = session.press(key, text)
        if result == "quit":
            return
        if result == "moved":
            shown = None
        elif result == "noted":
            show(f"noted: {text.strip()}")
        elif result == "unknown" and key:
            show(f"{key!r} isn't a key: {KEYS}")


def _row_text(dataset: Dataset, position: int, heading: str) -> str:
    from ftsdk.models.chat_template import message_text

    row = dataset[position]
    lines = ["", f"{heading} {dataset.name}:{dataset.line_of(position)}"]
    if dataset.format == "table":
        parts = [(name, str(value)) for name, value in row.items()]
    else:
        sides = ("prompt", "chosen", "rejected") if dataset.format == "preference" else ("messages",)
        parts = [
            (message["role"] if side in ("messages", "prompt") else side, message_text(message))
            for side in sides
            for message in cast("list[Mapping[str, Any]]", row[side])
        ]
    for name, text in parts:
        lines.append(f"  {printable(name, 60)}")
        kept = text[:_MOST_CHARACTERS]
        lines += [f"  | {line}" for line in kept.split("\n")]
        if len(text) > len(kept):
            lines.append(f"  | ... {len(text) - len(kept):,} more characters")
    return "\n".join(lines)


def _echo(text: str) -> None:
    typer.echo(printable(text))


def _silent(text: str) -> None:
    del text


def _beside(file: str) -> Path:
    path = Path(file).expanduser()
    if not path.exists():
        raise SpecError(f"{file!r} isn't a file on this machine; name the file of verdicts with --verdicts")
    return path.with_name(f"{path.name}.review.json")
