"""A command in a terminal of 80 columns: what a user types, and what stands on the screen at the end."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from typing import NamedTuple

import pyte

__all__ = ["INTERRUPT", "InTerminal", "in_terminal"]

INTERRUPT = b"\x03"
"""Ctrl-C."""


class InTerminal(NamedTuple):
    """What became of a command."""

    code: int
    """Its exit status."""
    lines: list[str]
    """What is on the screen at the end, without the blanks behind it."""
    shown: str
    """All that it has written, escapes included."""


def in_terminal(*words: str, keys: list[tuple[str, bytes]], takes_single_keys: bool = False) -> InTerminal:
    """Run `ftsdk` with a terminal of its own, and type.

    Args:
        words: The command.
        keys: Texts, and what is typed once each is shown.
        takes_single_keys: Wait until the command reads keys without Enter, too.
    """
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, 80))
    child = subprocess.Popen(
        [sys.executable, "-m", "ftsdk", *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C arrives
    )
    os.close(follower)
    screen = pyte.Screen(80, 40)
    stream = pyte.ByteStream(screen)
    waiting, shown, start, deadline = list(keys), "", 0, time.monotonic() + 60
    sent, sent_at = b"", 0.0
    try:
        while time.monotonic() < deadline:
            if select.select([leader], [], [], 0.1)[0]:
                try:
                    piece = os.read(leader, 65_536)
                except OSError:
                    break
                if not piece:
                    break
                stream.feed(piece)
                shown += piece.decode(errors="replace")
            is_ready = not takes_single_keys or not termios.tcgetattr(leader)[3] & termios.ICANON
            if waiting and waiting[0][0] in shown[start:] and is_ready:
                start = len(shown)
                sent, sent_at = waiting.pop(0)[1], time.monotonic()
                os.write(leader, sent)
            elif sent == INTERRUPT and time.monotonic() > sent_at + 2:
                # Python's readline misses one that comes between its prompt and its wait; people press it again.
                sent_at = time.monotonic()
                os.write(leader, sent)
        return InTerminal(child.wait(timeout=10), [line.rstrip() for line in screen.display if line.strip()], shown)
    finally:
        child.kill()
        child.wait()
        os.close(leader)
