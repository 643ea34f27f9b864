"""The process that llama.cpp runs in: `python -m ftsdk.deploy.servers.llama_cpp.child FOLDER`.

It ends when its standard input does, which its parent holds open: then a parent that was killed leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ftsdk._files import replace_file
from ftsdk.deploy.servers.llama_cpp.front import Front
from ftsdk.runfolder.lock import hold

__all__ = ["CONFIG", "KEY", "READY", "main"]

CONFIG = "llama.json"
READY = "ready.json"
"""Written once the server answers: its address."""
KEY = "FTSDK_SERVER_KEY"
"""Environment variable with the key that clients must send."""


def main(folder: Path) -> None:
    """Serve until the parent goes."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with hold(folder) as is_ours:
        if not is_ours:
            sys.exit(f"{folder} has a server already")
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        key = os.environ.pop(KEY, None)
        inner = secrets.token_hex(16)
        server = _llama(config, inner)
        # llama.cpp has put handlers of its own there, which stop it and not the process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        address = urlsplit(server.listening_address)
        assert address.hostname is not None
        assert address.port is not None
        front = Front(
            (config["host"], config["port"]),
            upstream=(address.hostname, address.port),
            upstream_key=inner,
            models=config["models"],
            key=key,
        )
        replace_file(folder / READY, json.dumps({"url": front.url, "pid": os.getpid()}).encode())
        front.serve_forever()


def _llama(config: dict[str, Any], key: str) -> Any:
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = config["base"]
    params.n_ctx = config["context"] * config["parallel"]  # shared out over the slots
    params.n_parallel = config["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.n_gpu_layers = config["gpu_layers"]
    params.endpoint_metrics = True
    params.endpoint_slots = False
    params.use_jinja = True
    params.ui = False
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    adapters: list[Any] = []
    for path in config["adapters"]:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = path, 0.0  # lora_init_without_apply alone leaves them at 1
        adapters.append(adapter)
    params.lora_adapters = adapters
    params.lora_init_without_apply = True
    if adapters:
        # The cache of prompts in host memory doesn't know adapters: it gives what one has computed to another, also to
        # requests with every scale written out (47 of 300 answers were wrong, xllamacpp 2026.10.11549).
        params.cache_ram_mib = 0
        params.cache_idle_slots = False
    return xllamacpp.Server(params)


def _end_with_parent(parent: int) -> None:
    """End this process when the parent closes our standard input, or is gone while somebody else holds it open."""

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=watch_parent, daemon=True).start()
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
