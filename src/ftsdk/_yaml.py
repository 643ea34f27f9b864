"""YAML that users wrote, read strictly: a key that stands twice is refused, not overwritten."""

from __future__ import annotations

from typing import Any

from ftsdk.errors import SpecError

__all__ = ["parse_yaml"]

_MERGE = "tag:yaml.org,2002:merge"


def parse_yaml(text: str, where: str) -> Any:
    """Return the content of a YAML document as plain data.

    Args:
        text: One document.
        where: The file, for errors.

    Raises:
        SpecError: The text isn't YAML, has a key twice, or a value that can't be read; names line and column.
    """
    import yaml

    # The C loader is ten times quicker; not every build of PyYAML has it.
    loader_type: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loader = loader_type(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _resolve(node, where, set())
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
    except ValueError as error:  # a date like 2026-13-45, or a number of thousands of digits
        raise SpecError(f"{where}: the YAML holds a value that can't be read: {error}") from error


def _resolve(node: Any, where: str, done: set[int]) -> None:
    """Refuse duplicate keys, and resolve merge keys (`<<`).

    PyYAML loses what a mapping overrides when that is merged into a third.
    """
    if id(node) in done:
        return
    done.add(id(node))
    if node.id == "sequence":
        for item in node.value:
            _resolve(item, where, done)
    if node.id != "mapping":
        return
    own: dict[object, tuple[Any, Any]] = {}
    merged: dict[object, tuple[Any, Any]] = {}
    for key, value in node.value:
        _resolve(key, where, done)
        _resolve(value, where, done)
        if key.tag == _MERGE:
            for source in value.value if value.id == "sequence" else [value]:
                if source.id != "mapping":
                    raise SpecError(f"{_at(where, key.start_mark)}: << merges mappings, and this isn't one")
                for pair in source.value:
                    if pair[0].tag != _MERGE:
                        merged.setdefault(_name(pair[0]), pair)
        elif (name := _name(key)) in own:
            first = own[name][0].start_mark.line + 1
            raise SpecError(
                f"{_at(where, key.start_mark)}: the key {key.value!r} appears twice (first in line {first}); keep one "
                "of them"
            )
        else:
            own[name] = (key, value)
    node.value = [*(pair for name, pair in merged.items() if name not in own), *own.values()]


def _name(key: Any) -> object:
    return (key.tag, key.value) if key.id == "scalar" else id(key)


def _at(where: str, mark: Any) -> str:
    return where if mark is None else f"{where}:{mark.line + 1}:{mark.column + 1}"
