"""The arguments of `SkyPilot(...)`, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from ftsdk._secrets import has_url_secret, looks_like_key
from ftsdk.backends.launchers.kept.address import check_storage, is_plain_text
from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount

__all__ = ["OWNED", "Options"]

OWNED = frozenset({"kubernetes", "k8s", "slurm", "ssh"})
"""What SkyPilot takes for a cloud, and nobody is billed for by it."""
_CLOUD = re.compile(r"[a-z][a-z0-9]{1,29}(?:/[A-Za-z0-9][A-Za-z0-9_.:@*-]{0,199}){0,2}\Z")
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}\Z")
_OURS = ("FTSDK_", "SKYPILOT_")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `SkyPilot(...)`."""

    cloud: str | None = None
    gpu: str | None = None
    gpus: int = 1
    use_spot: bool = False
    storage: str | None = None
    server: str | None = None
    cpus: int | None = None
    disk_gib: int | None = None
    image: str | None = None
    setup: tuple[str, ...] | None = None
    secrets: tuple[str, ...] = ()
    usd_per_hour: Decimal | None = None
    python: str = "python3"
    look_s: float = 20.0

    def __post_init__(self) -> None:
        if self.cloud is not None and not (is_plain_text(self.cloud) and _CLOUD.match(self.cloud)):
            raise SpecError(
                f"cloud={self.cloud!r} isn't a place of SkyPilot: write 'runpod', or with a region 'aws/us-east-1'; "
                "`sky check` lists them"
            )
        if self.gpu is not None and not (is_plain_text(self.gpu) and _GPU.match(self.gpu)):
            raise SpecError(f"gpu={self.gpu!r} isn't the name of a GPU: write 'H100', and their number as gpus=")
        if self.storage is not None:
            check_storage(self.storage)
        if self.server is not None:
            _check_server(self.server)
        check_amount("gpus", self.gpus, at_least=0, at_most=64, is_whole=True)
        if self.cpus is not None:
            check_amount("cpus", self.cpus, at_least=1, at_most=100_000, is_whole=True)
        if self.disk_gib is not None:
            check_amount("disk_gib", self.disk_gib, at_least=1, at_most=1_000_000, is_whole=True)
        check_amount("look_s", self.look_s, at_least=0, at_most=3600)
        for name in ("image", "python"):
            value: object = getattr(self, name)
            if value is not None and not is_plain_text(value):
                raise SpecError(f"{name}={value!r} isn't one line of text")
        if self.use_spot and self.place in OWNED:
            raise SpecError(f"use_spot=True has no meaning on {self.place}, which rents nothing")
        for line in self.setup or ():
            _check_line(line)
        for name in self.secrets:
            _check_secret(name)

    @property
    def place(self) -> str:
        """The cloud without its region; empty if SkyPilot chooses."""
        return (self.cloud or "").partition("/")[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that differ from the defaults; a price stays a Decimal."""
        defaults = Options()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType]
            for name, value in values.items()
            if value != getattr(defaults, name)
        }


def _check_server(server: object) -> None:
    if is_plain_text(server) and has_url_secret(str(server)):
        raise SpecError(
            "server has a password or a key in it, which would be stored with each run; set "
            "SKYPILOT_SERVICE_ACCOUNT_TOKEN in the environment"
        )
    try:
        parts = urlsplit(str(server))
        is_web = is_plain_text(server) and parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_web = False
    if not is_web:
        raise SpecError(
            f"server={server!r} isn't the address of a SkyPilot API server, such as 'http://127.0.0.1:46580'; "
            "`sky api info` shows it"
        )


def _check_line(line: object) -> None:
    if not isinstance(line, str) or "\0" in line or "\n" in line:
        raise SpecError("setup takes a list of lines, each a text without line breaks")
    if any(looks_like_key(word.strip("'\"")) for word in line.replace("=", " ").split()) or has_url_secret(line):
        raise SpecError(
            "setup contains something that looks like a key, which would be stored with the run; name its variable "
            "in secrets=, and use the variable here"
        )


def _check_secret(name: object) -> None:
    if not isinstance(name, str) or not _VARIABLE.match(name) or looks_like_key(name):
        # Not shown: it may be the secret itself.
        raise SpecError("secrets takes names of environment variables, such as ['AWS_ACCESS_KEY_ID'], not their values")
    if name.startswith(_OURS):
        raise SpecError(f"secrets can't have {name}: ftsdk or SkyPilot sets it")
