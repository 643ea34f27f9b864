"""Arrays that are appended to and, beyond a limit, held in a file that is mapped into memory."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from ftsdk.data.batches import nameless_file
from ftsdk.data.limits import LIMITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ArrayWriter"]


class ArrayWriter:
    """Collects numbers. More than `LIMITS.memory_bytes` of them go to a file that has no name and is mapped."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: list[NDArray[np.uint64]] = []
        self._bytes = 0
        self._file: Any = None

    def add(self, numbers: NDArray[np.uint64]) -> None:
        """Append numbers.

        Raises:
            OSError: The disk is full.
        """
        self._bytes += numbers.nbytes
        if self._file is not None:
            self._file.write(numbers.data)
            return
        self._parts.append(numbers)
        if self._bytes > LIMITS.memory_bytes:
            self._file = nameless_file()
            for part in self._parts:
                self._file.write(part.data)
            self._parts = []

    def finish(self) -> NDArray[np.uint64]:
        """Return all numbers in one array, which can't be written to if it is mapped."""
        import numpy as np

        if self._file is None:
            return np.concatenate([np.empty(0, dtype=np.uint64), *self._parts])
        with self._file as file:
            file.flush()
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint64)
