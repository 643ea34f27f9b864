"""Random numbers that only the holder of a key can repeat: the noise of each step, and which rows it takes.

PyTorch's generator isn't enough. It would be seeded by the job's `seed`, which is published with the weights, and on a
CPU it has 32 bits of seed (2.13): who repeats the noise can subtract it. The key is drawn from the operating system
and is kept beside the run's checkpoints, with which it is removed. A step that is made again after a crash gets the
same noise and the same rows, and so gives nothing new away.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import numpy as np
import torch

from ftsdk._files import replace_file

__all__ = ["KeyedRandomness", "key_in"]

_KEY_BYTES = 32
_KEY_FILE = "privacy.key"


def key_in(folder: Path, *, is_new: bool) -> bytes | None:
    """Return the key of a run.

    Args:
        folder: Of the checkpoints.
        is_new: Draw a key if there is none.

    Returns:
        The key; None if there is none.
    """
    file = folder / _KEY_FILE
    if file.is_file():
        key = file.read_bytes()
        return key if len(key) == _KEY_BYTES else None
    if not is_new:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(_KEY_BYTES)
    replace_file(file, key)
    return key


class KeyedRandomness:
    """Numbers by key, purpose and place, from SHAKE-256; the same on every device."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def name(self) -> str:
        """What tells the key from others, and doesn't reveal it."""
        return hashlib.sha256(b"name of " + self._key).hexdigest()[:16]

    def uniform(self, count: int, *where: int | str) -> np.ndarray:
        """Return numbers above 0 and up to 1, of 53 random bits each, shape (count,)."""
        place = "/".join(map(str, where)).encode()
        stream = hashlib.shake_256(self._key + len(place).to_bytes(8, "big") + place).digest(8 * count)
        return ((np.frombuffer(stream, dtype="<u8") >> 11) + 1.0) * 2.0**-53

    def gaussian(self, like: torch.Tensor, *where: int | str) -> torch.Tensor:
        """Return standard normal numbers in the shape, type and place of a tensor, by Box and Muller's transform."""
        count = like.numel()
        half = (count + 1) // 2
        numbers = self.uniform(2 * half, *where)
        radius, angle = np.sqrt(-2.0 * np.log(numbers[:half])), 2.0 * np.pi * numbers[half:]
        both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
        return torch.from_numpy(both.astype(np.float32)).to(device=like.device, dtype=like.dtype).view_as(like)
