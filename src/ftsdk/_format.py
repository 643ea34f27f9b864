"""How amounts, durations, tables and HTML look, wherever they are shown.

Every function that takes text takes untrusted text: HTML comes out escaped, and control characters come out visible.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

__all__ = [
    "Html",
    "bold",
    "duration",
    "escaped",
    "gigabytes",
    "html_block",
    "html_list",
    "html_page",
    "html_table",
    "link",
    "linked",
    "money",
    "money_over",
    "notes_html",
    "printable",
    "text_table",
]

# Control characters become visible signs, so that a row of data can't drive the terminal that shows it.
_VISIBLE = (
    {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    | {0x7F: 0x2421}
    # C1 controls; line separators; overrides of the direction of text; halves of surrogate pairs, which can't be
    # encoded; invisible tags.
    | dict.fromkeys(
        [
            *range(0x80, 0xA0),
            *(0x2028, 0x2029, 0xFEFF),
            *range(0x202A, 0x202F),
            *range(0x2066, 0x206A),
            *range(0xD800, 0xE000),
            *range(0xE0000, 0xE0080),
        ],
        0xFFFD,
    )
)
_STYLE = (
    ".ftsdk{font:14px/1.5 system-ui,sans-serif;max-width:62em}"
    ".ftsdk h3{font-size:1.15em;margin:.8em 0 .4em}"
    # Jupyter gives tables a fixed layout, in which a narrow first column runs into the next.
    ".ftsdk table{border-collapse:collapse;margin:.6em 0;table-layout:auto}"
    ".ftsdk td,.ftsdk th{padding:.3em .9em .3em 0;border-bottom:1px solid rgba(128,128,128,.3);font-weight:normal}"
    ".ftsdk th{font-weight:600}"
    ".ftsdk td{font-variant-numeric:tabular-nums}"
    ".ftsdk p{margin:.4em 0}"
    ".ftsdk .muted{opacity:.65}"
)
_PAGE_STYLE = (
    "body{margin:1.5em auto;max-width:62em;padding:0 1em;background:#fff;color:#1a1a1a}"
    "@media(prefers-color-scheme:dark){body{background:#16181d;color:#e4e6eb}}"
)
_ADDRESS = re.compile(r"https?://(?:[^\s;,()&<>\"']|&amp;)+")


def money(amount: Decimal | float, *, places: int | None = None) -> str:
    """Return US dollars as text.

    Args:
        amount: US dollars; NumPy numbers will do.
        places: Decimal places. None: as many as help (`$1,234`, `$12.30`, `$0.70`, `$0.0675`).
    """
    value = Decimal(str(amount))
    if not value.is_finite():
        return f"${float(value)}"
    sign, size = "-" if value < 0 else "", abs(value)
    if places is None and 0 < size < 1:
        whole, cents = f"{Decimal(f'{size:.3g}'):f}".split(".")
        return f"{sign}${whole}.{cents.rstrip('0').ljust(2, '0')}"
    if places is None:
        places = 0 if size >= 1000 else 2
    return f"{sign}${size:,.{places}f}"


def money_over(amount: Decimal, limit: Decimal) -> str:
    """Return an amount over `limit` so that it reads as more.

    In cents, or in hundredths of a cent if cents would hide the difference.
    """
    places = Decimal("0.01") if f"{amount:.2f}" != f"{limit:.2f}" else Decimal("0.0001")
    return f"${amount.quantize(places, rounding=ROUND_CEILING if places < Decimal('0.01') else ROUND_HALF_EVEN)}"


def duration(seconds: float, *, precise: bool = False) -> str:
    """Return a duration as text.

    Args:
        seconds: At least 0.
        precise: False rounds to one unit, for estimates (`85 s`, `12 min`, `2.3 h`). True gives two, for a clock (`3
            min 05 s`).
    """
    if not precise:
        return (
            f"{seconds:.0f} s"
            if seconds < 90
            else f"{seconds / 60:.0f} min"
            if seconds < 5400
            else f"{seconds / 3600:.1f} h"
        )
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def gigabytes(n_bytes: float, *, places: int = 1) -> str:
    """Return a number of bytes in GB of 1e9 bytes: `1.2 GB`."""
    return f"{n_bytes / 1e9:.{places}f} GB"


def printable(text: str, width: int | None = None) -> str:
    r"""Return untrusted text that is safe to print: control and other invisible characters become visible signs.

    Args:
        text: Any text.
        width: Longest result, in characters; what is longer ends in an ellipsis, and `\n` and `\t` are spelled out.
            None keeps all.
    """
    text = text.translate(_VISIBLE)
    if width is not None:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
        text = text if len(text) <= width else text[: width - 1] + "…"
    return text


def text_table(rows: Iterable[Sequence[str]], *, right: Collection[int] = (), has_rule: bool = False) -> str:
    """Return rows of equal length as lines for a terminal, two blanks between columns.

    Args:
        rows: The cells. A row of which only the first cell has text is a heading, as wide as it likes.
        right: Columns that are aligned to the right, from 0.
        has_rule: Draw a line of dashes below the first row.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    # A heading reaches into the next column, which is empty beside it.
    headings = [not any(row[1:]) for row in cells]
    widths = [
        max((len(cell) for cell, is_heading in zip(column, headings, strict=True) if n or not is_heading), default=0)
        for n, column in enumerate(zip(*cells, strict=True))
    ]
    if has_rule:
        cells.insert(1, ["-" * width for width in widths])
    lines = (
        "  ".join(
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


class Html(str):
    """Text that is HTML already and isn't escaped again."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Return text as HTML."""
    return text if isinstance(text, Html) else Html(html.escape(printable(text)))


def bold(text: str) -> Html:
    """Return text as bold HTML."""
    return Html(f"<b>{escaped(text)}</b>")


def linked(text: str) -> Html:
    """Return text as HTML in which every web address is a link."""
    if isinstance(text, Html):
        return text
    return Html(_ADDRESS.sub(lambda found: f"<a href='{found.group()}'>{found.group()}</a>", escaped(text)))


def link(text: str, address: str) -> Html:
    """Return text that links to an address; without the link unless that is an `https` address."""
    return (
        Html(f"<a href='{html.escape(address)}'>{escaped(text)}</a>")
        if address.startswith("https://")
        else escaped(text)
    )


def html_block(*parts: str, title: str = "") -> Html:
    """Return parts, HTML already, as one block with a style of its own: the outermost element of everything shown.

    The style is confined to the block and follows the page's colours, light or dark.
    """
    heading = f"<h3>{escaped(title)}</h3>" if title else ""
    return Html(f'<div class="ftsdk"><style>{_STYLE}</style>{heading}{"".join(parts)}</div>')


def html_page(block: Html, *, title: str) -> str:
    """Return a block as a whole page, light or dark as the reader prefers, that is forbidden to load anything.

    Args:
        block: What `html_block` returned.
        title: For the browser's tab.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escaped(title)}</title><style>{_PAGE_STYLE}</style></head><body>{block}</body></html>"
    )


def html_table(
    rows: Iterable[Sequence[str]], *, head: Sequence[str] = (), right: Collection[int] = (), has_row_heads: bool = False
) -> Html:
    """Return rows as an HTML table; empty without rows.

    Args:
        rows: The cells: text, whose web addresses become links, or `Html`.
        head: The headings of the columns.
        right: Columns that are aligned to the right, from 0.
        has_row_heads: The first cell of each row is its heading.
    """
    body = "".join(
        "<tr>"
        + "".join(_cell("th" if has_row_heads and n == 0 else "td", cell, n in right) for n, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    heads = f"<tr>{''.join(_cell('th', cell, n in right) for n, cell in enumerate(head))}</tr>" if head else ""
    return Html(f"<table>{heads}{body}</table>" if body else "")


def _cell(tag: str, text: str, is_right: bool) -> str:
    return f"<{tag} style='text-align:{'right' if is_right else 'left'};vertical-align:top'>{linked(text)}</{tag}>"


def html_list(items: Iterable[str], *, is_ordered: bool = False) -> Html:
    """Return texts, or `Html`, as a list."""
    tag = "ol" if is_ordered else "ul"
    return Html(f"<{tag}>{''.join(f'<li>{linked(item)}</li>' for item in items)}</{tag}>")


def notes_html(notes: Iterable[str]) -> Html:
    """Return notes as paragraphs."""
    return Html("".join(f"<p><b>Note:</b> {linked(note)}</p>" for note in notes))
