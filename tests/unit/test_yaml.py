from __future__ import annotations

import time
from itertools import pairwise

import pytest

from ftsdk._yaml import parse_yaml, yaml_text
from ftsdk.errors import SpecError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "budget_usd: 5\nepochs: 1\nbudget_usd: 5000\n",
            r"^job\.yaml:3:1: the key 'budget_usd' appears twice \(first in line 1\)",
        ),
        ("train: {file: a.csv, file: b.csv}\n", r"^job\.yaml:1:22: the key 'file' appears twice"),
        ("evals:\n- name: a\n  name: b\n", r"^job\.yaml:3:3: the key 'name' appears twice"),
        ("x-a: &a {b: 1}\nc: {<<: *a, d: 1, d: 2}\n", r"^job\.yaml:2:19: the key 'd' appears twice"),
        ("a: [unclosed\nb: x\n", r"^job\.yaml:2:2: invalid YAML: "),
        ("a: 2026-13-45\n", r"^job\.yaml:1:4: the YAML holds a value that can't be read: "),
        (f"a: {'9' * 5000}\n", r"^job\.yaml:1:4: the YAML holds a value that can't be read: "),
        ("a: 1\n---\na: 2\n", r"^job\.yaml:2:1: invalid YAML: "),
        ("a: \0\n", r"^job\.yaml: invalid YAML: "),
        ("a: !!python/object:os.system x\n", r"^job\.yaml:1:4: invalid YAML: "),
        ("{1: a, true: b}\n", r"^job\.yaml:1:8: the key 'true' appears twice"),
        ("a: 0x" + "f" * 5000, r"^job\.yaml:1:4: the YAML holds a value that can't be read: a number of over"),
        ("a: !!bool x\n", r"^job\.yaml:1:4: the YAML holds a value that can't be read: 'x'"),
        ("a: !!timestamp x\n", r"^job\.yaml:1:4: the YAML holds a value that can't be read: 'x'"),
        ("epochs: 010\n", r"^job\.yaml:1:9: YAML reads 010 as 8; write that number, or put it in quotes"),
        ("timeout_s: 1:30\n", r"^job\.yaml:1:12: YAML reads 1:30 as 90"),
        ("a: &a [*a]\n", r"^job\.yaml:1:4: the value contains itself by an alias"),
        ("a: &a {b: *a}\n", r"^job\.yaml:1:4: the value contains itself by an alias"),
        ("[" * 200 + "]" * 200, r"^job\.yaml:1:101: nested deeper than 100 levels"),
        ("x" * (2 << 20), r"^job\.yaml: the YAML has 2,097,152 characters"),
    ],
)
def test_yaml_that_is_broken_or_ambiguous_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_yaml(text, "job.yaml")


def test_a_few_lines_that_mean_a_billion_values_are_refused_at_once() -> None:
    names = "abcdefghi"
    laughs = "a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise(names)
    )
    merges = "".join(
        f"a{i}: &a{i} {{<<: [{', '.join(f'*a{j}' for j in range(max(0, i - 30), i))}], k{i}: 1}}\n" for i in range(500)
    )
    start = time.process_time()
    with pytest.raises(SpecError, match=r"more than 100,000 values with its aliases"):
        parse_yaml(laughs, "job.yaml")
    with pytest.raises(SpecError, match=r"merges bring more than 100,000 pairs"):
        parse_yaml(merges, "job.yaml")
    assert time.process_time() - start < 5


def test_what_a_merge_brings_may_be_overridden() -> None:
    text = "x-a: &a {b: 1, c: 1}\nouter: {inner: &b {<<: *a, b: 2}}\nlast: {<<: *b, c: 3}\n"
    assert parse_yaml(text, "job.yaml") == {
        "x-a": {"b": 1, "c": 1},
        "outer": {"inner": {"b": 2, "c": 1}},
        "last": {"b": 2, "c": 3},
    }
    assert parse_yaml("", "job.yaml") is None
    assert parse_yaml("1: a\n'1': b\n", "job.yaml") == {1: "a", "1": "b"}


def test_yaml_nested_deeply_is_read_or_refused() -> None:
    with pytest.raises(SpecError):
        parse_yaml("[" * 20_000, "job.yaml")


def test_merges_of_itself_of_several_and_of_no_mapping() -> None:
    assert parse_yaml("a: &a {<<: *a, b: 1}\n", "job.yaml") == {"a": {"b": 1}}
    assert parse_yaml("a: &a {b: 1}\nc: &c {b: 2, d: 3}\ne: {<<: [*a, *c]}\n", "job.yaml")["e"] == {"b": 1, "d": 3}
    with pytest.raises(SpecError, match=r"^job\.yaml:1:5: << merges mappings"):
        parse_yaml("a: {<<: 1}\n", "job.yaml")


def test_line_breaks_are_written_as_a_person_would_and_read_back() -> None:
    value = {"prompt": "{text}\n\nCategory:", "long": "a line\n" * 20, "plain": "word"}
    text = yaml_text(value)
    assert 'prompt: "{text}\\n\\nCategory:"\nlong: |\n  a line\n' in text
    assert parse_yaml(text, "job.yaml") == value
