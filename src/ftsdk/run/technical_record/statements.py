"""What only a person can say about a model: filled in by hand, and never invented."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ftsdk._yaml import parse_yaml
from ftsdk.errors import SpecError
from ftsdk.spec import Value

__all__ = ["SignOff", "Statements", "form", "read_statements"]

Words = Annotated[str, Field(min_length=1, max_length=20_000)]


class SignOff(Value):
    """Who answers for a record, and for which one: a signature under other content doesn't count."""

    name: Words
    role: Words
    signed_on: Annotated[date, Field(strict=False)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The `digest` of the record that was read."""


class Statements(Value):
    """A person's statements. One that is missing is shown as missing."""

    provider: Words | None = None
    """Who makes the model available, with an address."""
    intended_purpose: Words | None = None
    """What it is for, for whom, and in which systems."""
    not_for: Words | None = None
    """What it must not be used for."""
    data_origin: Words | None = None
    """Where the rows come from, how they were obtained and selected, and who labelled them."""
    data_licence: Words | None = None
    """Licence or other right to use the rows."""
    personal_data: Words | None = None
    """Whether there is any, on which legal basis, and how consent was given and can be withdrawn."""
    teacher: Words | None = None
    """Models that wrote or judged rows, and the terms for their output; `none` if there are none."""
    known_limits: Words | None = None
    human_oversight: Words | None = None
    distribution: Words | None = None
    """How the model is handed out, from when, under which licence."""
    sign_offs: tuple[SignOff, ...] = ()


def read_statements(path: str | Path) -> Statements:
    """Read statements from a YAML file, as `form()` begins one.

    Raises:
        SpecError: It can't be read, or has an unknown key.
    """
    file = Path(path).expanduser()
    try:
        content: Any = parse_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} can't be read: {error}") from error
    if content is None:
        return Statements()
    if not isinstance(content, dict):
        raise SpecError(f"{file} has no statements by name; `ftsdk record RUN --form` prints an empty form")
    return Statements.from_dict({key: value for key, value in content.items() if value is not None})


def form(digest: str) -> str:
    """Return an empty form as YAML, with what each field is for."""
    lines = ["# What only a person can say. Leave out what doesn't apply; what is missing is shown as missing."]
    for name, field in Statements.model_fields.items():
        if name == "sign_offs":
            continue
        if field.description:
            lines.append("# " + " ".join(field.description.split()))
        lines.append(f"{name}:")
    lines += [
        "# Sign last: the digest changes with every fact and every statement above.",
        "sign_offs:",
        "#  - {name: , role: , signed_on: 2026-01-31, digest: " + digest + "}",
    ]
    return "\n".join(lines) + "\n"
