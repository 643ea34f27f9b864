"""A real Slurm cluster of two nodes on this machine, as child processes on loopback, for the tests of a session."""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

__all__ = ["SlurmCluster", "missing_programs"]

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_CONF = """\
ClusterName=ftsdk
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
MinJobAge=86400
SlurmdTimeout=10
InactiveLimit=0
SchedulerParameters=sched_interval=2,sched_min_interval=0,bf_interval=3,batch_sched_delay=0
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=2000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=n1 MaxTime=10 State=UP
"""


def missing_programs() -> list[str]:
    """What has to be installed before a cluster can be started here."""
    return [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]


class SlurmCluster:
    """Starts when the block begins, and is gone when it ends; `env` finds it."""

    def __init__(self) -> None:
        # Short: a socket's path has at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ftsdk-slurm-"))
        self.env = {"SLURM_CONF": str(self.folder / "slurm.conf"), "GLOO_SOCKET_IFNAME": "lo", "PATH": _PATH}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SlurmCluster:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        (self.folder / "state").mkdir()
        conf = _CONF.format(
            host=socket.gethostname().split(".")[0], ports=_free_ports(3), user=getpass.getuser(), folder=self.folder
        )
        (self.folder / "slurm.conf").write_text(conf)
        try:
            munge = [
                f"--{name}={self.folder}/munge.{name.split('-')[0]}" for name in ("pid-file", "log-file", "seed-file")
            ]
            # A folder that only its owner may enter is refused without --force.
            sock = self.folder / "munge.sock"
            self._start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={sock}", *munge)
            _wait_until(sock.exists)
            self._start("slurmctld", "-D")
            self.start_node("n1")
            self.start_node("n2")
            _wait_until(lambda: self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split() == ["idle", "idle"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            self.cancel_all()
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        self._start("slurmd", "-D", "-N", name, label=name)

    def kill_node(self, name: str) -> None:
        """Kill the daemon of a node, with whatever runs there: the node is down."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()
        tasks = _tasks_of(name, self.folder)
        # Those who would report the end of the tasks first: a machine that goes down reports nothing.
        for step in {step for pid in tasks if (step := _step_of(pid))}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(step, signal.SIGKILL)
        for pid in tasks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands, and return what it prints."""
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env={**os.environ, **self.env}, check=False
        )
        return answer.stdout.strip()

    def jobs(self, name: str | None = None) -> list[tuple[str, str, str]]:
        """Id, state and reason of the jobs, oldest first."""
        given = () if name is None else (f"--name={name}",)
        rows = self.run("squeue", "-h", "-t", "all", "-o", "%i|%T|%r", *given).splitlines()
        return sorted((tuple(row.split("|", 2)) for row in rows), key=lambda row: int(row[0]))  # type: ignore[misc]

    def cancel_all(self) -> None:
        """Leave no job behind."""
        self.run("scancel", "--user", getpass.getuser())
        self.run("scancel", "--user", getpass.getuser(), "--full", "--signal=KILL")
        _wait_until(lambda: not self.run("squeue", "-h", "-o", "%i"), most_s=60)

    def start_now(self, job: str) -> None:
        """Let a requeued job start without the two minutes that Slurm waits."""
        _wait_until(lambda: self.run("squeue", "-h", "-j", job, "-t", "all", "-o", "%T") == "PENDING", most_s=60)
        self.run("scontrol", "update", f"jobid={job}", "StartTime=now")

    def _start(self, *command: str, label: str = "") -> None:
        log = (self.folder / f"{label or command[0]}.out").open("wb")
        with log:
            self._daemons[label or command[0]] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                cwd=self.folder,
                preexec_fn=_die_with_parent,
            )


def _tasks_of(node: str, folder: Path) -> list[int]:
    """Return the processes of a node's jobs, which a machine takes with it when it goes down."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes()
                is_task = f"SLURMD_NODENAME={node}".encode() in environment.split(b"\0")
                if is_task and str(folder).encode() in environment:
                    found.append(int(entry.name))
    return found


def _step_of(pid: int) -> int | None:
    """Return the slurmstepd above a task."""
    with contextlib.suppress(OSError, ValueError):
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"slurmstepd"):
                return pid
    return None


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_until(is_so, *, most_s: float = 90) -> None:
    deadline = time.monotonic() + most_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("the Slurm cluster for tests isn't ready")
        time.sleep(0.1)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
