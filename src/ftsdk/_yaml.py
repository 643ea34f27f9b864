"""YAML that users read and write.

It is read strictly and within limits: a repeated key is refused, and so is what explodes.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from ftsdk._numbers import exact_float
from ftsdk.errors import SpecError

__all__ = ["LIMITS", "YamlLimits", "parse_yaml", "yaml_text"]

_MERGE = "tag:yaml.org,2002:merge"
_INT = "tag:yaml.org,2002:int"
# YAML 1.1 reads 010 as 8 and 1:30 as 90; hardly anybody who writes them means that.
_FLOAT = "tag:yaml.org,2002:float"
_SURPRISING_INT = re.compile(r"[-+]?0_*[0-9][0-9_]*|[^:]*:.*")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

_SHORT_TEXT = 60
"""Up to so many characters, a text with line breaks stays on one line, as in `"{text}\\n\\nCategory:"`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlLimits:
    """How large a document may be."""

    characters: int = 1 << 20
    nodes: int = 100_000
    """Values and keys with every alias (`*name`) written out, and pairs that merges (`<<`) bring."""
    depth: int = 100
    number_digits: int = 1_000


LIMITS = YamlLimits()


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of a YAML document as plain data.

    Args:
        text: One document.
        where: The file, for errors.

    Raises:
        SpecError: The text isn't YAML, has a key twice or a value that can't be read, or is beyond `LIMITS`; names line
            and column.
    """
    import yaml

    if len(text) > LIMITS.characters:
        raise SpecError(f"{where}: the YAML has {len(text):,} characters, more than the {LIMITS.characters:,} allowed")
    try:
        loader = _loader_type()(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Reader(loader, where).resolve(node, depth=1)
            _count(node, where, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except SpecError:
        raise
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        raise SpecError(f"{_at(where, mark)}: invalid YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise SpecError(f"{where}: the YAML is nested too deeply to be read") from error
    except ValueError as error:  # half a surrogate pair, or a date like 2026-13-45
        raise SpecError(f"{where}: the YAML holds a value that can't be read: {error}") from error


@functools.cache
def _loader_type() -> Any:
    import yaml

    # The C loader is ten times quicker; not every build of PyYAML has it.
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        """PyYAML's safe loader, with numbers that keep the digits that a float has no room for."""

    def number(loader: Any, node: Any) -> float:
        value: float = loader.construct_yaml_float(node)
        text = node.value.replace("_", "")
        return exact_float(text) if _NUMBER.fullmatch(text) else value

    Loader.add_constructor(_FLOAT, number)
    return Loader


class _Reader:
    """Refuses duplicate keys and resolves merge keys (`<<`): PyYAML loses what a mapping overrides on a third merge."""

    def __init__(self, loader: Any, where: str) -> None:
        self._loader = loader
        self._where = where
        self._done: set[int] = set()
        self._merged_pairs = 0

    def resolve(self, node: Any, *, depth: int) -> None:
        if id(node) in self._done:
            return
        self._done.add(id(node))
        if depth > LIMITS.depth:
            raise self._refused(node, f"nested deeper than {LIMITS.depth} levels")
        if node.id == "sequence":
            for item in node.value:
                self.resolve(item, depth=depth + 1)
        elif node.id == "mapping":
            self._mapping(node, depth)
        else:
            self._scalar(node)

    def _mapping(self, node: Any, depth: int) -> None:
        own: dict[object, tuple[Any, Any]] = {}
        merged: dict[object, tuple[Any, Any]] = {}
        for key, value in node.value:
            self.resolve(key, depth=depth + 1)
            self.resolve(value, depth=depth + 1)
            if key.tag == _MERGE:
                self._merge(key, value, merged)
            elif (name := self._name(key)) in own:
                first = own[name][0].start_mark.line + 1
                raise self._refused(
                    key, f"the key {str(key.value)[:80]!r} appears twice (first in line {first}); keep one of them"
                )
            else:
                own[name] = (key, value)
        node.value = [*(pair for name, pair in merged.items() if name not in own), *own.values()]

    def _merge(self, key: Any, value: Any, merged: dict[object, tuple[Any, Any]]) -> None:
        for source in value.value if value.id == "sequence" else [value]:
            if source.id != "mapping":
                raise self._refused(key, "<< merges mappings, and this isn't one")
            self._merged_pairs += len(source.value)
            if self._merged_pairs > LIMITS.nodes:
                raise self._refused(key, f"merges bring more than {LIMITS.nodes:,} pairs")
            for pair in source.value:
                if pair[0].tag != _MERGE:
                    merged.setdefault(self._name(pair[0]), pair)

    def _scalar(self, node: Any) -> None:
        """Read a value once, so that one that can't be read has its line in the error."""
        if node.tag == _MERGE:
            return
        if node.tag in (_INT, _FLOAT) and len(node.value) > LIMITS.number_digits:
            raise self._refused(
                node, f"the YAML holds a value that can't be read: a number of over {LIMITS.number_digits:,} digits"
            )
        try:
            value = self._loader.construct_object(node)
        except (ValueError, LookupError, AttributeError) as error:  # PyYAML's own, for `!!bool x` or `!!timestamp x`
            shown = str(node.value)[:80]
            raise self._refused(node, f"the YAML holds a value that can't be read: {shown!r} ({error})") from error
        is_surprising = node.tag == _INT and _SURPRISING_INT.fullmatch(node.value)
        if is_surprising or (node.tag == _FLOAT and ":" in node.value):
            raise self._refused(
                node, f"YAML reads {node.value} as {value}; write that number, or put it in quotes if it is text"
            )

    def _name(self, key: Any) -> object:
        """Return what a key is equal to: YAML's `1`, `0x1` and `true` are one key in Python."""
        if key.id != "scalar":
            return id(key)
        value = self._loader.construct_object(key)
        return (key.tag, key.value) if value != value else value

    def _refused(self, node: Any, message: str) -> SpecError:
        return SpecError(f"{_at(self._where, node.start_mark)}: {message}")


def yaml_text(value: Any) -> str:
    """Return plain data as YAML in the order of its keys, with line breaks in texts as a person would write them."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def represent(dumper: yaml.SafeDumper, text: str) -> Any:
        # Single quotes, PyYAML's choice, would show every line break as an empty line.
        style = None if "\n" not in text else '"' if len(text) <= _SHORT_TEXT else "|"
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent)
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def _count(node: Any, where: str, counted: dict[int, int | None]) -> int:
    """Return how many nodes there are with aliases written out: nine short lines can mean a billion."""
    if id(node) in counted:
        known = counted[id(node)]
        if known is None:
            raise SpecError(f"{_at(where, node.start_mark)}: the value contains itself by an alias; write it out")
        return known
    counted[id(node)] = None
    total = 1
    if node.id != "scalar":
        parts = node.value if node.id == "sequence" else [part for pair in node.value for part in pair]
        for part in parts:
            total += _count(part, where, counted)
            if total > LIMITS.nodes:
                raise SpecError(
                    f"{_at(where, node.start_mark)}: the YAML has more than {LIMITS.nodes:,} values with its aliases "
                    "(*name) written out"
                )
    counted[id(node)] = total
    return total


def _at(where: str, mark: Any) -> str:
    return where if mark is None else f"{where}:{mark.line + 1}:{mark.column + 1}"
