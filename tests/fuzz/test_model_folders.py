"""Malformed model folders, adapters and GGUF files: each ends in an error of ours or in facts and a tokenizer."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import FuzzCases, Tally, limits

from ftsdk import Dataset, FineTuneJob
from ftsdk.errors import FtsdkError
from ftsdk.models import (
    ModelFacts,
    embedding_rows_of,
    eos_token_ids,
    has_own_embeddings,
    inspect_model,
    load_model,
    load_tokenizer,
    materialize,
    max_length_of,
)
from ftsdk.spec import Model

for _name in ("torch", "transformers", "peft"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")
pytestmark = pytest.mark.fuzz

VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**400, 0.5, float("nan"), float("inf"), "", "x", "llama", "../x",
    "\ud800", "\x1b[2J", "x" * 5000, [], [None], ["x"], [[1]], [1, 2], {}, {"x": None}, {"": []},
    {"content": "<|x|>", "special": True},
)  # fmt: skip
PIECES = (b'"', b",", b"{", b"}", b"[", b"]", b":", b"null", b"NaN", b"1e999", b"9" * 5000, b"\xff", b"\0")
PIECES += (b"\xef\xbb\xbf", b"[" * 5000, b'{"a":' * 5000, b"version https://git-lfs.github.com/spec/v1\n", b"}{")
JSON_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
JSON_FILES += ("adapter_config.json", "model.safetensors.index.json")
ROWS = Dataset.from_rows([{"prompt": f"q{n}", "completion": "b"} for n in range(4)])


def test_a_malformed_model_is_refused_or_read(
    fuzz_cases: FuzzCases, tiny_model: Path, tmp_path: Path, ftsdk_home: Path, torch_is_loaded: None
) -> None:
    tally, errors = Tally("model folders"), Counter[str]()
    adapter = _adapter(tiny_model, tmp_path / "good")
    for rng in fuzz_cases:
        work = tmp_path / "work"
        model = _malformed(rng, tiny_model, adapter, work)
        with limits(seconds=30, mib=400) as used:
            try:
                _use(model)
            except FtsdkError as error:
                failure: FtsdkError | None = error
                tally.refused += 1
            else:
                failure = None
                tally.read += 1
        if failure is not None:
            assert len(str(failure)) < 3000
            errors[type(failure).__name__] += 1
        tally.add(used)
        shutil.rmtree(work)
    tally.show()
    print(dict(errors))  # noqa: T201 - shown by -rP


def _use(model: Model) -> None:
    """Do what a run does with a model, up to its first step."""
    failures: list[FtsdkError] = []
    steps: list[Callable[[], object]] = [
        lambda: _inspected(model),
        lambda: FineTuneJob(model=model, train=ROWS).plan(),
        lambda: _tokenised(model),
        lambda: load_model(model, device="cpu", dtype="float32"),
    ]
    for step in steps:
        try:
            step()
        except FtsdkError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _inspected(model: Model) -> ModelFacts:
    facts = inspect_model(model)
    assert facts.parameters is None or facts.parameters >= 0
    if model.adapter is not None:
        has_own_embeddings(model.adapter)
    return facts


def _tokenised(model: Model) -> None:
    tokenizer = load_tokenizer(model)
    assert all(type(token) is int for token in eos_token_ids(tokenizer, materialize(model)))
    rows = embedding_rows_of(model)
    assert rows is None or 0 <= tokenizer.pad_token_id < rows
    length = max_length_of(model, tokenizer)
    assert length is None or length > 0
    FineTuneJob(model=model, train=ROWS).preview()


def _adapter(base: Path, into: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    plain = load_model(Model(id=str(base)), dtype="float32", device="cpu")
    get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])).save_pretrained(str(into))
    return into


def _malformed(rng: random.Random, base: Path, adapter: Path, work: Path) -> Model:
    """Write a model, or a model and an adapter, of which a few files are damaged."""
    work.mkdir()
    if rng.random() < 0.15:
        (work / "model.gguf").write_bytes(_mutated(_gguf(rng), rng))
        return Model(id=str(work / "model.gguf"))
    folder = Path(shutil.copytree(base, work / "model"))
    with_adapter = rng.random() < 0.25
    target = Path(shutil.copytree(adapter, work / "adapter")) if with_adapter else folder
    if rng.random() < 0.2:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        names = _header(folder / "model-00001-of-00001.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        path = rng.choice(sorted(target.iterdir()))
        if not path.is_file():
            continue
        if path.suffix == ".safetensors":
            _damage_weights(path, rng)
        elif path.suffix == ".json" and rng.random() < 0.75:
            _change_json(path, rng)
        else:
            path.write_bytes(_mutated(path.read_bytes(), rng))
        if rng.random() < 0.05:
            path.unlink()
            if rng.random() < 0.5:
                path.mkdir()
    return Model(id=str(folder), adapter=str(target) if with_adapter else None)


def _change_json(path: Path, rng: random.Random) -> None:
    """Give a key, at any depth, another value, another name or none."""
    try:
        content: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # damaged already
        return
    inner, keys = content, [0]
    while isinstance(inner, dict | list) and inner:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = rng.choice(keys)
        if not isinstance(inner[key], dict | list) or not inner[key] or rng.random() < 0.5:
            if rng.random() < 0.2:
                del inner[key]
            else:
                inner[key] = rng.choice(VALUES)
            break
        inner = inner[key]
    path.write_text(json.dumps(rng.choice(VALUES) if rng.random() < 0.03 else content))


def _header(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])


def _damage_weights(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    if rng.random() < 0.3:
        path.write_bytes(_mutated(content[:4096], rng) + content[4096:])
        return
    length = struct.unpack("<Q", content[:8])[0]
    try:
        header: Any = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):  # damaged already
        return
    entry = header[rng.choice(sorted(header))]
    if isinstance(entry, dict) and entry:
        entry[rng.choice(sorted(entry))] = rng.choice((*VALUES, "F64", "I4", [2**40, 2**40], [0, 2**60], [10, 4], [-1]))
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + length :])


def _gguf(rng: random.Random) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    sizes = {"llama.block_count": 2, "llama.embedding_length": 8, "llama.attention.head_count": 2}
    sizes |= {"llama.context_length": 64, "llama.feed_forward_length": 16, "llama.vocab_size": 4}
    fields = [text("general.architecture") + struct.pack("<I", 8) + text(rng.choice(("llama", "llama", "x", "")))]
    fields += [
        text(key) + struct.pack("<II", 4, rng.choice((size, size, size, 0, 2**32 - 1))) for key, size in sizes.items()
    ]
    fields.append(
        text("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", 9, 8, 4)
        + b"".join(text(word) for word in ("a", "b", "", "d"))
    )
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 8, rng.choice((4, 4, 0, 2**40)), 0, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(fields)) + b"".join(fields) + tensor + b"\0" * 256


def _mutated(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(4)):
        at, other = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        content = rng.choice(
            (
                content[:at] + rng.choice(PIECES) + content[at:],
                content[:at] + content[other:],
                content[:other],
                content[:at] + rng.randbytes(1) + content[at + 1 :],
                content[:at] + struct.pack("<Q", rng.choice((0, 2**31, 2**63))) + content[at + 8 :],
            )
        )
    return content
