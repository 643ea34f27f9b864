"""Errors of GPUs, drivers and collectives, told apart by type and text. Pure; no torch is imported."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DeviceError", "find_device_error"]

_RESUME = "resume from the last checkpoint: Run.open(ref).wait()"
_BLOCKING = "CUDA_LAUNCH_BLOCKING=1 in the worker's environment makes the traceback name the operation"


class DeviceError(NamedTuple):
    """One kind of failure and how it is recognised."""

    kind: str
    """The `kind` of the diagnosis."""
    words: tuple[str, ...]
    """Parts of the error's text, in lower case."""
    suggestions: tuple[str, ...]
    types: tuple[str, ...] = ()
    """Names of exception classes that mean this whatever their text is."""


_ERRORS = (
    DeviceError(
        "device_hardware",
        (
            "ecc error",
            "uncorrectable nvlink",
            "nvlink error",
            "fallen off the bus",
            "gpu is lost",
            "hardware stack error",
            "row remap",
            "contained error",
        ),
        (
            f"{_RESUME}, on another GPU if it fails again",
            "nvidia-smi -q -d ECC,ROW_REMAPPER and the system's log (Xid messages) show the state of this GPU",
        ),
    ),
    DeviceError(
        "device_assert",
        (
            "device-side assert",
            "index out of range in self",
            "cudaerrorassert",
            "indexselectlargeindex",
            "indexing.cu",
            "target out of bounds",
            "target -1 is out of bounds",
        ),
        (
            "a token id outside of the embedding is the usual cause: compare len(tokenizer) with vocab_size",
            'run a few steps with backend=Local(device="cpu"), where the message names the index',
            _BLOCKING,
        ),
    ),
    DeviceError(
        "device_fault",
        (
            "illegal memory access",
            "misaligned address",
            "illegal instruction was encountered",
            "illegal address",
            "invalid program counter",
            "unspecified launch failure",
            "launch timed out",
            "cublas_status_execution_failed",
            "cudnn_status_execution_failed",
            "hip error: unspecified",
        ),
        (
            _RESUME,
            "a newer PyTorch or driver: a kernel of one of the libraries is the usual cause",
            _BLOCKING,
        ),
    ),
    DeviceError(
        "out_of_memory",
        (
            "out of memory",
            "not enough memory",
            "can't allocate memory",
            "cannot allocate memory",
            "cublas_status_alloc_failed",
            "cudnn_status_alloc_failed",
            "cusparse_status_alloc_failed",
            "cudaerrormemoryallocation",
        ),
        (
            "QLoRA() in place of LoRA(): the frozen weights take a quarter of the memory",
            "a smaller max_length=: memory grows with the longest row",
            "a smaller batch_size=, if it is below the number of devices times the accumulation already",
        ),
        ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError"),
    ),
    DeviceError(
        "device",
        (
            "driver version is insufficient",
            "no cuda-capable device",
            "no nvidia driver",
            "found no nvidia driver",
            "no cuda gpus are available",
            "no hip gpus are available",
            "torch not compiled with cuda",
            "no kernel image is available",
            "unsupported toolchain",
            "forward compatibility was attempted",
            "system not yet initialized",
            "system has unsupported display driver",
            "driver/library version mismatch",
            "mps support binary",
            "invalid device ordinal",
            "busy or unavailable",
            "cuda initialization",
            "cuda unknown error",
            "driver shutting down",
            "cudnn_status_not_initialized",
            "cublas_status_not_initialized",
            "cublas_status_arch_mismatch",
        ),
        (
            "nvidia-smi shows whether the driver sees the GPU and who uses it",
            "install a PyTorch build that matches this GPU and its driver (https://pytorch.org/get-started)",
            'or choose the CPU: backend=Local(device="cpu")',
        ),
    ),
    DeviceError(
        "communication",
        (
            "nccl error",
            "nccl communicator",
            "ncclsystemerror",
            "ncclinternalerror",
            "ncclunhandledcudaerror",
            "ncclremoteerror",
            "ncclinvalidusage",
            "collective operation timeout",
            "connection closed by peer",
            "connectfullmesh failed",
            "gloo/transport",
            "watchdog caught",
            "wait timeout",
            "client socket has timed out",
            "server socket has failed to listen",
        ),
        (
            _RESUME,
            "NCCL_DEBUG=INFO in the worker's environment writes the cause into worker.log",
            "check that the processes reach each other: firewall, NCCL_SOCKET_IFNAME, size of /dev/shm in containers",
        ),
        ("DistBackendError", "DistNetworkError", "DistStoreError"),
    ),
    DeviceError(
        "device_error",
        ("cuda error:", "cuda runtime error", "cuda driver error", "hip error:", "mps backend", "cublas_status_"),
        ("the message is the device's own: see worker.log", _BLOCKING, _RESUME),
        ("AcceleratorError",),
    ),
)
"""In order: a text that fits several kinds is of the first, the more particular one.

Sources: `cudaGetErrorString` (docs.nvidia.com/cuda/cuda-runtime-api, error types), `c10/cuda/CUDAException.cpp` and
`torch/csrc/distributed/c10d/NCCLUtils.hpp` of PyTorch 2.13, read 2026-11-27.
"""

_RAISED_BY_DEVICES = ("RuntimeError", "OSError", "IndexError", "MemoryError")
"""Classes, and their subclasses, whose text is looked at; another error may quote a row that has such words."""


def find_device_error(error: BaseException) -> DeviceError | None:
    """Return what an exception says about the device, or None if it isn't about one."""
    names = {base.__name__ for base in type(error).__mro__}
    by_type = next((known for known in _ERRORS if names & set(known.types)), None)
    if not names & set(_RAISED_BY_DEVICES):
        return by_type
    text = str(error).lower()
    by_text = next((known for known in _ERRORS if any(words in text for words in known.words)), None)
    return by_text or by_type
