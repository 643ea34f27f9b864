"""Archives from outside: whole and inside their folder, or refused with an error of ours, within limits."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fuzzing import FuzzCases, limits

from ftsdk.backends.managed.archive import publish, unpack
from ftsdk.errors import FtsdkError

zstandard: Any = pytest.importorskip("zstandard", reason="the extra 'together' isn't installed")
pytestmark = pytest.mark.fuzz

GOOD = {
    "adapter_config.json": b'{"r": 8, "base_model_name_or_path": "x"}',
    "adapter_model.safetensors": b"\0" * 3000,
    "sub/tokenizer.json": b"{}",
}
MAX_BYTES = 4 << 20
TYPES = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
TYPES += [tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"Z"]
TYPES += [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.AREGTYPE]
NAMES = ["../x", "/x", "a/../../x", "..", ".", "", "a\0b", "C:x", "a\\b", "x" * 300, "d/" * 60 + "x", "é", "\x1b[31m"]
NAMES += ["adapter_config.json", "ADAPTER_CONFIG.JSON", "sub", "sub/tokenizer.json/x", "run.py", "w.bin", "x" * 5000]


def test_a_malformed_archive_is_unpacked_whole_or_refused(fuzz_cases: FuzzCases, tmp_path: Path) -> None:
    ends: Counter[str] = Counter()
    for rng in fuzz_cases:
        work = tmp_path / "work"
        work.mkdir()
        (work / "archive").write_bytes(_archive(rng))
        with limits(seconds=30, mib=96):
            ends[_unpacked(work)] += 1
        assert {path.name for path in tmp_path.iterdir()} == {"work"}
        assert {path.name for path in work.iterdir()} <= {"archive", "out", "artifact"}
        shutil.rmtree(work)
    sys.stdout.write(f"{dict(ends)}\n")  # shown by -s
    assert sum(ends.values()) == fuzz_cases.count


def _unpacked(work: Path) -> str:
    out = work / "out"
    try:
        unpack(work / "archive", out, max_bytes=MAX_BYTES)
        found = sorted(out.rglob("*"))
        assert not any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in found)
        assert sum(path.stat().st_size for path in found if path.is_file()) <= MAX_BYTES
        publish(out, work / "artifact", kind="adapter", base="base", facts={})
    except FtsdkError as error:
        failure = error
    else:
        return "whole"
    assert len(str(failure)) < 2000
    return type(failure).__name__


def _archive(rng: random.Random) -> bytes:
    stream = io.BytesIO()
    formats = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]
    with tarfile.open(fileobj=stream, mode="w", format=rng.choice(formats)) as tar:
        for name, content in GOOD.items():
            info = tarfile.TarInfo(rng.choice(["", "", "./", "checkpoint/"]) + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    tar_bytes = stream.getvalue()
    head, end = tar_bytes.rstrip(b"\0"), b"\0" * 1024
    head += b"\0" * (-len(head) % 512)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])):
        head = rng.choice([head + _member(rng), _member(rng) + head])
    content = head + end
    if rng.random() < 0.3:
        content = _damaged(rng, content)
    packed = rng.choice([bytes, gzip.compress, zstandard.ZstdCompressor().compress])(content)
    return _damaged(rng, packed) if rng.random() < 0.2 else packed


def _member(rng: random.Random) -> bytes:
    """Return a member that no archive of weights has."""
    kind = rng.random()
    if kind < 0.05:
        return _header(rng, tarfile.DIRTYPE, "d", 0) * rng.choice([100, 30_000])
    if kind < 0.12:
        size = rng.choice([1 << 20, 20 << 20])
        return _header(rng, rng.choice([b"L", b"K", b"x", b"g"]), "././@LongLink", size) + b"a" * size
    if kind < 0.2:
        return _header(rng, rng.choice([b"L", b"x", b"g"]), "x", 512) * rng.choice([10, 3000])
    if kind < 0.35:
        return _pax(rng)
    if kind < 0.4:
        size = 8 << 20
        return _header(rng, b"0", "zeros.safetensors", size) + b"\0" * size
    size = rng.choice([0, 0, 10, 512, 10**6, 2**33, 2**60])
    return _header(rng, rng.choice([*TYPES, b"0", b"0"]), rng.choice(NAMES), size) + rng.randbytes(min(size, 512))


def _pax(rng: random.Random) -> bytes:
    keys = ["path", "size", "linkpath", "mtime", "hdrcharset", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major"]
    keys += ["GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize", "uid", "x"]
    values = ["../x", "-1", "0", "1", "9" * 40, "9" * 5000, "nan", "0,5,1", "", "\0", "é", "BINARY", "x" * 2000]
    records = b""
    for _ in range(rng.choice([1, 2, 50])):
        record = f" {rng.choice(keys)}={rng.choice(values)}\n".encode()
        length = len(record) + 1
        while len(str(length)) + len(record) != length:
            length = len(str(length)) + len(record)
        records += str(length if rng.random() < 0.9 else rng.choice([0, 5, 10**9])).encode() + record
    body = records + b"\0" * (-len(records) % 512)
    return _header(rng, rng.choice([b"x", b"x", b"g"]), "pax", len(records)) + body + _header(rng, b"0", "f", 0)


def _header(rng: random.Random, kind: bytes, name: str, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    info.linkname = rng.choice(["", "../../x", "/etc/passwd"])
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw = name.encode("utf-8", "replace")[:100]
    block[:100] = raw + b"\0" * (100 - len(raw))
    if rng.random() < 0.1:
        block[124:136] = rng.choice([b"\xff" * 12, b"-0000000001\0", b"\x80" + b"\xff" * 11, b"zzzzzzzzzzz\0"])
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _damaged(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return rng.choice(
        [
            lambda: content[:place],
            lambda: content[:place] + rng.randbytes(4) + content[place + 4 :],
            lambda: content[:place] + content[:512] + content[place:],
            lambda: content + rng.randbytes(700),
        ]
    )()
