"""The order of a conversation's roles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["role_fault", "wrong_roles"]


def wrong_roles(rows: Iterable[Sequence[str]]) -> dict[int, str]:
    """Return by position what is wrong with the order of a conversation's roles.

    Args:
        rows: The roles of each row's messages, such as `("system", "user", "assistant")`.
    """
    found: dict[int, str] = {}
    known: dict[tuple[str, ...], str | None] = {}
    for position, roles in enumerate(map(tuple, rows)):
        if roles not in known:
            known[roles] = role_fault(roles)
        fault = known[roles]
        if fault is not None:
            found[position] = fault
    return found


def role_fault(roles: Sequence[str]) -> str | None:
    """Return what is wrong with the order of roles, or None.

    A conversation is an optional system message, then turns of user and assistant, with calls of tools between an
    assistant's messages, and ends with the assistant.
    """
    turns = list(roles)
    if not turns:
        return "there are no messages"
    while turns and turns[0] in ("system", "developer"):
        turns.pop(0)
    if not turns:
        return "there is nothing but a system message"
    if turns[0] != "user":
        return f"it starts with {turns[0]!r}, not with 'user'"
    previous = turns[0]
    for number, role in enumerate(turns[1:], start=len(roles) - len(turns) + 2):
        allowed = _AFTER.get(previous, ())
        if role not in allowed:
            return f"message {number} is from {role!r} after {previous!r}"
        previous = role
    return None if previous == "assistant" else f"it ends with {previous!r}, not with 'assistant'"


_AFTER = {
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}
