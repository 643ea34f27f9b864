"""An exception in a worker becomes the diagnosis of its own kind."""

from __future__ import annotations

import pytest

from ftsdk import DatasetError
from ftsdk.backends.hosted.diagnosis import diagnose

CUDA = "CUDA error: {}\nCUDA kernel errors might be asynchronously reported at some other API call"


class AcceleratorError(RuntimeError):
    """As torch has it: any error of a device."""


class OutOfMemoryError(RuntimeError):
    """As torch has it."""


class DistBackendError(RuntimeError):
    """As torch has it."""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("out of memory", "out_of_memory"),
        ("device-side assert triggered", "device_assert"),
        ("an illegal memory access was encountered", "device_fault"),
        ("misaligned address", "device_fault"),
        ("unspecified launch failure", "device_fault"),
        ("uncorrectable ECC error encountered", "device_hardware"),
        ("uncorrectable NVLink error detected during the execution", "device_hardware"),
        ("CUDA driver version is insufficient for CUDA runtime version", "device"),
        ("no kernel image is available for execution on the device", "device"),
        ("CUDA-capable device(s) is/are busy or unavailable", "device"),
        ("invalid device ordinal", "device"),
        ("an error that nobody has seen", "device_error"),
    ],
)
def test_each_error_of_a_device_has_its_own_diagnosis(text: str, kind: str) -> None:
    found = diagnose(AcceleratorError(CUDA.format(text)), step=3)
    assert (found.kind, found.step, found.message) == (kind, 3, f"CUDA error: {text}")
    assert found.suggestions
    assert any("QLoRA" in tried for tried in found.suggestions) == (kind == "out_of_memory")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), "out_of_memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:1, unhandled system error"), "communication"),
        (RuntimeError("[gloo/transport/tcp/pair.cc:525] Connection closed by peer"), "communication"),
        (IndexError("index out of range in self"), "device_assert"),
        (RuntimeError("Found no NVIDIA driver on your system."), "device"),
        (KeyError("out of memory"), "crash"),
        (DatasetError("row 3 can't be read: 'we ran out of memory; CUDA error: no space left on device'"), "data"),
    ],
    ids=str,
)
def test_types_and_texts_of_other_libraries_are_told_apart(error: Exception, kind: str) -> None:
    assert diagnose(error, step=None).kind == kind


def test_the_first_cause_decides() -> None:
    error = DistBackendError("NCCL error: communicator was aborted")
    error.__context__ = OutOfMemoryError("CUDA out of memory.")
    assert diagnose(error, step=1).kind == "out_of_memory"
