"""The hardware of this machine, found without loading torch, since plans must be fast."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.errors import MissingExtraError, SpecError

__all__ = ["describe_machine", "find_hardware"]

Device = Literal["cuda", "mps", "cpu"]


def find_hardware(*, device: Device | None, processes: int | None) -> Hardware:
    """Choose the device: the given one, else CUDA, else Apple's GPU, else the CPU.

    Raises:
        SpecError: The given device doesn't exist here, or the number of processes is impossible.
    """
    if processes is not None and processes < 1:
        raise SpecError(f"processes must be at least 1, got {processes}")
    gpus = _cuda_devices()
    if device not in (None, "cuda", "mps", "cpu"):
        raise SpecError(f"unknown device {device!r}; known: cuda, mps, cpu")
    if device == "cuda" and not gpus:
        raise SpecError(
            "device='cuda', but no CUDA device is visible; leave device out, or check the driver (`nvidia-smi`)"
        )
    if device == "mps" and not _has_mps():
        raise SpecError("device='mps', but this machine is not an Apple silicon Mac; leave device out")
    given = "set by device=" if device else None
    if gpus and device in (None, "cuda"):
        if processes is not None and processes > len(gpus):
            raise SpecError(
                f"processes={processes}, but this machine shows {len(gpus)} CUDA device(s); one process needs one "
                "device"
            )
        name, memory_gib, capability = gpus[0]
        return Hardware(
            device="cuda",
            name=name,
            processes=processes or len(gpus),
            memory_gib=memory_gib,
            has_bfloat16=capability >= (8, 0),
            reason=given or "a CUDA device is available",
        )
    if device == "mps" or (device is None and _has_mps()):
        return Hardware(
            device="mps",
            name=platform.processor() or "Apple silicon",
            processes=processes or 1,
            reason=given or "an Apple GPU is available",
        )
    return Hardware(
        device="cpu",
        name=f"{os.cpu_count()}-core CPU",
        processes=processes or 1,
        memory_gib=_memory_gib(),
        has_bfloat16=_cpu_has_bfloat16(),
        reason=given or "neither a CUDA device nor an Apple GPU is available",
    )


def describe_machine(*, device: Device | None, processes: int | None) -> str:
    """Return what a worker would run on here, in a few words.

    Raises:
        MissingExtraError: torch isn't installed.
        SpecError: The given device doesn't exist here.
    """
    found = find_hardware(device=device, processes=processes)
    try:
        torch = version("torch")
    except PackageNotFoundError as error:
        raise MissingExtraError("local", needed_for="a worker", missing="torch") from error
    size = "" if found.memory_gib is None else f", {found.memory_gib:.0f} GiB"
    count = "" if found.processes == 1 else f"{found.processes} x "
    return f"{count}{found.name}{size}; ftsdk {version('ftsdk')}, torch {torch}"


@functools.cache
def _cuda_devices() -> tuple[tuple[str, float, tuple[int, int]], ...]:
    """Return name, memory in GiB and compute capability of each visible device, from the driver."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return ()
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    found: list[tuple[str, float, tuple[int, int]]] = []
    for number in range(count.value):
        handle, size = ctypes.c_int(), ctypes.c_size_t()
        name = ctypes.create_string_buffer(128)
        major, minor = ctypes.c_int(), ctypes.c_int()
        cuda.cuDeviceGet(ctypes.byref(handle), number)
        cuda.cuDeviceGetName(name, 128, handle)
        cuda.cuDeviceTotalMem_v2(ctypes.byref(size), handle)
        cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, handle)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, handle)  # ..._MINOR
        found.append((name.value.decode("utf-8", "replace"), size.value / 2**30, (major.value, minor.value)))
    return tuple(found)


def _has_mps() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


@functools.cache
def _cpu_has_bfloat16() -> bool:
    """Return whether bfloat16 matrix products are native, and so about ten times as fast as in float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in flags for flag in ("amx_bf16", "avx512_bf16", " bf16"))


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return None
