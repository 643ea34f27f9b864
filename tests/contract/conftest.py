from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest


@pytest.fixture(scope="session")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Prism, which serves the service's public OpenAPI document and refuses what doesn't fit it."""
    told = {name: os.environ.get(f"FTSDK_{name}") for name in ("PRISM", "PRISM_PORT", "TOGETHER_SPEC")}
    if not all(told.values()):
        pytest.skip("the service's OpenAPI document isn't at hand; `nox -s contract -- FOLDER` says what is needed")
    port = str(told["PRISM_PORT"])
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("prism") / "prism.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [str(told["PRISM"]), "mock", "-h", "127.0.0.1", "-p", port, str(Path(str(told["TOGETHER_SPEC"])))],
            stdout=out,
            stderr=out,
        )
        try:
            _wait_for(url, server, log)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urlopen(url, timeout=5).close()
        except HTTPError:
            return  # it answers, and knows no such page
        except (URLError, OSError):
            assert server.poll() is None, log.read_text()
            time.sleep(0.25)
        else:
            return
    raise AssertionError(f"Prism didn't come up: {log.read_text()}")
