"""A real sshd on loopback: this machine, seen as another one with a home of its own."""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

__all__ = ["LoopbackSSH", "why_no_sshd"]

_SSHD_CONF = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
ForceCommand {folder}/login
Subsystem sftp internal-sftp
MaxStartups 100
"""
_SSH_CONF = """\
Host box
  StrictHostKeyChecking yes
  IdentityFile {folder}/user_key
Host stranger
  StrictHostKeyChecking yes
  IdentityFile {folder}/other_key
Host changed
  StrictHostKeyChecking yes
  UserKnownHostsFile {folder}/no_hosts
  IdentityFile {folder}/user_key
Host closed
  Port 1
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  UserKnownHostsFile {folder}/known_hosts
  IdentitiesOnly yes
  LogLevel ERROR
"""
_LOGIN = """\
#!/bin/sh
# What a login does there: it has an environment of its own, and prints.
{exports}
echo "Welcome to the box"
printf 'no line break'
case "$(cat {folder}/fault 2>/dev/null)" in
    garbage) echo '<html>'; exit 0 ;;
    timeout) exec cat >/dev/null ;;
    cut-*) exec {python} {folder}/cutter.py "$SSH_ORIGINAL_COMMAND" ;;
esac
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
_CUTTER = """\
import os, subprocess, sys, threading
call = open({fault!r}).read().removeprefix("cut-")
agent = subprocess.Popen(["/bin/sh", "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
cut = False
def forth():
    global cut
    while content := os.read(0, 2**16):
        cut = cut or f'"call": "{{call}}"'.encode() in content
        agent.stdin.write(content)
        agent.stdin.flush()
    agent.stdin.close()
threading.Thread(target=forth, daemon=True).start()
while content := os.read(agent.stdout.fileno(), 2**16):
    if cut:
        os._exit(255)
    os.write(1, content)
"""


def why_no_sshd() -> str:
    """Why none can be started here; empty if one can."""
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if _sshd() is None:
        missing.append("sshd")
    if missing:
        return f"not installed: {', '.join(missing)}"
    if not Path("/run/sshd").is_dir():
        if os.getuid() != 0:
            return "/run/sshd is missing, and only root can make it"
        Path("/run/sshd").mkdir(mode=0o755)
    return ""


def _sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


class LoopbackSSH:
    """Starts when the block begins, and is gone when it ends.

    Args:
        environment: What a login there has, besides a home of its own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ftsdk-sshd-"))
        self.home = self.folder / "home"
        self.ssh = ("-F", str(self.folder / "ssh_config"))
        """Arguments with which ssh finds it, under the name `box`."""
        self._environment = dict(environment)
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LoopbackSSH:
        self.home.mkdir()
        for name in ("host_key", "user_key", "other_key"):
            key = self.folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        facts = {"folder": self.folder, "port": port, "user": getpass.getuser(), "python": quote(sys.executable)}
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        host_key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
        (self.folder / "sshd_config").write_text(_SSHD_CONF.format(**facts))
        (self.folder / "ssh_config").write_text(_SSH_CONF.format(**facts))
        environment = {**self._environment, "HOME": str(self.home)}
        exports = "\n".join(f"export {name}={quote(value)}" for name, value in environment.items())
        login = self.folder / "login"
        login.write_text(_LOGIN.format(exports=exports, **facts))
        login.chmod(0o700)
        (self.folder / "cutter.py").write_text(_CUTTER.format(fault=str(self.folder / "fault")))
        program = _sshd()
        assert program is not None
        with (self.folder / "sshd.out").open("wb") as log:
            self._daemon = subprocess.Popen(
                [program, "-D", "-e", "-f", self.folder / "sshd_config"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGTERM),
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return self
            time.sleep(0.05)
        self.__exit__()
        raise TimeoutError("sshd didn't start")

    def __exit__(self, *_: object) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Let new logins fail: `garbage`, `timeout`, or `cut-CALL`, which loses the answer to the agent's next CALL."""
        file = self.folder / "fault"
        file.write_text(fault)
        try:
            yield
        finally:
            file.unlink()
