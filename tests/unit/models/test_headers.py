"""Headers of weight files: read without a tensor, and never believed beyond the file."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftsdk.errors import ModelError
from ftsdk.models.headers import GgufHeader, SafetensorsHeader, read_gguf_header, read_safetensors_header


def safetensors_bytes(tensors: dict[str, tuple[int, ...]]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in tensors.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_bytes() -> bytes:
    fields = [
        gguf_string("general.architecture") + struct.pack("<I", 8) + gguf_string("llama"),
        gguf_string("llama.context_length") + struct.pack("<II", 4, 2048),
        gguf_string("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", 9, 8, 3)
        + gguf_string("a")
        + gguf_string("b")
        + gguf_string("c"),
        gguf_string("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 3) + bytes(12),
    ]
    tensors = [
        gguf_string("token_embd.weight") + struct.pack("<IQQIQ", 2, 8, 3, 0, 0),
        gguf_string("output_norm.weight") + struct.pack("<IQIQ", 1, 8, 0, 96),
    ]
    return (
        b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields) + b"".join(tensors) + bytes(160)
    )


def count_or_refuse(read: Callable[[Path], SafetensorsHeader | GgufHeader], file: Path) -> int:
    """Give the count, or 0 for a file that was refused as a model error; any other error gets through."""
    try:
        return read(file).parameters
    except ModelError:
        return 0


def test_a_safetensors_header_counts_the_numbers_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors_bytes({"a": (3, 4), "b": (5,), "scalar": ()}))

    header = read_safetensors_header(file)

    assert header.parameters == 18
    assert header.dtypes == {"BF16"}


def test_a_cut_safetensors_file_is_refused_with_both_sizes(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors_bytes({"a": (3, 4)})[:-1])

    with pytest.raises(ModelError, match=r"model\.safetensors is truncated: .* bytes are there"):
        read_safetensors_header(file)


def test_a_git_lfs_pointer_in_place_of_weights_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 269060552\n")

    with pytest.raises(ModelError, match="git lfs pull"):
        read_safetensors_header(file)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.one_of(
        st.binary(max_size=60),
        st.just(b"[]"),
        st.just(b'{"a":{}}'),
        st.just(b'{"a":1}'),
        st.just(b'{"a":{"shape":["x"]}}'),
    )
)
def test_no_bytes_in_a_safetensors_header_raise_anything_but_a_model_error(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)

    assert count_or_refuse(read_safetensors_header, file) >= 0


def test_a_gguf_header_gives_sizes_and_counts_the_numbers_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf_bytes())

    header = read_gguf_header(file)

    assert header.architecture == "llama"
    assert header.size_of("context_length") == 2048
    assert header.size_of("block_count") is None
    assert header.fields["tokenizer.ggml.tokens"] == 3
    assert header.parameters == 32
    assert header.tensor_names == {"token_embd.weight", "output_norm.weight"}


def test_a_gguf_file_cut_anywhere_is_a_model_error(tmp_path: Path) -> None:
    whole = gguf_bytes()
    header_end = len(whole) - 160
    for length in range(header_end + 1):
        file = tmp_path / "model.gguf"
        file.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"model\.gguf is (truncated|not a GGUF)"):
            read_gguf_header(file)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(4, len(gguf_bytes()) - 161), value=st.integers(0, 255))
def test_a_damaged_byte_in_a_gguf_header_raises_nothing_but_a_model_error(
    tmp_path: Path, position: int, value: int
) -> None:
    damaged = bytearray(gguf_bytes())
    damaged[position] = value
    file = tmp_path / "model.gguf"
    file.write_bytes(damaged)

    assert count_or_refuse(read_gguf_header, file) >= 0


def test_another_gguf_version_is_refused_by_number(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 9, 0, 0))

    with pytest.raises(ModelError, match="GGUF version 9"):
        read_gguf_header(file)


@pytest.mark.parametrize(
    "shape",
    [
        "[1e999]",
        "[-5000000000]",
        "[" + "9" * 400 + "]",
        "[9007199254740993]",
        "[true]",
        "[" + "1," * 20 + "1]",
        '["4"]',
        "[1.5]",
    ],
)
def test_sizes_that_no_tensor_has_are_a_model_error(tmp_path: Path, shape: str) -> None:
    header = f'{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}}}'.encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_safetensors_header(file)


def test_a_header_nested_too_deep_is_a_model_error(tmp_path: Path) -> None:
    header = b"[" * 100_000
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelError, match="isn't JSON"):
        read_safetensors_header(file)


def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        for read in (read_safetensors_header, read_gguf_header):
            with pytest.raises(ModelError, match="not a regular file"):
                read(tmp_path / name)
