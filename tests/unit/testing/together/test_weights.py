"""What the stand-in for Together has for download, got by the real client."""

# The client declares every field of an answer as optional, and some not at all.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportOptionalIterable=false, reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ftsdk.testing.together import TogetherService, hostile_archive, pack, small_adapter

together = pytest.importorskip("together", reason="the extra 'together' isn't installed")

if TYPE_CHECKING:
    from pathlib import Path

    from together import Together


def address(job_id: str, checkpoint: str = "adapter") -> str:
    return f"/v1/finetune/download?ft_id={job_id}&checkpoint={checkpoint}"


def download(client: Together, job_id: str, into: Path, checkpoint: str = "adapter") -> bytes:
    from together.lib import DownloadManager

    path, size = DownloadManager(client).download(
        address(job_id, checkpoint), output=into, remote_name="x", fetch_metadata=True
    )
    assert into.stat().st_size == size, path
    return into.read_bytes()


def files_in(archive: bytes) -> dict[str, bytes]:
    if archive[:2] == b"\x1f\x8b":
        raw = io.BytesIO(archive)
        mode = "r:gz"
    else:
        zstandard = pytest.importorskip("zstandard")
        raw = io.BytesIO(zstandard.ZstdDecompressor().decompress(archive, max_output_size=1 << 28))
        mode = "r:"
    with tarfile.open(fileobj=raw, mode=mode) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_an_adapter_is_what_the_job_asked_for(
    client: Together, service: TogetherService, start: Any, finish: Any, tmp_path: Path, compression: str
) -> None:
    if compression == "zst":
        pytest.importorskip("zstandard")
    service.weights.compression = compression
    service.weights.top = "adapter"
    job_id = start(lora_r=4, lora_alpha=12, lora_trainable_modules="q_proj,v_proj")
    finish(job_id)
    found = files_in(download(client, job_id, tmp_path / "weights"))
    assert set(found) == {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    config = json.loads(found["adapter/adapter_config.json"])
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (4, 12, ["q_proj", "v_proj"])
    size = int.from_bytes(found["adapter/adapter_model.safetensors"][:8], "little")
    header = json.loads(found["adapter/adapter_model.safetensors"][8 : 8 + size])
    assert header["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]["shape"] == [4, 32]
    kinds = {"gz": "application/x-tar", "zst": "application/zstd"}
    assert (
        client.fine_tuning.with_raw_response.content(ft_id=job_id, checkpoint="adapter").headers["content-type"]
        == kinds[compression]
    )


def test_a_folder_that_the_test_gives_comes_back_whole(
    client: Together, service: TogetherService, start: Any, finish: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 2}')
    service.weights.adapter = folder
    job_id = start()
    finish(job_id)
    assert files_in(download(client, job_id, tmp_path / "weights")) == {"adapter_config.json": b'{"r": 2}'}


def test_the_small_adapter_loads_with_peft(tiny_model: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    for name, content in small_adapter(base=str(tiny_model)).items():
        (tmp_path / name).write_bytes(content)
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path)
    trained = [weights for name, weights in model.named_parameters() if "lora_A" in name]
    assert len(trained) == 14
    assert all(0.007 < float(weights.min()) <= float(weights.max()) < 0.04 for weights in trained)


def test_a_dropped_download_is_resumed_where_it_broke(
    client: Together, service: TogetherService, start: Any, finish: Any, tmp_path: Path
) -> None:
    # The client's manager asks for the rest only of what it has got in whole blocks of 10 MB.
    service.weights.width = 32_000
    service.scenario = "drops_the_download"
    job_id = start(lora_trainable_modules="q_proj,k_proj,v_proj,o_proj")
    finish(job_id)
    whole = download(client, job_id, tmp_path / "weights")
    assert len(whole) > 11_000_000
    asked = [
        (request.headers.get("range"), request.status, request.fault)
        for request in service.requests
        if "download" in request.path
    ]
    assert asked == [("bytes=0-1", 206, ""), (None, 200, "truncated"), ("bytes=10485760-", 206, "")]
    assert whole == client.fine_tuning.content(ft_id=job_id, checkpoint="adapter").read()


def test_a_short_download_that_is_dropped_is_torn(
    client: Together, service: TogetherService, start: Any, finish: Any, tmp_path: Path
) -> None:
    service.scenario = "drops_the_download"
    job_id = start()
    finish(job_id)
    with (
        pytest.raises(httpx.TransportError),
        client.fine_tuning.with_streaming_response.content(ft_id=job_id, checkpoint="adapter") as answer,
    ):
        for _ in answer.iter_bytes():
            pass
    assert client.fine_tuning.content(ft_id=job_id, checkpoint="adapter").read()


def test_which_checkpoints_there_are_depends_on_the_kind_of_training(
    client: Together, start: Any, finish: Any, upload: Any
) -> None:
    adapter = start(n_epochs=2, n_checkpoints=2, batch_size=8)
    with pytest.raises(together.BadRequestError, match="it has no final model"):
        client.fine_tuning.content(ft_id=adapter, checkpoint="adapter")
    finish(adapter)
    got = {
        kind: client.fine_tuning.content(ft_id=adapter, checkpoint=kind).read()
        for kind in ("adapter", "merged", "model_output_path")
    }
    assert "model.safetensors" in files_in(got["merged"])
    assert got["merged"] == got["model_output_path"] != got["adapter"]
    early = client.fine_tuning.content(ft_id=adapter, checkpoint_step=5).read()
    assert early != got["adapter"] == client.fine_tuning.content(ft_id=adapter, checkpoint_step=10).read()
    with pytest.raises(together.NotFoundError, match="no checkpoint of step 3"):
        client.fine_tuning.content(ft_id=adapter, checkpoint_step=3)
    with pytest.raises(together.BadRequestError, match="checkpoint is required"):
        client.fine_tuning.content(ft_id=adapter)
    full = start(lora=False)
    finish(full)
    with pytest.raises(together.BadRequestError, match="only model_output_path"):
        client.fine_tuning.content(ft_id=full, checkpoint="merged")
    assert "config.json" in files_in(client.fine_tuning.content(ft_id=full, checkpoint="model_output_path").read())


def test_a_range_past_the_end_is_refused(client: Together, service: TogetherService, start: Any, finish: Any) -> None:
    job_id = start()
    finish(job_id)
    headers = {"Authorization": f"Bearer {service.key}", "Range": "bytes=99999999-"}
    answer = httpx.get(service.base_url + address(job_id), headers=headers, trust_env=False, verify=False)
    assert (answer.status_code, answer.headers["Content-Range"][:8]) == (416, "bytes */")


@pytest.mark.parametrize(
    ("kind", "name", "test"),
    [
        ("parent", "../evil.txt", tarfile.TarInfo.isreg),
        ("absolute", "/evil.txt", tarfile.TarInfo.isreg),
        ("symlink", "evil", tarfile.TarInfo.issym),
        ("hardlink", "evil", tarfile.TarInfo.islnk),
        ("device", "evil", tarfile.TarInfo.isdev),
    ],
)
def test_a_hostile_archive_holds_what_it_says(kind: str, name: str, test: Any) -> None:
    content, content_type = hostile_archive(kind, compression="gz")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        first = archive.getmembers()[0]
    assert (first.name, test(first), content_type) == (name, True, "application/x-tar")


def test_a_scenario_sends_a_hostile_archive_in_place_of_the_weights(
    client: Together, service: TogetherService, start: Any, finish: Any
) -> None:
    service.scenario = "sends_unsafe_archives"
    job_id = start()
    finish(job_id)
    assert set(files_in(client.fine_tuning.content(ft_id=job_id, checkpoint="adapter").read())) == {"../evil.txt"}


def test_packing_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("a")
    first, second = pack(tmp_path, compression="gz"), pack({"deep/a.txt": b"a"}, compression="gz")
    assert first == second
