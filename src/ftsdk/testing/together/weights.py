"""What a finished job offers for download: a folder that the caller gives, or a small adapter made without torch.

And hostile archives.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import random
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftsdk.testing.together.answers import Answer, Refusal, Request
from ftsdk.testing.together.jobs import Job

__all__ = ["Weights", "hostile_archive", "pack", "small_adapter"]

_ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_OWNERS = {"q_proj": "self_attn", "k_proj": "self_attn", "v_proj": "self_attn", "o_proj": "self_attn"}


def pack(files: Mapping[str, bytes] | Path, *, compression: str | None = None, top: str = "") -> tuple[bytes, str]:
    """Pack files as the service does.

    Args:
        files: Content by name, or a folder.
        compression: `"zst"` or `"gz"`; None: zst where the package `zstandard` is installed.
        top: A folder that the archive has them in.

    Returns:
        The archive and its content type.
    """
    if isinstance(files, Path):
        files = {
            path.relative_to(files).as_posix(): path.read_bytes() for path in sorted(files.rglob("*")) if path.is_file()
        }
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}/{name}" if top else name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return _compress(raw.getvalue(), compression)


def _compress(raw: bytes, compression: str | None) -> tuple[bytes, str]:
    if (compression or ("zst" if importlib.util.find_spec("zstandard") else "gz")) == "gz":
        return gzip.compress(raw, mtime=0), "application/x-tar"
    import zstandard

    return zstandard.ZstdCompressor().compress(raw), "application/zstd"


def hostile_archive(kind: str, *, compression: str | None = None) -> tuple[bytes, str]:
    """Make an archive that tries to get out of its folder.

    Args:
        kind: `parent` (`../evil.txt`), `absolute` (`/evil.txt`), `symlink` (a link to `..` and a file through it),
            `hardlink`, or `device`.
        compression: As in `pack`.

    Returns:
        The archive and its content type.
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for entry in _hostile_entries(kind):
            content = b"evil" if entry.isreg() else b""
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return _compress(raw.getvalue(), compression)


def _hostile_entries(kind: str) -> list[tarfile.TarInfo]:
    first = tarfile.TarInfo({"parent": "../evil.txt", "absolute": "/evil.txt"}.get(kind, "evil"))
    if kind == "symlink":
        first.type, first.linkname = tarfile.SYMTYPE, ".."
        return [first, tarfile.TarInfo("evil/evil.txt")]
    if kind == "hardlink":
        first.type, first.linkname = tarfile.LNKTYPE, "../../etc/passwd"
    elif kind == "device":
        first.type, first.devmajor, first.devminor = tarfile.CHRTYPE, 1, 3
    return [first]


def small_adapter(
    *,
    base: str,
    rank: int = 8,
    alpha: int = 16,
    dropout: float = 0.0,
    modules: tuple[str, ...] = _ALL,
    width: int = 32,
    layers: int = 2,
    seed: int = 0,
) -> dict[str, bytes]:
    """Make a LoRA adapter with random weights.

    With the default width and depth, it fits the model of `ftsdk.testing.build_tiny_model`, and loads with peft.

    Args:
        base: Id of the model that it says it belongs to.
        rank: Of the update.
        alpha: Of the update.
        dropout: As it is written into the configuration.
        modules: The last parts of the names of the layers.
        width: The model's.
        layers: The model's.
        seed: Of the weights.

    Returns:
        Content by file name.
    """
    sizes = dict.fromkeys(("q_proj", "o_proj"), (width, width)) | dict.fromkeys(
        ("k_proj", "v_proj"), (width // 2, width)
    )
    sizes |= dict.fromkeys(("gate_proj", "up_proj"), (2 * width, width)) | {"down_proj": (width, 2 * width)}
    tensors: dict[str, tuple[int, int]] = {}
    for layer in range(layers):
        for name in modules:
            out, into = sizes[name]
            prefix = f"base_model.model.model.layers.{layer}.{_OWNERS.get(name, 'mlp')}.{name}"
            tensors[f"{prefix}.lora_A.weight"] = (rank, into)
            tensors[f"{prefix}.lora_B.weight"] = (out, rank)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": rank, "lora_alpha": alpha,
        "lora_dropout": dropout, "target_modules": sorted(modules), "bias": "none",
        "fan_in_fan_out": False, "inference_mode": True,
    }  # fmt: skip
    return {
        "adapter_config.json": json.dumps(config, indent=2).encode(),
        "adapter_model.safetensors": _safetensors(tensors, seed),
    }


