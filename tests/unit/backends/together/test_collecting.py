"""Weights come whole or not at all, over any number of tries."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from ftsdk import FullFineTune, LoRA, RunRef, Together
from ftsdk.errors import BackendError, CorruptArtifactError, RunNotReadyError, SpecError
from ftsdk.runfolder.manifest import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ftsdk.spec import JobSpec
    from ftsdk.testing.together import TogetherService

DOWNLOAD = "GET /v1/finetune/download"


@pytest.fixture
def finish(service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec]) -> Callable[..., RunRef]:
    def finish(**changes: object) -> RunRef:
        ref = backend.submit(backend.plan(make_spec(**changes)), key="k")
        while not backend.status(ref).is_terminal:
            pass
        return ref

    return finish


def test_lora_gives_an_adapter_of_the_hubs_model(
    backend: Together, finish: Callable[..., RunRef], tmp_path: Path
) -> None:
    artifact = backend.collect(finish(tuning=LoRA(rank=4)), tmp_path / "artifact")
    assert (artifact.kind, artifact.base) == ("adapter", "Qwen/Qwen3.5-9B")
    assert artifact.manifest["training"]["lora_r"] == 4
    assert verify(tmp_path / "artifact")["files"].keys() == {"adapter_config.json", "adapter_model.safetensors"}


def test_full_fine_tuning_gives_a_whole_model(
    service: TogetherService, backend: Together, finish: Callable[..., RunRef], tmp_path: Path
) -> None:
    artifact = backend.collect(finish(tuning=FullFineTune()), tmp_path / "artifact")
    assert artifact.kind == "model"
    assert verify(tmp_path / "artifact")["files"].keys() == {"config.json", "model.safetensors"}
    assert [r.query["checkpoint"] for r in service.requests if r.route == DOWNLOAD] == ["model_output_path"]


def test_a_lora_job_gives_the_merged_model_where_that_is_asked_for(
    service: TogetherService, make_backend: Callable[..., Together], finish: Callable[..., RunRef], tmp_path: Path
) -> None:
    ref = finish(tuning=LoRA(rank=4))
    artifact = make_backend(weights="merged").collect(ref, tmp_path / "artifact")
    assert artifact.kind == "model"
    assert verify(tmp_path / "artifact")["files"].keys() == {"config.json", "model.safetensors"}
    assert [r.query["checkpoint"] for r in service.requests if r.route == DOWNLOAD] == ["merged"]
    with pytest.raises(SpecError, match=r"weights must be one of adapter, merged; got 'whole'"):
        make_backend(weights="whole")


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    service: TogetherService, backend: Together, finish: Callable[..., RunRef], tmp_path: Path
) -> None:
    ref = finish()
    with service.failing("truncated", on=DOWNLOAD, times=2, at=0.5):
        backend.collect(ref, tmp_path / "artifact")
    starts = [
        int(r.headers["range"].removeprefix("bytes=").rstrip("-")) for r in service.requests if r.route == DOWNLOAD
    ]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert starts[1] > 0
    verify(tmp_path / "artifact")


def test_a_download_goes_on_in_another_process(
    service: TogetherService, make_backend: Callable[..., Together], finish: Callable[..., RunRef], tmp_path: Path
) -> None:
    ref = finish()
    # The first request brings a piece, and then nothing comes any more.
    with (
        service.failing("truncated", on=DOWNLOAD, times=1, at=0.5),
        service.failing("503", on=DOWNLOAD),
        pytest.raises(BackendError) as caught,
    ):
        make_backend().collect(ref, tmp_path / "artifact")
    assert caught.value.retryable
    assert not (tmp_path / "artifact" / "manifest.json").exists()
    before = len(service.requests)
    make_backend().collect(ref, tmp_path / "artifact")
    (last,) = [r for r in service.requests[before:] if r.route == DOWNLOAD]
    assert last.headers["range"] != "bytes=0-"
    verify(tmp_path / "artifact")


@pytest.mark.parametrize("kind", ["parent", "absolute", "symlink", "hardlink", "device"])
def test_an_evil_archive_leaves_nothing_behind(
    kind: Literal["parent", "absolute", "symlink", "hardlink", "device"],
    service: TogetherService,
    backend: Together,
    finish: Callable[..., RunRef],
    tmp_path: Path,
    ftsdk_home: Path,
) -> None:
    from ftsdk.testing.together import Scenario

    service.scenario = Scenario(archive=kind)
    ref = finish()
    before = set(tmp_path.rglob("*"))
    with pytest.raises(CorruptArtifactError, match="nothing of it is used"):
        backend.collect(ref, tmp_path / "artifact")
    new = set(tmp_path.rglob("*")) - before
    assert {path.name for path in new} <= {"download", "worker.lock"}
    assert not (tmp_path / "artifact" / "manifest.json").exists()


def test_weights_that_changed_between_two_tries_are_not_mixed(
    service: TogetherService, backend: Together, finish: Callable[..., RunRef], tmp_path: Path
) -> None:
    ref = finish()
    with (
        service.failing("truncated", on=DOWNLOAD, times=1, at=0.5),
        service.failing("503", on=DOWNLOAD),
        pytest.raises(BackendError),
    ):
        backend.collect(ref, tmp_path / "artifact")
    service.weights.layers = 3
    service.weights._made.clear()
    backend.collect(ref, tmp_path / "artifact")
    content = verify(tmp_path / "artifact")["files"]
    assert content["adapter_model.safetensors"]["bytes"] > 0


def test_nothing_is_downloaded_of_a_run_that_was_cancelled(
    service: TogetherService, backend: Together, make_spec: Callable[..., JobSpec], tmp_path: Path
) -> None:
    ref = backend.submit(backend.plan(make_spec()), key="k")
    backend.cancel(ref)
    while not backend.status(ref).is_terminal:
        pass
    with pytest.raises(RunNotReadyError, match="cancelled"):
        backend.collect(ref, tmp_path / "artifact")
    assert not [r for r in service.requests if r.route == DOWNLOAD]


def test_an_adapter_is_the_bytes_that_the_service_has(
    service: TogetherService, backend: Together, finish: Callable[..., RunRef], tmp_path: Path
) -> None:
    """Compared with what the client itself downloads, over a connection that breaks at random places."""
    import together

    ref = finish()
    chance = random.Random(7)
    for number in range(5):
        with service.failing("truncated", on=DOWNLOAD, times=2, at=round(chance.uniform(0.1, 0.9), 3)):
            backend.collect(ref, tmp_path / f"{number}")
    (job,) = service.jobs
    with together.Together(api_key=service.key, base_url=service.base_url) as client:
        archive = client.fine_tuning.content(ft_id=job.id, checkpoint="adapter").read()
    (tmp_path / "reference").write_bytes(archive)
    from ftsdk.backends.managed.archive import unpack

    unpack(tmp_path / "reference", tmp_path / "unpacked")
    expected = (tmp_path / "unpacked" / "adapter_model.safetensors").read_bytes()
    assert all((tmp_path / f"{number}" / "adapter_model.safetensors").read_bytes() == expected for number in range(5))
