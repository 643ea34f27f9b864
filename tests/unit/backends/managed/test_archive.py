"""Archives from outside: nothing leaves the folder, nothing could run, nothing fills the disk."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from ftsdk.backends.managed.archive import publish, unpack
from ftsdk.errors import CorruptArtifactError
from ftsdk.runfolder.manifest import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

zstandard = pytest.importorskip("zstandard", reason="the extra 'together' isn't installed")

ADAPTER = {
    "adapter_config.json": json.dumps({"base_model_name_or_path": "/data/base", "r": 8}).encode(),
    "adapter_model.safetensors": b"\0" * 64,
}


def tar(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return stream.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def gz(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zst": lambda content: zstandard.ZstdCompressor().compress(content),
    "gz": gz,
    "tar": bytes,
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    return tmp_path


def everything_under(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize("top", ["", "./", "checkpoint-3/"])
def test_an_adapter_comes_out_whole_however_it_was_packed(packer: str, top: str, tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(PACKERS[packer](tar({f"{top}{name}": content for name, content in ADAPTER.items()})))
    assert unpack(archive, tmp_path / "unpacked") == []
    manifest = publish(
        tmp_path / "unpacked", tmp_path / "artifact", kind="adapter", base="Qwen/Qwen3.5-9B", facts={"job": "ft-1"}
    )
    assert verify(tmp_path / "artifact") == manifest
    assert manifest["files"].keys() == ADAPTER.keys()
    assert (manifest["kind"], manifest["base"], manifest["job"]) == ("adapter", "Qwen/Qwen3.5-9B", "ft-1")
    config = json.loads((tmp_path / "artifact" / "adapter_config.json").read_bytes())
    assert config == {"base_model_name_or_path": "Qwen/Qwen3.5-9B", "r": 8}
    assert manifest["base_named_by_service"] == "/data/base"


@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize(
    ("files", "extra"),
    [
        ({"../evil": b"x"}, ()),
        ({"a/../../evil": b"x"}, ()),
        ({"/etc/evil": b"x"}, ()),
        ({"C:\\evil": b"x"}, ()),
        ({"..\\evil": b"x"}, ()),
        ({}, (special("link", tarfile.SYMTYPE, "/etc/passwd"),)),
        ({}, (special("link", tarfile.LNKTYPE, "../../etc/passwd"),)),
        ({}, (special("dev", tarfile.CHRTYPE),)),
        ({}, (special("pipe", tarfile.FIFOTYPE),)),
        ({}, (special("..", tarfile.DIRTYPE),)),
        ({"bad\nname": b"x"}, ()),
    ],
)
def test_an_archive_that_could_reach_outside_is_refused_whole(
    packer: str, files: dict[str, bytes], extra: tuple[Any, ...], outside: Path
) -> None:
    archive = outside / "adapter"
    archive.write_bytes(PACKERS[packer](tar({**ADAPTER, **files}, *extra)))
    before = everything_under(outside)
    with pytest.raises(CorruptArtifactError, match="nothing of it is used"):
        unpack(archive, outside / "a" / "b" / "unpacked")
    after = {name for name in everything_under(outside) if not name.startswith("a/b/unpacked/")}
    assert after == before
    assert not [path for path in (outside / "a").rglob("*") if path.is_symlink()]


def test_a_file_that_comes_twice_is_refused_also_in_other_letters(tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(tar({"Model.safetensors": b"1", "model.safetensors": b"2"}))
    with pytest.raises(CorruptArtifactError, match="twice"):
        unpack(archive, tmp_path / "unpacked")


def test_a_bomb_is_stopped_before_it_fills_the_disk(tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(gz(tar({"zeros.safetensors": b"\0" * 2_000_000})))
    with pytest.raises(CorruptArtifactError, match="far more"):
        unpack(archive, tmp_path / "unpacked", max_bytes=1_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "unpacked").rglob("*") if path.is_file()) == 0


@pytest.mark.parametrize("packer", sorted(PACKERS))
def test_half_an_archive_is_no_archive(packer: str, tmp_path: Path) -> None:
    import random

    content = PACKERS[packer](tar({**ADAPTER, "big.safetensors": random.Random(0).randbytes(300_000)}))
    archive = tmp_path / "adapter"
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptArtifactError, match="downloads it anew"):
        unpack(archive, tmp_path / "unpacked")


def test_files_that_could_run_are_left_out_and_named(tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(
        tar({**ADAPTER, "training_args.bin": b"pickle", "modeling.py": b"import os", "optimizer.pt": b"pickle"})
    )
    assert unpack(archive, tmp_path / "unpacked") == ["training_args.bin", "modeling.py", "optimizer.pt"]
    assert everything_under(tmp_path / "unpacked") == set(ADAPTER)


@pytest.mark.parametrize("missing", sorted(ADAPTER))
def test_an_adapter_without_its_parts_is_no_artifact(missing: str, tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(
        tar({name: content for name, content in ADAPTER.items() if name != missing} | {"README.md": b"hello"})
    )
    unpack(archive, tmp_path / "unpacked")
    with pytest.raises(CorruptArtifactError, match=r"README\.md"):
        publish(tmp_path / "unpacked", tmp_path / "artifact", kind="adapter", base="b", facts={})
    assert not (tmp_path / "artifact" / "manifest.json").exists()


def header(kind: bytes, name: str, size: int) -> bytes:
    info = special(name, kind)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(**records: str) -> bytes:
    info = tarfile.TarInfo("weights.safetensors")
    info.pax_headers = records
    return info.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (header(tarfile.DIRTYPE, "d", 0) * 20_001, "20,000 files and folders"),
        (header(tarfile.GNUTYPE_LONGNAME, "x", 1 << 30) + b"a" * (1 << 20), "256 KiB of headers"),
        (header(tarfile.GNUTYPE_LONGLINK, "x", 1 << 30) + b"a" * (1 << 20), "256 KiB of headers"),
        (header(tarfile.XHDTYPE, "x", 1 << 30) + b"13 k000000=a\n" * 80_000, "256 KiB of headers"),
        (header(tarfile.XGLTYPE, "x", 1 << 30) + b"13 k000000=a\n" * 80_000, "256 KiB of headers"),
        (header(tarfile.GNUTYPE_LONGNAME, "x", 512) * 2000, "256 KiB of headers|RecursionError"),
        (pax(path="x" * 2000), "too long or too deep"),
        (pax(path="d/" * 40 + "x"), "too long or too deep"),
        (pax(size="-1"), "negative|can't be unpacked"),
        (pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 20}), "sparse|unpacked"),
        (pax(path="\x1b[31m"), "outside of the folder"),
    ],
)
def test_a_bomb_of_headers_or_names_is_refused_early(first: bytes, why: str, tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(zstandard.ZstdCompressor().compress(first + tar(ADAPTER)))
    with pytest.raises(CorruptArtifactError, match=why) as found:
        unpack(archive, tmp_path / "unpacked")
    assert len(str(found.value)) < 500
    assert "\x1b" not in str(found.value)


def test_names_that_differ_in_how_an_accent_is_written_are_one(tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(tar({"\u00e9.json": b"1", "e\u0301.json": b"2"}))
    with pytest.raises(CorruptArtifactError, match="twice"):
        unpack(archive, tmp_path / "unpacked")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = bytearray(tar({**ADAPTER, "last.safetensors": b"1"}))
    place = content.index(b"last.safetensors")
    content[place + 150] ^= 1
    archive = tmp_path / "adapter"
    archive.write_bytes(bytes(content))
    with pytest.raises(CorruptArtifactError, match="damaged header"):
        unpack(archive, tmp_path / "unpacked")


def test_a_config_without_end_is_not_read(tmp_path: Path) -> None:
    archive = tmp_path / "adapter"
    archive.write_bytes(tar({**ADAPTER, "adapter_config.json": b"[" * (5 << 20)}))
    unpack(archive, tmp_path / "unpacked")
    with pytest.raises(CorruptArtifactError, match="larger than any"):
        publish(tmp_path / "unpacked", tmp_path / "artifact", kind="adapter", base="b", facts={})
