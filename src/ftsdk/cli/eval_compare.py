"""`ftsdk eval compare`: people judge pairs of answers without knowing whose they are."""

from __future__ import annotations

import getpass
import hashlib
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk._format import printable
from ftsdk._home import home
from ftsdk.cli.keys import key_reader
from ftsdk.cli.show import fold, out, show_text
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.evals.blind import BlindSession

__all__ = ["compare_command"]

_MOST_CHARACTERS = 6_000
"""Of a text, that are shown in a terminal."""
_Source = Annotated[
    str,
    typer.Argument(
        help="Answers: a run's ref, a folder of results, or a result file; @TARGET chooses: results@base.",
        metavar="SOURCE",
    ),
]


def compare_command(
    first: _Source,
    second: _Source,
    human: Annotated[bool, typer.Option("--human", help="People judge; the only way so far.")] = False,
    page: Annotated[bool, typer.Option("--page", help="Judge in a browser, on this machine.")] = False,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="With --page: open the browser, or print the address only.")
    ] = True,
    eval_name: Annotated[str | None, typer.Option("--eval", help="Which eval, where there are several.")] = None,
    pairs: Annotated[int | None, typer.Option("--pairs", help="The most pairs to judge. Default: all.", min=1)] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Decides the order, and which answer is A.")] = 0,
    by: Annotated[str | None, typer.Option("--by", help="Who judges. Default: your user name.")] = None,
    verdicts: Annotated[
        Path | None, typer.Option("--verdicts", help="The file of verdicts. Default: one in ftsdk's home.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, for scripts.")] = False,
) -> None:
    """Show answers in pairs, in random order, without names: a or b for the better one, t tie, s skip, z back, q quit.

    Verdicts are kept at once, so the comparison goes on where it ended. In a pipe, each line is a key.
    """
    from ftsdk.evals import read_results
    from ftsdk.evals.blind import BlindSession, VerdictFile, make_pairs, summarise_blind

    if not human:
        raise SpecError("people judge here: add --human. ftsdk.evals.pairwise_judge lets a model judge")
    files = [_results_file(source, eval_name) for source in (first, second)]
    if files[0] == files[1]:
        raise SpecError(f"both are {files[0]}; choose targets of one evaluation with @: {first}@base {second}@tuned")
    names = _names(first, second, files)
    found = make_pairs(read_results(files[0]), read_results(files[1]), most=pairs, seed=seed)
    kept_in = verdicts or _default_file(files)
    judge = by or _user()
    with VerdictFile(kept_in) as file:
        known = file.read()
        session = BlindSession(found.pairs, known.setdefault(judge, {}), file.append, by=judge)
        if page:
            _serve(session, lambda: str(summarise_blind(found, known, names=names)), open_browser=open_browser)
        else:
            _judge(session, is_silent=as_json)
    show_text(summarise_blind(found, known, names=names), as_json=as_json)
    if not as_json:
        typer.echo(printable(f"verdicts: {kept_in}"))


def _judge(session: BlindSession, *, is_silent: bool) -> None:
    from ftsdk.evals.blind.session import KEYS

    read, shown = key_reader(), -1
    while (pair := session.pair) is not None and session.position is not None:
        if session.position != shown:
            shown = session.position
            texts = [("", pair.prompt), *zip(("Answer A", "Answer B"), pair.shown, strict=True)]
            lines = ["", f"[{shown + 1}/{session.total}]"]
            for heading, text in texts:
                lines += [heading, *_quoted(text)] if heading else _quoted(text)
            if not is_silent:
                typer.echo("\n".join([*lines, KEYS]))
        key, _ = read()
        result = session.press(key)
        if result == "quit":
            return
        if result == "unknown" and key and not is_silent:
            typer.echo(printable(f"{key!r} isn't a key: {KEYS}"))


def _quoted(text: str) -> list[str]:
    kept = printable(text[:_MOST_CHARACTERS])
    folded = [part for line in kept.split("\n") for part in (fold(line, out.width - 4).split("\n") if line else [""])]
    lines = [f"  | {line}" for line in folded]
    if len(text) > _MOST_CHARACTERS:
        lines.append(f"  | ... {len(text) - _MOST_CHARACTERS:,} more characters")
    return lines


def _serve(session: BlindSession, outcome: Callable[[], str], *, open_browser: bool) -> None:
    from ftsdk.evals.blind.page import ComparisonPage

    if session.position is None:
        return
    page = ComparisonPage(session, outcome=outcome)
    typer.echo(f"judge at {page.url} (this machine only); Ctrl-C stops, and keeps the verdicts so far", err=True)
    if open_browser:
        webbrowser.open(page.url)
    try:
        page.serve()
    except KeyboardInterrupt:
        typer.echo("", err=True)


def _results_file(source: str, eval_name: str | None) -> Path:
    """Return the file of results that is meant."""
    path = Path(source).expanduser()
    if path.is_file():
        return path.resolve()
    text, at, target = source.rpartition("@")
    if not at or path.exists():
        text, target = source, ""
    folder = Path(text).expanduser()
    if not folder.exists():
        from ftsdk.run.evaluation import results_folder
        from ftsdk.run.run import Run

        if ":" not in text:
            raise SpecError(f"{text!r} is neither a file or folder on this machine nor a run's ref; see `ftsdk runs`")
        folder = results_folder(Run.open(text).ref) / "evals"
    found = {
        file.stem: file
        for file in sorted(_eval_folder(folder, eval_name).glob("*.jsonl"))
        if not file.name.endswith((".answers.jsonl", ".partial.jsonl"))
    }
    if not found:
        raise SpecError(f"{folder} has no results; evaluate first: ftsdk eval {text}")
    if target:
        chosen = target
    elif "tuned" in found:
        chosen = "tuned"
    else:
        chosen = next(iter(found)) if len(found) == 1 else ""
    if chosen not in found:
        raise SpecError(f"{source} has results of {', '.join(found)}; choose one: {text}@{next(iter(found))}")
    return found[chosen].resolve()


def _eval_folder(folder: Path, eval_name: str | None) -> Path:
    """Return the folder of an eval, in that of an evaluation."""
    if eval_name is not None:
        return folder / eval_name
    evals = (
        [one for one in sorted(folder.iterdir()) if one.is_dir() and any(one.glob("*.jsonl"))]
        if folder.is_dir()
        else []
    )
    if len(evals) > 1:
        raise SpecError(f"{folder} has the evals {', '.join(one.name for one in evals)}; choose one with --eval")
    return evals[0] if evals else folder


def _names(first: str, second: str, files: list[Path]) -> tuple[str, str]:
    """Return short names for the outcome: the targets, or what was typed where both have the same."""
    short = files[0].stem, files[1].stem
    return short if short[0] != short[1] else (first, second)


def _default_file(files: list[Path]) -> Path:
    digest = hashlib.sha256("\0".join(map(str, files)).encode()).hexdigest()[:12]
    return home() / "results" / "comparisons" / f"{digest}.jsonl"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without an entry for its user
        return "me"
