"""The batch script, and the words around it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftsdk.backends.hosted.ranks import Cluster
from ftsdk.backends.launchers.slurm import scheduler
from ftsdk.backends.launchers.slurm.entry import this_cluster
from ftsdk.backends.launchers.slurm.reasons import can_never_start, explain
from ftsdk.backends.launchers.slurm.script import batch_script
from ftsdk.backends.launchers.slurm.time_limit import as_time, seconds_of
from ftsdk.errors import BackendError, SpecError

HOSTILE = "/shared/a b'c\"d $(touch pwned) `touch pwned`; touch pwned #"


def a_script(**changes: object) -> str:
    given = {"folder": HOSTILE, "python": f"{HOSTILE}/python", "setup": [], "nodes": 1, "cpus": None, "lead_s": 120}
    return batch_script(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"nodes": 2, "cpus": 8}, {"setup": ["module load cuda", "export A=1"]}])
def test_bash_reads_every_script(changes: dict[str, object]) -> None:
    script = a_script(**changes)
    answer = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert ("srun " in script) is ("nodes" in changes)
    assert script.startswith("#!/bin/bash -l\n" if "setup" in changes else "#!/bin/bash\n")


def fake(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o700)


@pytest.mark.parametrize(
    ("state", "status", "is_requeued"),
    [("RUNNING", 1, True), ("COMPLETING", 1, False), ("RUNNING", 0, False)],
    ids=["leaves", "cancelled-by-somebody", "finished"],
)
def test_term_asks_the_worker_to_leave_and_requeues_a_job_that_is_not_cancelled(
    tmp_path: Path, state: str, status: int, is_requeued: bool
) -> None:
    run, programs = tmp_path / "run $(x)", tmp_path / "bin"
    run.mkdir()
    fake(programs, "squeue", f"echo {state}")
    fake(programs, "scontrol", f'echo "$@" >> {tmp_path}/requeued')
    fake(programs, "worker", f'while [ ! -e "$3/interrupt" ]; do sleep 0.05; done; exit {status}')
    script = a_script(folder=str(run), python=str(programs / "worker"), lead_s=12)
    job = subprocess.Popen(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
        start_new_session=True,
    )
    time.sleep(0.5)
    job.terminate()
    assert job.wait(timeout=60) == status
    assert (tmp_path / "requeued").exists() is is_requeued
    if is_requeued:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"


def test_times_are_read_and_written_as_slurm_does() -> None:
    read = {"90": 5400, "90:30": 5430, "1:00:00": 3600, "2-0": 172800, "1-12:30": 131400, "1-0:0:5": 86405}
    assert {text: seconds_of(text) for text in read} == read
    assert [as_time(s) for s in (60, 3600, 86_400, 131_405)] == ["00:01:00", "01:00:00", "1-00:00:00", "1-12:30:05"]
    for seconds in (1, 59, 3_601, 86_399, 1_000_000):
        assert seconds_of(as_time(seconds)) == seconds
    for text in ("", "1h", "-5", "1:2:3:4", "1-", "0:00", "∞"):
        with pytest.raises(SpecError):
            seconds_of(text)


def test_reasons_tell_waiting_from_waiting_in_vain() -> None:
    passing = ["None", "Resources", "Priority", "BeginTime", "ReqNodeNotAvail, UnavailableNodes:n[1-2]", "AssocGrpGRES"]
    assert not any(explain("1", "PENDING", reason).is_blocked for reason in passing)
    hopeless = ["PartitionConfig", "BadConstraints", "QOSMaxGRESPerJob", "AssocMaxWallDurationPerJobLimit"]
    assert all(explain("1", "PENDING", reason).is_blocked and can_never_start(reason) for reason in hopeless)
    assert explain("1", "PENDING", "JobHeldAdmin").is_blocked
    assert not can_never_start("JobHeldAdmin")
    assert explain("1", "REQUEUE_HOLD", "None").is_blocked
    unknown = explain("12", "PENDING", "SomethingNew")
    assert (unknown.is_blocked, unknown.reason) == (False, "Slurm job 12 waits (SomethingNew)")


def answering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **programs: str) -> None:
    for name, text in programs.items():
        fake(tmp_path / "bin", name, text)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")


def test_jobs_are_read_line_by_line_and_unknown_states_are_alive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = "10|WARMING_UP|None\\n9|COMPLETED|None\\nnonsense\\n11|PENDING|ReqNodeNotAvail, May be reserved|x\\n"
    answering(monkeypatch, tmp_path, squeue=f"printf '{lines}'")
    jobs = scheduler.find_jobs("ftsdk-a")
    assert [(job.id, job.is_alive, job.is_waiting) for job in jobs] == [
        ("9", False, False),
        ("10", True, False),
        ("11", True, True),
    ]


@pytest.mark.parametrize(
    ("said", "retryable"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: slurm_receive_msg: Zero Bytes were transmitted or received", True),
        ("", True),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination", False),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", False),
    ],
)
def test_a_refusal_is_told_from_a_lost_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, retryable: bool
) -> None:
    answering(monkeypatch, tmp_path, sbatch=f"echo '{said}' >&2; exit 1")
    with pytest.raises(BackendError) as caught:
        scheduler.submit_job([], "#!/bin/sh\n", os.environ)
    assert caught.value.retryable is retryable
    assert "try again" in str(caught.value) if retryable else "`sinfo`" in str(caught.value)


def test_a_machine_without_slurm_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match=r"there is no squeue here.*Slurm\(host=") as caught:
        scheduler.find_jobs("ftsdk-a")
    assert not caught.value.retryable


def test_a_node_knows_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answering(
        monkeypatch,
        tmp_path,
        scontrol='[ "$2" = hostnames ] && printf "n1\\nn2\\n" || echo "NodeName=n1 NodeAddr=10.0.0.7 Version=1"',
    )
    alone = {"SLURM_JOB_ID": "12", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    assert this_cluster(alone) == Cluster()
    step = {**alone, "SLURM_NNODES": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]"}
    second = this_cluster({**step, "SLURM_NODEID": "1", "SLURM_RESTART_COUNT": "3"})
    assert second == Cluster(nodes=2, rank=1, address="10.0.0.7", port=20_012, attempt="12.3")
    assert second.meeting != this_cluster({**step, "SLURM_NODEID": "1"}).meeting


def test_the_entry_needs_a_folder() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "ftsdk.backends.launchers.slurm.entry"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert "usage: python -m ftsdk.backends.launchers.slurm.entry RUN_FOLDER" in answer.stderr
