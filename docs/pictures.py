"""Draw the pictures of the README and the docs: `nox -s pictures`.

Runs the whole quickstart in a pseudo-terminal, so it takes as long as that. A recording that was made with `--record`
can be drawn again with `--recording`.
"""

from __future__ import annotations

import argparse
import os
import pty
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

import ftsdk
from ftsdk.cost import SelfHosted, Workload, crossover

ASSETS = Path(__file__).parent / "assets"
QUICKSTART = Path(__file__).parent.parent / "examples" / "quickstart.py"
COLUMNS, LINES = 100, 300
COLOURS = {"brown": "yellow", "default": "default"}
"""pyte's names of colours, where rich has other ones."""


def record(into: Path, home: str) -> bytes:
    """Run the quickstart in a pseudo-terminal and return what it wrote."""
    os.environ.update(COLUMNS=str(COLUMNS), LINES="50", TERM="xterm-256color", FTSDK_HOME=home)
    with into.open("wb") as file:

        def read(descriptor: int) -> bytes:
            data = os.read(descriptor, 65536)
            file.write(data)
            return data

        pty.spawn([sys.executable, str(QUICKSTART)], read)
    return into.read_bytes()


def screen_of(recording: bytes) -> list[Text]:
    """Return the lines of a terminal that has received all of `recording`, with their styles."""
    screen = pyte.Screen(COLUMNS, LINES)
    pyte.ByteStream(screen).feed(recording)
    lines: list[Text] = []
    for y in range(LINES):
        line = Text()
        for x in range(COLUMNS):
            cell = screen.buffer[y][x]
            colour = COLOURS.get(cell.fg, cell.fg if not _is_hex(cell.fg) else f"#{cell.fg}")
            line.append(cell.data, style=f"{'bold ' if cell.bold else ''}{colour}")
        line.rstrip()
        lines.append(line)
    return lines


def _is_hex(colour: str) -> bool:
    return len(colour) == 6 and all(digit in "0123456789abcdef" for digit in colour)


def _part(lines: list[Text], first: str, last: str | None) -> list[Text]:
    start = next(n for n, line in enumerate(lines) if line.plain.startswith(first))
    ends = (n for n, line in enumerate(lines) if last is not None and n > start and line.plain.startswith(last))
    return [line for line in lines[start : next(ends, len(lines))] if line.plain.strip()]


def _with_whole_model(lines: list[Text]) -> list[Text]:
    """Return the lines of a plan whose model fits on one, now that its path is short."""
    first = next(n for n, line in enumerate(lines) if line.plain.startswith("Model "))
    rest = lines[first + 1]
    if not rest.plain.startswith(" "):
        return lines
    return [*lines[:first], lines[first] + Text(rest.plain.strip()), *lines[first + 2 :]]


def draw_terminal(lines: list[Text], title: str, into: Path) -> None:
    """Write lines as an SVG of a terminal."""
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115
    for line in lines:
        console.print(line, soft_wrap=True)
    console.save_svg(str(into), title=title, clear=False)


def draw_crossover(into: Path) -> None:
    """Write the figure of the guide on crossovers."""
    answer = crossover(
        workload=Workload(requests_per_month=1_000_000, input_tokens=600, output_tokens=15, peak_to_mean=4),
        api="anthropic/claude-haiku-4-5",
        self_hosted=SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod", replicas=2),
        training=12,
        retrains_per_year=4,
    )
    answer.plot(str(into))


def draw_report(home: str, into: Path) -> None:
    """Write the evaluation of the newest run of a home as a picture, by headless Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium here, so the picture of the report stays as it was")
        return
    os.environ["FTSDK_HOME"] = home
    shown = ftsdk.runs()[0].evaluate().to_html().replace(home, "~/.local/share/ftsdk")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(f"<meta charset='utf-8'><body style='margin:24px'>{shown}", encoding="utf-8")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/data")
        size = ("--window-size=920,490", "--force-device-scale-factor=2")
        subprocess.run([browser, *options, *size, f"--screenshot={into}", page.as_uri()], check=True)


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recording", type=Path, help="draw this recording instead of running the quickstart")
    parser.add_argument("--record", type=Path, default=Path("quickstart.typescript"), help="where the recording goes")
    parser.add_argument("--home", default="", help="ftsdk's home while it was recorded")
    given = parser.parse_args()
    home = given.home or str(given.record.absolute().parent / "home")
    recording = given.recording.read_bytes() if given.recording else record(given.record.absolute(), home)
    # What a package manager calls its folder is of no interest, and differs from machine to machine.
    recording = recording.replace(f"{sysconfig.get_path('purelib')}/".encode(), b"")
    recording = recording.replace(home.encode(), b"~/.local/share/ftsdk")
    lines = screen_of(recording)
    ASSETS.mkdir(exist_ok=True)
    plan = _part(lines, "2. The plan", "Chosen for you")
    run = _part(lines, "3. The run", "What to try next")
    draw_terminal(
        [*_with_whole_model(plan), Text("..."), Text(""), *run], "nox -s quickstart", ASSETS / "quickstart.svg"
    )
    draw_crossover(ASSETS / "crossover.svg")
    draw_report(home, ASSETS / "report.png")


if __name__ == "__main__":
    main()
