"""What engines would run, decided from headers: plans, refusals, and the files that start vLLM elsewhere."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_adapters import write_adapter

from ftsdk import VLLM, LlamaCpp, Model, ModelError, Ollama, SpecError, UnsupportedSpecError, serve
from ftsdk.deploy.servers.vllm.command import MAX_RANKS, max_lora_rank


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Callable[..., Model]:
    def make(name: str = "mails-v3", rank: int = 4, **config: Any) -> Model:
        folder = write_adapter(tiny_model, tmp_path / name, seed=1, rank=rank, config=config)
        return Model(id=str(tiny_model), adapter=str(folder))

    return make


@pytest.mark.parametrize(
    ("rank", "allowed"), [(1, 1), (2, 8), (8, 8), (9, 16), (64, 64), (300, 320), (512, 512), (513, None)]
)
def test_the_largest_rank_becomes_a_value_that_vllm_takes(rank: int, allowed: int | None) -> None:
    assert max_lora_rank([1, rank]) == allowed
    assert allowed is None or allowed in MAX_RANKS


def test_a_plan_says_what_runs_and_starts_nothing(model: Callable[..., Model], ftsdk_home: Path) -> None:
    server = serve([model(), model("mails-v4", rank=12)], engine=LlamaCpp(threads=2, parallel=3))

    text = str(server)

    assert "llama.cpp: on this machine at 127.0.0.1" in text
    assert "3 requests at a time of 512 tokens each, 2 threads" in text  # the model's whole context
    assert "mails-v4" in text
    assert "adapter of rank 12" in text
    assert server.names == (Path(model().id).name, "mails-v3", "mails-v4")
    assert server.plan() == type(server.plan()).from_dict(server.plan().to_dict())
    assert not ftsdk_home.exists()


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm"])
@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "trained biases"),
        ({"bias": "all"}, "trained biases"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"trainable_token_indices": [3]}, "such as embeddings"),
    ],
)
def test_what_an_engine_cannot_load_is_refused_by_the_plan(
    model: Callable[..., Model], engine: Any, config: dict[str, Any], part: str, ftsdk_home: Path
) -> None:
    server = serve(model(**config), engine=engine)

    assert part in str(server.plan())
    with pytest.raises(UnsupportedSpecError, match=r"can't serve this:\n  mails-v3: .*merge") as refused:
        server.start()
    assert [gap.field for gap in refused.value.gaps] == ["mails-v3"]
    assert not ftsdk_home.exists()


def test_a_rank_over_vllms_largest_is_refused(model: Callable[..., Model]) -> None:
    plan = serve(model(rank=4, rank_pattern={"q_proj": 600}), engine="vllm").plan()

    assert [part.what for part in plan.refused] == ["rank 600, where vLLM's largest is 512"]


def test_merged_weights_are_of_one_model(model: Callable[..., Model]) -> None:
    dora = model(use_dora=True)
    alone = serve(dora, engine=LlamaCpp(merge=True))

    assert alone.plan().refused == ()
    assert alone.names == ("mails-v3",)
    assert serve([dora, model("mails-v4")], engine=LlamaCpp(merge=True)).plan().refused


def test_names_are_unique_and_bases_the_same(model: Callable[..., Model], tmp_path: Path) -> None:
    one = model()
    with pytest.raises(SpecError, match=r"two models are called 'mails-v3'; name them"):
        serve([one, one.replace(adapter=str(Path(str(one.adapter))))])
    with pytest.raises(SpecError, match="one server has one base"):
        serve({"a": one, "b": one.replace(id=str(tmp_path / "other"))})
    with pytest.raises(SpecError, match="nothing to serve"):
        serve([])
    with pytest.raises(SpecError, match="can't be a model's name"):
        serve({"no blanks": one})
    with pytest.raises(SpecError, match=r"no engine 'vlm'.*'vllm'"):
        serve(one, engine="vlm")  # type: ignore[call-overload]
    with pytest.raises(SpecError, match="budget_usd is for engines that bill"):
        serve(one, budget_usd=5)
    with pytest.raises(SpecError, match="needs a key"):
        LlamaCpp(host="0.0.0.0")


def test_an_export_that_failed_its_parity_is_refused_unless_allowed(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    files = {file.name: {"bytes": file.stat().st_size} for file in folder.iterdir()}
    gates = [{"name": "greedy", "verdict": "differs", "detail": "3 of 12 answers"}]
    manifest = {"kind": "export", "state": "failed", "parity": {"gates": gates}, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(ModelError, match=r"greedy: 3 of 12 answers.*allow_failed=True"):
        serve(folder)
    assert serve(folder, allow_failed=True).names == ("export",)


def test_files_for_vllm_start_it_with_every_adapter(model: Callable[..., Model], tmp_path: Path) -> None:
    first = model().replace(id="HuggingFaceTB/SmolLM2-135M-Instruct", revision="main", chat_template="{{ messages }}")
    second = first.replace(adapter=model("mails-v4", rank=12).adapter)
    into = tmp_path / "served"

    written = serve({"v3": first, "v4": second}, engine=VLLM(context_tokens=2048, gpus=2)).write_files(into)

    assert {file.relative_to(into).as_posix() for file in written} == {
        "serve.sh",
        "compose.yaml",
        "modal_app.py",
        "files/chat_template.jinja",
        *(
            f"files/adapters/{v}/{name}"
            for v in ("v3", "v4")
            for name in ("adapter_config.json", "adapter_model.safetensors")
        ),
    }
    assert (into / "serve.sh").read_text() == _SERVE_SH
    shell = subprocess.run(["sh", "-n", str(into / "serve.sh")], check=False)
    assert shell.returncode == 0
    words = shlex.split((into / "serve.sh").read_text().split("exec ")[1].replace("\\\n", ""))
    compose = yaml.safe_load((into / "compose.yaml").read_text())["services"]["vllm"]
    moved = [word.replace("files/", "/served/").replace("127.0.0.1", "0.0.0.0") for word in words[2:]]
    assert compose["command"] == moved
    assert compose["ports"] == ["127.0.0.1:8000:8000"]
    assert compose["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 2
    app = (into / "modal_app.py").read_text()
    compile(app, "modal_app.py", "exec")
    assert "scaledown_window=300" in app
    assert "min_containers=0" in app
    assert 'gpu="L4:2"' in app
    config = json.loads((into / "files/adapters/v4/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert not [file for file in written if str(tmp_path).encode() in file.read_bytes()]


_SERVE_SH = """\
#!/bin/sh
# Written by ftsdk for vLLM 0.32.0.
# The key that clients must send is read from VLLM_API_KEY; without it there is none.
cd "$(dirname "$0")" || exit 1
exec vllm serve HuggingFaceTB/SmolLM2-135M-Instruct \\
    --served-model-name HuggingFaceTB/SmolLM2-135M-Instruct \\
    --host 127.0.0.1 \\
    --port 8000 \\
    --revision main \\
    --tokenizer-revision main \\
    --generation-config vllm \\
    --gpu-memory-utilization 0.9 \\
    --tensor-parallel-size 2 \\
    --max-model-len 2048 \\
    --chat-template files/chat_template.jinja \\
    --enable-lora \\
    --max-loras 2 \\
    --max-lora-rank 16 \\
    --lora-modules '{"name": "v3", "path": "files/adapters/v3", "base_model_name": "HuggingFaceTB/SmolLM2-135M-Instruct"}' '{"name": "v4", "path": "files/adapters/v4", "base_model_name": "HuggingFaceTB/SmolLM2-135M-Instruct"}'
"""  # noqa: E501 - golden


def test_ollama_takes_no_gguf_base_without_a_modelfile(model: Callable[..., Model], tmp_path: Path) -> None:
    (tmp_path / "base.gguf").write_bytes(b"GGUF")
    given = model().replace(id=str(tmp_path / "base.gguf"))
    with pytest.raises((UnsupportedSpecError, ModelError)):
        serve(given, engine=Ollama()).write_files(tmp_path / "files")
    assert not (tmp_path / "files").exists()
