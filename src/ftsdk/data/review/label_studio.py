"""Label Studio's JSON: tasks out, annotations in.

Source: https://labelstud.io/guide/task_format and https://labelstud.io/guide/tasks, read 2026-11-27.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ftsdk._files import replace_file
from ftsdk._format import printable
from ftsdk.data.review.verdicts import RowVerdict, row_ids
from ftsdk.data.row_keys import answer_text, asked_of
from ftsdk.data.rows import Rows
from ftsdk.errors import DatasetError
from ftsdk.models.chat_template import message_text

__all__ = ["LABEL_CONFIG", "parse_label_studio", "write_label_studio"]

LABEL_CONFIG = """\
<View>
  <Header value="Prompt"/>
  <Text name="prompt" value="$prompt"/>
  <Header value="Answer"/>
  <Text name="completion" value="$completion"/>
  <Choices name="verdict" toName="completion" choice="single" showInline="true">
    <Choice value="good"/>
    <Choice value="bad"/>
  </Choices>
  <Header value="A better answer, if you have one"/>
  <TextArea name="corrected" toName="completion" maxSubmissions="1" rows="4" editable="true"/>
  <Header value="Note"/>
  <TextArea name="note" toName="completion" maxSubmissions="1" rows="1" editable="true"/>
</View>
"""
"""The labelling interface of the tasks: in Label Studio, the project's settings, Labeling Interface, Code."""
_NAMES = ("verdict", "corrected", "note")


def write_label_studio(dataset: Rows, positions: Sequence[int], path: Path) -> Path:
    """Write tasks for Label Studio, and the labelling interface beside them, ending in `.xml`.

    Args:
        dataset: Chat or preference rows; of these, the chosen answer is shown.
        positions: Which rows.
        path: The file for the tasks, ending in `.json`.

    Returns:
        The file with the labelling interface.

    Raises:
        DatasetError: The rows are still a table, or a file can't be written.
    """
    _ = dataset.canonical  # refuses a table, with what to call
    wanted = dict.fromkeys(positions)
    tasks: dict[int, dict[str, Any]] = {}
    for position, (row, one) in enumerate(zip(dataset, row_ids(dataset), strict=True)):
        if position in wanted:
            data = {"prompt": _said(asked_of(row)), "completion": answer_text(row), "row": one}
            tasks[position] = {"data": {**data, "line": dataset.line_of(position)}}
    config = path.with_suffix(".xml")
    try:
        replace_file(path, json.dumps([tasks[position] for position in wanted], ensure_ascii=False).encode())
        replace_file(config, LABEL_CONFIG.encode())
    except OSError as error:
        raise DatasetError(f"can't be written: {error.strerror or error}.", source=printable(str(path))) from error
    return config


def parse_label_studio(tasks: Sequence[object], path: Path) -> dict[str, RowVerdict]:
    """Return the verdicts in an export in Label Studio's JSON format, by the ids of rows.

    Of several annotations of a task, the newest counts; cancelled ones don't. A better answer without a verdict is a
    correction.

    Raises:
        DatasetError: A task isn't one of `write_label_studio`, or the export has another format.
    """
    found: dict[str, RowVerdict] = {}
    for number, task in enumerate(tasks, start=1):
        own = _object(task)
        one = _object(own.get("data")).get("row")
        if not isinstance(one, str) or not isinstance(own.get("annotations", []), list):
            raise _foreign(path, number, "data.row" if not isinstance(one, str) else "annotations")
        if "annotations" not in own:
            raise DatasetError(
                "has no annotations: it is the tasks as they were written, or an export in another format.",
                source=printable(str(path)),
                line=number,
                hint="In Label Studio: Export, JSON (not JSON-MIN, CSV or TSV).",
            )
        verdict = _newest(cast("list[object]", own["annotations"]), path, number)
        if verdict is not None:
            found[one] = verdict
    return found


def _newest(annotations: Sequence[object], path: Path, number: int) -> RowVerdict | None:
    newest: tuple[str, RowVerdict] | None = None
    for annotation in map(_object, annotations):
        if annotation.get("was_cancelled") is True:
            continue
        at = annotation.get("updated_at") or annotation.get("created_at")
        when = at if isinstance(at, str) else ""
        verdict = _verdict(annotation, when, path, number)
        if verdict is not None and (newest is None or when >= newest[0]):
            newest = when, verdict
    return None if newest is None else newest[1]


def _verdict(annotation: Mapping[str, Any], when: str, path: Path, number: int) -> RowVerdict | None:
    given: dict[str, str] = {}
    results = annotation.get("result")
    for result in map(_object, cast("list[object]", results) if isinstance(results, list) else []):
        name, value = result.get("from_name"), _object(result.get("value"))
        texts = value.get("choices") if name == "verdict" else value.get("text")
        if name in _NAMES:
            listed = cast("list[object]", texts) if isinstance(texts, list) else [texts]
            if not listed or not isinstance(listed[0], str):
                raise _foreign(path, number, f"the value of {name}")
            given[str(name)] = listed[0]
    choice = given.get("verdict", "").strip().casefold()
    if choice not in ("", "good", "bad"):
        raise _foreign(path, number, f"the verdict {printable(choice, 40)!r}")
    corrected = given.get("corrected", "")
    if not choice and not corrected.strip():
        return None
    by = annotation.get("completed_by")
    return RowVerdict(
        verdict="good" if choice == "good" else "bad" if choice == "bad" else None,
        note=given.get("note", ""),
        completion=corrected if corrected.strip() else None,
        on=when[:40],
        by=f"Label Studio user {by}" if isinstance(by, int) else "Label Studio",
    )


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _foreign(path: Path, number: int, what: str) -> DatasetError:
    return DatasetError(
        f"task {number}: {what} isn't as in the tasks that ftsdk writes.",
        source=printable(str(path)),
        hint="Export the project that was made of write_label_studio's tasks, as JSON.",
    )


def _said(messages: Sequence[Mapping[str, Any]]) -> str:
    if len(messages) == 1:
        return message_text(messages[0])
    return "\n\n".join(f"{message['role']}: {message_text(message)}" for message in messages)
