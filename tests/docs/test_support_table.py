"""The page of what each backend can do says what the backends declare."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ftsdk import SpecError
from ftsdk.backends.registry import backend_names
from ftsdk.testing import ScriptedBackend, optional_fields
from ftsdk.testing.support import installed_backends, main, page_with_table, support_table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "support.md"
PLACE = "above\n<!-- support table: begin -->\nold\n<!-- support table: end -->\nbelow\n"


def row(table: str, name: str) -> list[str]:
    (found,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", table, flags=re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


def test_the_page_says_what_the_installed_backends_declare() -> None:
    page = PAGE.read_text(encoding="utf-8")
    told = (
        "the page of support is out of date; write it anew: python -m ftsdk.testing.support docs/reference/support.md"
    )
    assert page == page_with_table(page, support_table(installed_backends())), told


def test_every_installed_backend_is_a_column_without_being_named() -> None:
    assert tuple(backend.name for backend in installed_backends()) == backend_names()


def test_a_backend_that_nobody_has_heard_of_becomes_a_column(tmp_path: Path) -> None:
    scripted = ScriptedBackend(root=tmp_path)
    table = support_table([*installed_backends(), scripted])
    assert row(table, "")[-1] == f"`{scripted.name}`"
    for field in optional_fields():
        assert (row(table, f"`{field}`")[-1] == "yes") is scripted.capabilities.honours(field)


def test_what_only_one_backend_offers_is_a_row_for_all_of_them(tmp_path: Path) -> None:
    class Odd(ScriptedBackend):
        @property
        def capabilities(self):
            return super().capabilities.replace(methods=frozenset({"telepathy"}), fields=frozenset())

    table = support_table([ScriptedBackend(root=tmp_path), Odd(root=tmp_path)])
    assert row(table, "`telepathy`") == ["-", "yes"]
    assert row(table, "`sft`") == ["yes", "-"]
    assert row(table, "`seed`") == ["yes", "-"]


def test_a_field_that_no_backend_honours_is_still_a_row(tmp_path: Path) -> None:
    class Bare(ScriptedBackend):
        @property
        def capabilities(self):
            return super().capabilities.replace(fields=frozenset())

    table = support_table([Bare(root=tmp_path)])
    assert {row(table, f"`{field}`")[0] for field in optional_fields()} == {"-"}


def test_the_table_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    assert page_with_table(PLACE, "new") == PLACE.replace("old", "\nnew\n")
    assert page_with_table(page_with_table(PLACE, "newer"), "new") == page_with_table(PLACE, "new")
    file = tmp_path / "page.md"
    file.write_text(PLACE, encoding="utf-8")
    main([str(file)])
    assert file.read_text(encoding="utf-8") == page_with_table(PLACE, support_table(installed_backends()))


@pytest.mark.parametrize("page", ["no place", "<!-- support table: begin -->", "<!-- support table: end -->"])
def test_a_page_without_markers_is_refused(page: str) -> None:
    with pytest.raises(SpecError, match="no markers for the table"):
        page_with_table(page, "table")
