"""A report as JUnit XML, for CI servers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ftsdk._format import printable
from ftsdk.evals.report.text import shown_value

if TYPE_CHECKING:
    from ftsdk.evals.report.eval_report import EvalReport
    from ftsdk.evals.report.parts import AnswerShown, ExampleList, ExampleShown

__all__ = ["to_junit"]

_NOT_XML = re.compile("[\ufffe\uffff]")
"""What XML 1.0 can't hold and `printable` leaves alone."""
_MESSAGE = 200
"""Characters of a message, which CI servers show on one line."""


def to_junit(report: EvalReport, *, most_failures: int = 20, timestamp: datetime | None = None) -> str:
    """Return the report as JUnit XML; see `EvalReport.to_junit`.

    Elements and attributes are those that both common schemas take: Ant's, which requires `package`, `id`, `timestamp`
    and `hostname`, and Jenkins'.
    """
    moment = f"{(timestamp or datetime.now(UTC)).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    root = ElementTree.Element("testsuites")
    shown = {(one.name, one.index): one for one in report.examples}
    for name, target in dict.fromkeys((score.name, score.target) for score in report.scores):
        suite = _Suite(root, f"{name}.{target}", moment)
        for score in report.scores:
            if (score.name, score.target) == (name, target):
                value, interval = shown_value(score)
                suite.note(score.metric, f"{value} ({interval})")
                suite.add(f"{score.metric}: {value} of {score.n} examples, 95% interval {interval}")
        left = most_failures
        # Without bounds, such as a loss, the worst answer need not be wrong.
        for kind in ("failed", "worst") if report.score(name, target).is_bounded else ("failed",):
            for one in report.lists:
                if (one.name, one.target, one.kind) == (name, target, kind):
                    left -= _add_answers(suite, one, shown, left)
        suite.close()
    if report.verdict is not None:
        suite = _Suite(root, "gate", moment)
        case = suite.add("gate: " + ("" if report.gate is None else report.gate.metric))
        if not report.verdict.is_ship:
            suite.fail(case, report.verdict.decision, str(report.verdict), kind="gate")
        suite.close()
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


class _Suite:
    def __init__(self, root: ElementTree.Element, name: str, moment: str) -> None:
        number = len(root)
        self._name = name
        self._element = ElementTree.SubElement(root, "testsuite", name=_clean(name), package="ftsdk", id=str(number))
        self._element.set("timestamp", moment)
        self._element.set("hostname", "localhost")
        self._properties = ElementTree.SubElement(self._element, "properties")
        self._counts = {"tests": 0, "failures": 0, "errors": 0}

    def note(self, name: str, value: str) -> None:
        ElementTree.SubElement(self._properties, "property", name=_clean(name), value=_clean(value))

    def add(self, name: str) -> ElementTree.Element:
        self._counts["tests"] += 1
        return ElementTree.SubElement(
            self._element, "testcase", name=_clean(name), classname=_clean(f"ftsdk.{self._name}"), time="0"
        )

    def fail(self, case: ElementTree.Element, message: str, detail: str, *, kind: str, is_error: bool = False) -> None:
        self._counts["errors" if is_error else "failures"] += 1
        found = ElementTree.SubElement(
            case, "error" if is_error else "failure", message=_clean(printable(message, _MESSAGE)), type=kind
        )
        found.text = _clean(detail)

    def close(self) -> None:
        for name, count in self._counts.items():
            self._element.set(name, str(count))
        self._element.set("time", "0")
        ElementTree.SubElement(self._element, "system-out")
        ElementTree.SubElement(self._element, "system-err")


def _add_answers(suite: _Suite, chosen: ExampleList, shown: dict[tuple[str, int], ExampleShown], most: int) -> int:
    """Add a failed test case for each example, and return how many."""
    added = 0
    for index in chosen.indexes[: max(0, most)]:
        example = shown[chosen.name, index]
        answer = next(one for one in example.answers if one.target == chosen.target)
        is_error = answer.error is not None
        suite.fail(
            suite.add(f"row {index + 1}: {printable(example.prompt, 80)}"),
            answer.error if answer.error is not None else f"{answer.reason}: {answer.output}",
            _detail(example, answer),
            kind="no answer" if is_error else "answer",
            is_error=is_error,
        )
        added += 1
    return added


def _detail(example: ExampleShown, answer: AnswerShown) -> str:
    parts = {"prompt": example.prompt, "reference": example.expected, "answer": answer.output}
    lines = [f"score {answer.value:g}: {answer.reason}", *(f"{name}:\n{text}" for name, text in parts.items())]
    return "\n\n".join(lines)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", printable(text))
