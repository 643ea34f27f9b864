"""Checks that need one row at a time, done in the pass that reads the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ftsdk.data.byte_scan import blocks_of
from ftsdk.data.in_threads import in_threads
from ftsdk.data.privacy import CREDENTIALS
from ftsdk.data.privacy import Finding as Found
from ftsdk.data.privacy.find import find_in_block
from ftsdk.data.quality import languages, wrong_roles
from ftsdk.data.quality.text_rules import TEXT_RULES, check_block
from ftsdk.data.report.excerpts import MOST_EXAMPLES, Excerpts, excerpt
from ftsdk.data.report.finding import Example, Finding, make_finding
from ftsdk.data.report.row_texts import TextChunk
from ftsdk.data.rows import Rows
from ftsdk.errors import MissingExtraError

__all__ = ["RowChecks"]

_CREDENTIALS = frozenset(kind.name for kind in CREDENTIALS)
_LANGUAGE_SAMPLE = 8_000
_LANGUAGE_CHARACTERS = 600


class RowChecks:
    """Collects what is wrong with rows, each by itself."""

    def __init__(self, dataset: Rows) -> None:
        """Start before the first row."""
        self._dataset = dataset
        self._rows: dict[str, list[int]] = {}
        self._examples: dict[str, list[Example]] = {}
        self._kinds: dict[str, Counter[str]] = {"credentials": Counter(), "pii": Counter()}
        self._done = 0
        self._every = max(1, -(-len(dataset) // _LANGUAGE_SAMPLE))
        self._sampled: list[int] = []
        self._sample: list[str] = []

    def look_at_all(self, chunks: Iterable[TextChunk]) -> Iterator[TextChunk]:
        """Check rows in a few threads, and yield them in their order."""
        for chunk, broken, private in in_threads(_checked, chunks):
            self._look_at(chunk, broken, private)
            yield chunk

    def _look_at(self, chunk: TextChunk, broken: dict[str, list[int]], private: dict[int, tuple[Found, ...]]) -> None:
        empty = broken.pop("empty")
        for rule, places in broken.items():
            self._add(rule, [(chunk.rows[place], chunk.texts[place]) for place in places])
        if self._dataset.format == "table":  # an empty column is usual, such as Alpaca's `input`
            rows = [self._done + n for n, text in enumerate(chunk.prompts) if not text or text.isspace()]
        else:
            rows = sorted({chunk.rows[place] for place in empty})
        self._add("empty", [(row, "") for row in rows])
        for place, found in sorted(private.items()):
            for code in ("credentials", "pii"):
                own = [one for one in found if (one.kind in _CREDENTIALS) == (code == "credentials")]
                if own:
                    self._kinds[code].update(one.kind for one in own)
                    row, text = chunk.rows[place], chunk.texts[place]
                    if self._is_new(code, row) and self._has_room(code):
                        example = Example(row=row, line=self._dataset.line_of(row), excerpt=excerpt(text, own[0]))
                        self._examples.setdefault(code, []).append(example)
        with_roles = [n for n, roles in enumerate(chunk.roles) if roles]
        for n, fault in wrong_roles(chunk.roles[n] for n in with_roles).items():
            self._add("role_order", [(self._done + with_roles[n], fault)])
        for n in range(-self._done % self._every, len(chunk.prompts), self._every):
            self._sampled.append(self._done + n)
            self._sample.append(f"{chunk.prompts[n][:_LANGUAGE_CHARACTERS]}\n{chunk.answers[n]}"[:_LANGUAGE_CHARACTERS])
        self._done += len(chunk.prompts)

    def findings(self) -> Iterator[Finding]:
        """Yield what was found."""
        for code, rows in self._rows.items():
            kinds = self._kinds.get(code)
            detail = ", ".join(
                f"{kind.replace('_', ' ')} {count:,}" for kind, count in (kinds or Counter()).most_common()
            )
            yield make_finding(code, rows, len(self._dataset), self._examples.get(code, ()), detail=detail)

    def languages(self, excerpts: Excerpts, not_checked: list[str]) -> tuple[dict[str, float], list[Finding]]:
        """Return the share of each language, and the finding of rows in another one than most."""
        try:
            found = languages(self._sample, sample=None)
        except MissingExtraError as error:
            not_checked.append(f"languages: {error}")
            return {}, []
        if not found.others:
            return found.shares, []
        rows = [self._sampled[place] for place in found.others]
        looked_at = f"of {found.checked:,} rows that were looked at and are long enough; most are in {found.main!r}"
        examples = excerpts.of(rows, [f"looks like {code!r}" for code in found.others.values()])
        return found.shares, [make_finding("language", rows, found.checked, examples, detail=looked_at)]

    def _add(self, code: str, places: Sequence[tuple[int, str]]) -> None:
        for row, text in places:
            if self._is_new(code, row) and self._has_room(code):
                example = Example(row=row, line=self._dataset.line_of(row), excerpt=excerpt(text))
                self._examples.setdefault(code, []).append(example)

    def _is_new(self, code: str, row: int) -> bool:
        rows = self._rows.setdefault(code, [])
        if rows and rows[-1] == row:
            return False
        rows.append(row)
        return True

    def _has_room(self, code: str) -> bool:
        return len(self._examples.get(code, ())) < MOST_EXAMPLES


def _checked(chunk: TextChunk) -> tuple[TextChunk, dict[str, list[int]], dict[int, tuple[Found, ...]]]:
    """Return what breaks a rule and what is private in a chunk, by the positions of its texts."""
    broken: dict[str, list[int]] = {name: [] for name in TEXT_RULES}
    private: dict[int, tuple[Found, ...]] = {}
    for block in blocks_of(chunk.texts):
        private.update(find_in_block(block))
        for name, places in check_block(block).items():
            broken[name] += places
    return chunk, broken, private
