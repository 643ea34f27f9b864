"""A machine that somebody owns and that is reached through ssh: what is planned for it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ftsdk._numbers import as_json_number
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.launchers.hourly import billing_by_hour, price_in, with_price
from ftsdk.backends.launchers.named_gpu import gpu_hardware
from ftsdk.errors import SpecError
from ftsdk.protocol import Adjustment
from ftsdk.spec import JobSpec
from ftsdk.spec.amounts import check_amount

__all__ = ["OwnedMachine"]


class OwnedMachine:
    """Plans for a machine that can't be looked at before the run.

    Args:
        gpus: How many GPUs are used, with a process for each; 0: the CPU.
        gpu: What they are, such as `A100-80GB`; None: not known.
        usd_per_hour: What an hour of the machine costs, in US dollars; None: nothing is billed.
        python: The interpreter there.
        folder: Where ftsdk keeps its runs there.
    """

    name = "ssh"

    def __init__(
        self,
        *,
        gpus: int = 1,
        gpu: str | None = None,
        usd_per_hour: Decimal | None = None,
        python: str | None = None,
        folder: str | None = None,
    ) -> None:
        check_amount("gpus", gpus, at_least=0, at_most=1024, is_whole=True)
        for name, value in (("python", python), ("folder", folder)):
            if value is not None and (not value or "\n" in value or "\0" in value):
                raise SpecError(f"{name}={value!r} isn't a path on the machine")
        self._gpus, self._gpu, self._price = gpus, gpu, usd_per_hour
        self._python, self._folder = python, folder

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it: those that differ from the defaults."""
        given = {
            "gpus": None if self._gpus == 1 else self._gpus,
            "gpu": self._gpu,
            "usd_per_hour": None if self._price is None else as_json_number(self._price),
            "python": self._python,
            "folder": self._folder,
        }
        return {name: value for name, value in given.items() if value is not None}

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments that can be read from a run's launch request, and those of this object."""
        processes = 0 if request.get("device") == "cpu" else request.get("processes", 1)
        found = {**self.options, "gpus": processes}
        if processes == 1:
            del found["gpus"]
        return with_price(found, price_in(request))

    def hardware(self, spec: JobSpec) -> Hardware:  # noqa: ARG002 - the machine is what it is
        """Return what the machine has, as far as the options say."""
        if self._gpus == 0:
            return Hardware(device="cpu", name="CPU through ssh", has_bfloat16=False, reason="gpus=0")
        return gpu_hardware(
            self._gpu or "",
            processes=self._gpus,
            what="a GPU of the machine",
            reason=f"set by gpus={self._gpus}" if self._gpus > 1 else "one GPU, as gpus= is left out",
            is_given=self._gpu is not None,
        )

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan one process, or torchrun with several."""
        hardware = self.hardware(spec)
        how = "one process" if hardware.processes == 1 else f"torchrun, {hardware.processes} processes"
        request: dict[str, Any] = {
            "launcher": "ssh",
            "processes": hardware.processes,
            "device": hardware.device,
        }
        if self._price is not None:
            request["usd_per_hour"] = str(self._price)
        chosen = f"{hardware.device} ({hardware.name}), {how}"
        return LaunchPlan(
            request=request,
            adjustments=(Adjustment(field="device", chosen=chosen, reason=hardware.reason),),
            billing=billing_by_hour(spec, self._price, what="the machine", argument="SSH(usd_per_hour=)"),
        )
