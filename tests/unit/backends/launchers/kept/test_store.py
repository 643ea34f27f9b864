"""An object store, through the client of S3."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from s3_stand_in import S3StandIn

from ftsdk.backends.launchers.kept.store import Store
from ftsdk.errors import BackendError, CredentialsError, MissingExtraError, SpecError


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3StandIn]:
    s3fs = pytest.importorskip("s3fs", reason="the extra 's3' isn't installed")
    with S3StandIn() as service:
        for name, value in service.env.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield service
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        request.getfixturevalue("s3")
        return Store(f"s3://bucket-{tmp_path.name.replace('_', '-')}/runs/r")
    return Store((tmp_path / "kept" / "runs" / "r").as_uri())


def test_objects_are_written_read_listed_and_removed(store: Store, tmp_path: Path) -> None:
    assert store.read("events.jsonl") is None
    assert store.sizes() == {}
    assert store.modified_at("events.jsonl") is None
    store.write("events.jsonl", b"0123456789")
    assert [store.read("events.jsonl", start=start) for start in (0, 4, 10, 12)] == [b"0123456789", b"456789", b"", b""]
    (tmp_path / "weights").write_bytes(b"w" * 1000)
    store.upload(tmp_path / "weights", "checkpoints/checkpoint-3/deep/weights")
    assert store.sizes() == {"events.jsonl": 10, "checkpoints/checkpoint-3/deep/weights": 1000}
    assert store.sizes("checkpoints") == {"checkpoint-3/deep/weights": 1000}
    store.download("checkpoints/checkpoint-3/deep/weights", tmp_path / "back" / "weights")
    assert (tmp_path / "back" / "weights").read_bytes() == b"w" * 1000
    with pytest.raises(FileNotFoundError):
        store.download("checkpoints/none", tmp_path / "none")
    # What another machine writes is seen at once.
    other = Store(store.address)
    other.write("events.jsonl", b"0123456789ab")
    assert store.sizes()["events.jsonl"] == 12
    assert store.modified_at("events.jsonl") is not None
    store.remove("events.jsonl", "none")
    assert store.read("events.jsonl") is None
    assert list(store.sizes()) == ["checkpoints/checkpoint-3/deep/weights"]


def test_a_store_that_lets_nobody_in_says_so_without_keys(s3: S3StandIn) -> None:
    s3.refuses = True
    with pytest.raises(CredentialsError, match="refuses access") as caught:
        Store("s3://bucket/runs/refused").write("x", b"")
    assert "S3cret" not in str(caught.value)


def test_a_store_that_is_away_is_asked_again_later(s3: S3StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(BackendError, match="the storage doesn't answer") as caught:
        Store("s3://bucket/runs/away").write("x", b"")
    assert caught.value.retryable
    del s3


def test_a_storage_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by `from fsspec import registry`, which is a table.
    known = import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"ftsdk\[s3\]"):
        Store("s3://bucket/runs/r")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(SpecError, match="needs gcsfs"):
        Store("gs://bucket/runs/r")
    with pytest.raises(SpecError, match="isn't known to fsspec"):
        Store("nope://bucket/runs/r")
