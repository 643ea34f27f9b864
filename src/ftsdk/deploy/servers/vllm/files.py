"""The files that start vLLM: a script, a compose file, an app for Modal. Pure text."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from ftsdk.deploy.servers.vllm.command import VLLM_VERSION

__all__ = ["compose_yaml", "modal_app", "serve_script"]

_KEY_NOTE = "# The key that clients must send is read from VLLM_API_KEY; without it there is none."


def serve_script(command: Sequence[str]) -> str:
    """Return a shell script that starts vLLM beside its adapters."""
    return "\n".join(
        [
            "#!/bin/sh",
            f"# Written by ftsdk for vLLM {VLLM_VERSION}.",
            _KEY_NOTE,
            'cd "$(dirname "$0")" || exit 1',
            f"exec {_shell(command)}",
            "",
        ]
    )


def compose_yaml(command: Sequence[str], *, gpus: int, port: int, mounts: Sequence[str]) -> str:
    """Return a compose file that starts vLLM in a container and publishes it on loopback.

    Args:
        command: The whole command line; the image's entry point is its first two words.
        gpus: How many it gets.
        port: On this machine, and in the container.
        mounts: Volumes, as compose writes them.
    """
    lines = [
        f"# Written by ftsdk for vLLM {VLLM_VERSION}. Start it with: docker compose up -d",
        _KEY_NOTE,
        "services:",
        "  vllm:",
        f"    image: ${{VLLM_IMAGE:-vllm/vllm-openai:v{VLLM_VERSION}}}",
        "    command:",
        *[f"      - {_yaml_text(word)}" for word in command[2:]],
        "    environment:",
        "      - VLLM_API_KEY",
        "      - HF_TOKEN",
        "    ports:",
        f'      - "127.0.0.1:{port}:{port}"',
        "    volumes:",
        *[f"      - {_yaml_text(mount)}" for mount in mounts],
        "    ipc: host",
        "    restart: unless-stopped",
        "    healthcheck:",
        f'      test: ["CMD", "curl", "-fs", "http://127.0.0.1:{port}/health"]',
        "      interval: 10s",
        "      retries: 90",
        "    deploy:",
        "      resources:",
        "        reservations:",
        "          devices:",
        "            - driver: nvidia",
        f"              count: {gpus}",
        "              capabilities: [gpu]",
        "volumes:",
        "  huggingface:",
        "",
    ]
    return "\n".join(lines)


def modal_app(command: Sequence[str], *, name: str, gpu: str, port: int, idle_stop_s: int, has_files: bool) -> str:
    """Return a file for `modal deploy` that serves by vLLM, and scales to zero.

    Args:
        command: The whole command line; its files lie in `/served`.
        name: The app's name.
        gpu: The GPU, as Modal names it.
        port: In the container.
        idle_stop_s: Seconds without a request after which a container is stopped.
        has_files: Whether there are adapters or a template beside the file.
    """
    words: dict[str, Any] = {"name": name, "gpu": gpu, "port": port, "idle_stop_s": idle_stop_s}
    # JSON's escapes of what isn't ASCII mean something else in Python.
    shown = {key: json.dumps(value, ensure_ascii=False) for key, value in words.items()}
    listed = "".join(f"    {json.dumps(word, ensure_ascii=False)},\n" for word in command)
    files = '.add_local_dir(Path(__file__).parent / "files", "/served")' if has_files else ""
    return f'''"""Written by ftsdk for vLLM {VLLM_VERSION}: `modal deploy modal_app.py`. `modal app stop` ends it.

Needs a Secret of the name ftsdk-serve with VLLM_API_KEY, the key that clients must send: the address is public.
"""

import subprocess
from pathlib import Path

import modal

COMMAND = [
{listed}]

image = modal.Image.debian_slim(python_version="3.12").uv_pip_install("vllm=={VLLM_VERSION}"){files}
app = modal.App({shown["name"]}, image=image)
cache = modal.Volume.from_name("ftsdk-cache", create_if_missing=True, version=2)


@app.function(
    gpu={shown["gpu"]},
    min_containers=0,
    max_containers=1,
    scaledown_window={shown["idle_stop_s"]},
    timeout=86_400,
    volumes={{"/ftsdk-cache": cache}},
    env={{"HF_HOME": "/ftsdk-cache/huggingface"}},
    secrets=[modal.Secret.from_name("ftsdk-serve", required_keys=["VLLM_API_KEY"])],
)
@modal.concurrent(max_inputs=64)
@modal.web_server(port={shown["port"]}, startup_timeout=1200)
def serve():
    subprocess.Popen(COMMAND)
'''


def _yaml_text(text: str) -> str:
    """Return a text for a compose file, which would put variables in place of `$`."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)


def _shell(command: Sequence[str]) -> str:
    """Return a command in lines: an option and its values on each."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n    ".join(" ".join(line) for line in lines)