def _safetensors(shapes: Mapping[str, tuple[int, int]], seed: int) -> bytes:
    """Write tensors of small random numbers, in the format of safetensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    content = bytearray(random.Random(seed).randbytes(position))
    # The highest byte of each float32: all are then between 0.007 and 0.03.
    content[3::4] = b"\x3c" * (position // 4)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(content)


@dataclass(kw_only=True)
class Weights:
    """What is offered for download."""

    adapter: Path | None = None
    """A folder with a real adapter; None: `small_adapter`, as the job asked for it."""
    model: Path | None = None
    """A folder with a real whole model, for merged weights and full fine-tuning; None: a config and one tensor."""
    compression: str | None = None
    """As in `pack`."""
    top: str = ""
    """As in `pack`."""
    width: int = 32
    """For `small_adapter`: 40,000 makes an archive over 10 MB, which the client downloads in blocks."""
    layers: int = 2
    """Of `small_adapter`."""
    _made: dict[tuple[str, str, int], tuple[bytes, str]] = field(
        default_factory=dict[tuple[str, str, int], "tuple[bytes, str]"]
    )

    def download(self, job: Job, request: Request) -> Answer:
        """`GET /v1/finetune/download`, whole or in part."""
        step = int(request.query.get("checkpoint_step") or 0)
        kind = request.query.get("checkpoint", "")
        last = job.course.last_step
        if not kind and "checkpoint_step" not in request.query:
            raise Refusal(400, "checkpoint is required where checkpoint_step isn't set", param="checkpoint")
        if "checkpoint_step" in request.query:
            kind = "adapter" if job.is_lora else "model_output_path"
        if kind not in ("merged", "adapter", "model_output_path"):
            raise Refusal(400, f"unknown checkpoint {kind!r}", param="checkpoint")
        if not job.is_lora and kind != "model_output_path":
            raise Refusal(
                400, f"a full fine-tune has no checkpoint {kind!r}, only model_output_path", param="checkpoint"
            )
        if kind == "merged" and not job.offer.merges_lora:
            raise Refusal(404, f"no merged checkpoint is made for {job.offer.name}", param="checkpoint")
        if step in (0, last):
            step = last
            if job.status != "completed":
                raise Refusal(400, f"job {job.id} is {job.status}: it has no final model")
        elif step not in [saved for saved, _ in job.checkpoints]:
            raise Refusal(404, f"job {job.id} has no checkpoint of step {step}", param="checkpoint_step")
        content, content_type = self._archive(job, kind, step)
        return _part(content, content_type, request.headers.get("range", ""))

    def _archive(self, job: Job, kind: str, step: int) -> tuple[bytes, str]:
        key = (job.id, kind, step)
        if key not in self._made:
            self._made[key] = self._make(job, kind, step)
        return self._made[key]

    def _make(self, job: Job, kind: str, step: int) -> tuple[bytes, str]:
        if job.scenario.archive:
            return hostile_archive(job.scenario.archive, compression=self.compression)
        # The final model of a LoRA job, `model_output_path`, is the merged one where one is made.
        is_adapter = kind == "adapter" or (kind == "model_output_path" and job.is_lora and not job.offer.merges_lora)
        given = self.adapter if is_adapter else self.model
        return pack(
            given or (self._adapter(job, step) if is_adapter else _small_model()),
            compression=self.compression,
            top=self.top,
        )

    def _adapter(self, job: Job, step: int) -> dict[str, bytes]:
        asked = job.body.get("training_type") or {}
        named = asked.get("lora_trainable_modules", "all-linear")
        rank = asked.get("lora_r", job.offer.max_rank)
        return small_adapter(
            base=job.offer.name,
            rank=rank,
            alpha=asked.get("lora_alpha", 2 * rank),
            dropout=asked.get("lora_dropout", 0.0),
            modules=_ALL if named == "all-linear" else tuple(named.split(",")),
            width=self.width,
            layers=self.layers,
            seed=step,
        )


def _small_model() -> dict[str, bytes]:
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 256}
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": _safetensors({"model.embed_tokens.weight": (4, 8)}, 0),
    }


def _part(content: bytes, content_type: str, asked: str) -> Answer:
    """Return the part that `Range` asks for; the whole if it asks for none."""
    headers = {"Accept-Ranges": "bytes"}
    if not asked.startswith("bytes="):
        return Answer(body=content, content_type=content_type, headers=headers)
    first, _, final = asked.removeprefix("bytes=").partition("-")
    start = int(first or 0)
    end = min(int(final), len(content) - 1) if final else len(content) - 1
    if start >= len(content) or end < start:
        return Answer(status=416, headers={**headers, "Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
    return Answer(status=206, body=content[start : end + 1], content_type=content_type, headers=headers)
