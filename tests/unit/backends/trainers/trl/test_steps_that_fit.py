"""Memory that runs out in one of several processes makes the batches of all smaller, and changes nothing else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")

SUPPORT = Path(__file__).parents[4] / "support"


def two_ranks(what: str, model: Path | str, folder: Path, seed: int) -> list[Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": "",
    }
    shared["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SUPPORT / "rank_out_of_memory.py"), what, str(model), str(folder / str(n)), str(seed)],
            env={**os.environ, **shared, "RANK": str(n), "LOCAL_RANK": str(n)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    try:
        outputs = [rank.communicate(timeout=600) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], outputs[0][1] + outputs[1][1]
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]


def test_all_processes_take_less_and_the_gradients_are_those_of_one(tmp_path: Path) -> None:
    first, second = two_ranks("toy", "none", tmp_path, seed=1)
    # Halved once for the second rank's four rows, and then until a single one doesn't fit either.
    assert first["sizes"] == second["sizes"] == [4, 2, 1]
    assert first["worst"] < 1e-5
    assert second["worst"] < 1e-5
    assert first["error"] == "another process is out of memory"
    assert second["error"].startswith("CUDA out of memory")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_training_goes_on_where_one_process_runs_out(tiny_model: Path, tmp_path: Path, seed: int) -> None:
    first, second = two_ranks("trainers", tiny_model, tmp_path, seed=seed)
    for way, found in first.items():
        assert found["worst"] < 1e-5, way
        assert second[way]["worst"] < 1e-5, way
        # The step makes the pieces of both smaller; the validation those of the process that ran out.
        assert found["messages"] == second[way]["messages"][:1], way
        assert len(found["messages"]) == 1, way
        assert "memory ran out" in found["messages"][0]
        assert len(second[way]["messages"]) == 2, way
        assert found["validation"] < 1e-5, way
        assert second[way]["validation"] < 1e-5, way
