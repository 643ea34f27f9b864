"""Does the loopback still speak the protocol that is installed? It changes between minor versions of `modal`."""

from __future__ import annotations

import ast
import importlib.resources
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

import grpclib.const
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from modal_proto import api_pb2

from ftsdk.testing.modal.wire import Wire
from ftsdk.testing.modal.workspace import ROOMS

__all__ = ["implemented", "problems"]


def implemented() -> list[str]:
    """List the RPCs that the loopback answers."""
    return sorted(name for room in ROOMS for name in vars(room) if name[0].isupper())


def problems() -> list[str]:
    """List what the loopback uses and the installed `modal_proto` doesn't have; empty if all is well.

    The sources are read, not run: every RPC, every message and enum value, every field that a message is built with,
    and every field that is read of a request.
    """
    handlers = _handlers()
    found = [f"there is no RPC {name}" for name in implemented() if name not in handlers]
    for file in sorted(importlib.resources.files("ftsdk.testing.modal").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".py"):
            found += (f"{file.name}: {problem}" for problem in problems_of(file.read_text(encoding="utf-8")))
    return found


def problems_of(source: str) -> Iterator[str]:
    """List what one source file uses and the protocol doesn't have. It must import the messages as `pb`."""
    handlers = _handlers()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and _resolve(node) is None and _dotted(node)[:1] == ["pb"]:
            yield f"line {node.lineno}: there is no {'.'.join(_dotted(node))}"
        if isinstance(node, ast.Call):
            yield from _problems_of_message(node)
        if isinstance(node, ast.AsyncFunctionDef) and node.name in handlers:
            yield from _problems_of_request(node, handlers[node.name].request_type)


def _problems_of_message(node: ast.Call) -> Iterator[str]:
    message: object = getattr(_resolve(node.func), "DESCRIPTOR", None)
    if not isinstance(message, Descriptor):
        return
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg not in message.fields_by_name:
            yield f"line {node.lineno}: {message.name} has no field {keyword.arg}"


def _problems_of_request(function: ast.AsyncFunctionDef, kind: type) -> Iterator[str]:
    annotation = next((a.annotation for a in function.args.args if a.arg == "request"), None)
    if annotation is not None and ast.unparse(annotation).removeprefix("pb.") != kind.__name__:
        yield f"line {function.lineno}: {function.name} is sent a {kind.__name__}, not a {ast.unparse(annotation)}"
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and _dotted(node)[:1] == ["request"]:
            problem = _missing(cast("Any", kind).DESCRIPTOR, _dotted(node)[1:])
            if problem is not None:
                yield f"line {node.lineno}: {problem}"


def _missing(message: Descriptor, path: list[str]) -> str | None:
    """Return the first step of a path of fields that doesn't exist; None if all do, or a method is called."""
    for name in path:
        if hasattr(api_pb2.AppCreateRequest, name) and name not in message.fields_by_name:
            return None
        if name not in message.fields_by_name:
            return f"{message.name} has no field {name}"
        field: FieldDescriptor = message.fields_by_name[name]
        if field.message_type is None:
            return None
        message = field.message_type
    return None


def _handlers() -> dict[str, grpclib.const.Handler]:
    service = Wire(cast("Any", None), token_id="", token_secret="").service()
    return {path.rpartition("/")[2]: handler for path, handler in service.__mapping__().items()}


def _resolve(node: ast.AST) -> object:
    """Return what an expression such as `pb.GenericResult.GENERIC_STATUS_SUCCESS` stands for, or None."""
    names = _dotted(node)
    if names[:1] != ["pb"]:
        return None
    thing: object = cast("ModuleType", api_pb2)
    for name in names[1:]:
        thing = getattr(thing, name, None)
        if thing is None:
            return None
    return thing


def _dotted(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return [*before, node.attr] if before else []
    return []
