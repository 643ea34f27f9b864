"""What runs in a container of a server on Modal: the server, until its time is over. Imports no ftsdk beside itself."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path

__all__ = ["ORDER", "serve"]

ORDER = "FTSDK_SERVE_ORDER"
"""Environment variable with what to run, as JSON."""


def serve() -> None:
    """Start the server. After the time that was paid for, it is ended, and a later container starts none."""
    order = json.loads(os.environ[ORDER])
    left = order["ends_at"] - time.time()
    if left <= 0:
        raise RuntimeError("the time of this server is over; the one who started it can start a new one")
    if order["template"] is not None:
        Path(order["template_file"]).write_text(order["template"], encoding="utf-8")
    server = subprocess.Popen(order["command"])
    threading.Thread(target=_end_after, args=(server, left), daemon=True).start()


def _end_after(server: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)
    server.kill()
    os._exit(0)
