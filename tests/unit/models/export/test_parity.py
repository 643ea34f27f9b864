"""An export is proven, and each planted fault is caught by a gate of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Model
from ftsdk.errors import CorruptArtifactError, ModelError, SpecError
from ftsdk.models.export import check_servable, export_model, read_export
from ftsdk.models.export.comparison import compare
from ftsdk.models.export.gates import TOLERANCES
from ftsdk.models.export.observation import observe_folder, observe_reference
from ftsdk.models.export.observe_llama import observe_gguf

pytest.importorskip("peft", reason="the extra 'local' isn't installed")

PROMPTS = [[{"role": "user", "content": text}] for text in ("what is the weather", "book a flight", "transfer money")]


def verdicts(reference: Any, observed: Any, kind: str) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in compare(reference, observed, TOLERANCES[kind])}


def failed(found: dict[str, str]) -> set[str]:
    return {name for name, verdict in found.items() if verdict == "differs"}


@pytest.mark.parametrize(
    ("to", "options"),
    [("merged", {}), ("merged", {"quantization": "bf16"}), ("adapter", {})],
    ids=["merged", "merged-bf16", "adapter"],
)
def test_what_transformers_opens_is_proven(to: str, options: dict[str, Any], make_adapter: Any, tmp_path: Path) -> None:
    export = export_model(make_adapter(), tmp_path / "out", to=to, prompts=PROMPTS, max_new_tokens=6, **options)

    assert export.state == "proven", str(export)
    assert check_servable(tmp_path / "out")["state"] == "proven"
    assert {"README.md", "manifest.json", "chat_template.jinja"} <= set(export.files)
    assert "Compared  with" in str(export)
    assert "<table>" in export.to_html()
    assert json.loads(json.dumps(export.to_dict()))["parity"]["state"] == "proven"


@pytest.mark.parametrize(
    ("to", "options"),
    [
        ("gguf", {"quantization": "f16"}),
        ("gguf", {"adapter_only": True}),
        ("gguf", {"quantization": "q4_k_m"}),
        ("ollama", {}),
    ],
    ids=["f16", "adapter-only", "q4_k_m", "ollama"],
)
def test_what_llama_cpp_opens_is_proven(to: str, options: dict[str, Any], make_adapter: Any, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")
    pytest.importorskip("ggml", reason="the extra 'export' isn't installed")
    export = export_model(make_adapter(), tmp_path / "out", to=to, prompts=PROMPTS, max_new_tokens=6, **options)

    assert export.state == "proven", str(export)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def transpose(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors[name] = tensors[name].T.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no template": (lambda folder: (folder / "chat_template.jinja").unlink(), "template"),
    "wrong template": (
        lambda folder: (folder / "chat_template.jinja").write_text(
            "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
        ),
        "template",
    ),
    "wrong eos": (
        lambda folder: rewrite(folder / "generation_config.json", lambda content: content.update(eos_token_id=5)),
        "ends",
    ),
    "transposed matrix": (transpose, "log-probabilities"),
    "another splitter": (
        lambda folder: rewrite(
            folder / "tokenizer.json",
            lambda content: content["pre_tokenizer"].update(add_prefix_space=True),
        ),
        "tokenizer",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_folder_is_caught(fault: str, make_adapter: Any, tmp_path: Path) -> None:
    model = make_adapter()
    export_model(model, tmp_path / "out", to="merged", prove=False)
    reference, _ = observe_reference(model, PROMPTS, dtype="float32", max_new_tokens=6)
    plant, gate = FAULTS[fault]
    plant(tmp_path / "out")

    observed = observe_folder(tmp_path / "out", reference, PROMPTS, is_adapter=False, code=False)

    caught = failed(verdicts(reference, observed, "f32"))
    assert gate in caught
    if gate in ("template", "ends"):  # and no other: the greedy answers are the same
        assert caught == {gate}


def test_a_doubled_alpha_is_caught_by_log_probabilities(make_adapter: Any, tmp_path: Path) -> None:
    model = make_adapter(size=0.05)
    export_model(model, tmp_path / "out", to="adapter", prove=False)
    reference, _ = observe_reference(model, PROMPTS, dtype="float32", max_new_tokens=6)
    rewrite(tmp_path / "out" / "adapter_config.json", lambda content: content.update(lora_alpha=16))

    found = verdicts(
        reference, observe_folder(tmp_path / "out", reference, PROMPTS, is_adapter=True, code=False), "f32"
    )

    assert found["log-probabilities"] == "differs"
    assert found["adapter"] == "same"


def test_an_adapter_that_is_not_applied_is_caught(make_adapter: Any, tmp_path: Path) -> None:
    model = make_adapter()
    reference, _ = observe_reference(model, PROMPTS, dtype="float32", max_new_tokens=6)
    export_model(model.replace(adapter=None), tmp_path / "out", to="merged", prove=False)

    found = verdicts(
        reference, observe_folder(tmp_path / "out", reference, PROMPTS, is_adapter=False, code=False), "f32"
    )

    assert found["adapter"] == "differs"


def test_faults_in_a_gguf_file_are_caught(make_adapter: Any, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")
    from ftsdk.models.export import write_gguf

    model = make_adapter()
    reference, _ = observe_reference(model, PROMPTS, dtype="float32", max_new_tokens=6)
    plain = model.replace(chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}")
    found: dict[str, dict[str, str]] = {}
    for name, made in {"template": plain, "adapter": model.replace(adapter=None)}.items():
        file = write_gguf(made, tmp_path / f"{name}.gguf", "f16").path
        found[name] = verdicts(reference, observe_gguf(file, reference, PROMPTS), "f16")

    assert failed(found["template"]) == {"template"}
    assert found["adapter"]["adapter"] == "differs"


def test_a_failed_export_says_so_and_is_not_served(make_adapter: Any, tmp_path: Path) -> None:
    from ftsdk.models.export.gates import Gate

    def worse(written: Any) -> Gate:
        return Gate(name="score", verdict="differs", detail="accuracy: -0.5: worse")

    export = export_model(
        make_adapter(), tmp_path / "out", to="merged", prompts=PROMPTS[:1], max_new_tokens=2, score=worse
    )

    assert export.has_failed
    assert "FAILED" in str(export)
    assert "accuracy" in (tmp_path / "out" / "EXPORT-FAILED.txt").read_text()
    with pytest.raises(ModelError, match=r"accuracy: -0\.5"):
        check_servable(tmp_path / "out")
    assert check_servable(tmp_path / "out", allow_failed=True)["state"] == "failed"


def test_an_export_that_was_altered_is_not_read(make_adapter: Any, tmp_path: Path) -> None:
    export_model(make_adapter(), tmp_path / "out", to="adapter", prove=False)
    (tmp_path / "out" / "adapter_model.safetensors").write_bytes(b"")

    with pytest.raises(CorruptArtifactError, match="altered"):
        read_export(tmp_path / "out")


def test_a_folder_with_files_is_not_overwritten(tiny_export_model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(SpecError, match="isn't an empty folder"):
        export_model(Model(id=str(tiny_export_model)), tmp_path, to="merged")


def test_what_fails_leaves_nothing_behind(tiny_export_model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no adapter"):
        export_model(Model(id=str(tiny_export_model)), tmp_path / "out", to="adapter")

    assert list(tmp_path.iterdir()) == []


def test_without_proof_an_export_is_unproven(make_adapter: Any, tmp_path: Path) -> None:
    export = export_model(make_adapter(), tmp_path / "out", to="merged", prove=False)

    assert export.state == "unproven"
    assert export.parity.gate("files").verdict == "same"
