"""A merge takes the memory of its largest weights, and not that of the model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("peft", reason="the extra 'local' isn't installed")

MERGE = """\
import resource, sys
from pathlib import Path
import torch
import ftsdk.models.export.model_folder as folder
from ftsdk import Model
from ftsdk.models.export import write_gguf, write_merged

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

model = Model(id=sys.argv[1], adapter=sys.argv[2])
from ftsdk.models import load_tokenizer
load_tokenizer(model)
before = peak()
(Path(sys.argv[3]) / "merged").mkdir()
write_merged(model, Path(sys.argv[3]) / "merged", "f32", most_shard_bytes=int(sys.argv[4]))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process as Linux counts it")
@pytest.mark.parametrize("layers", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_the_peak_of_a_merge_is_far_below_the_size_of_the_model(layers: int, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from ftsdk.testing.tiny import build_tiny_model

    base = build_tiny_model(tmp_path / "base", hidden_size=32)
    width, one = 512, 512 * 512 * 4
    config = json.loads((base / "config.json").read_text())
    config |= {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    (base / "config.json").write_text(json.dumps(config))
    (base / "model.safetensors").unlink()
    where: dict[str, str] = {}
    total = 0

    def write(file: str, tensors: dict[str, torch.Tensor]) -> None:
        nonlocal total
        save_file(tensors, base / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(tensors, file))
        total += sum(tensor.nbytes for tensor in tensors.values())

    rows = config["vocab_size"]
    write(
        "top.safetensors",
        {"model.embed_tokens.weight": torch.ones(rows, width), "model.norm.weight": torch.ones(width)},
    )
    adapter: dict[str, torch.Tensor] = {}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        shapes = {"self_attn.q_proj": (width, width), "self_attn.k_proj": (width // 2, width)}
        shapes |= {"self_attn.v_proj": (width // 2, width), "self_attn.o_proj": (width, width)}
        shapes |= {
            "mlp.gate_proj": (2 * width, width),
            "mlp.up_proj": (2 * width, width),
            "mlp.down_proj": (width, 2 * width),
        }
        tensors = {f"{prefix}{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
        tensors |= {
            f"{prefix}{name}.weight": torch.ones(width) for name in ("input_layernorm", "post_attention_layernorm")
        }
        write(f"layer-{layer}.safetensors", tensors)
        for name, (outputs, inputs) in shapes.items():
            adapter[f"base_model.model.{prefix}{name}.lora_A.weight"] = torch.ones(4, inputs)
            adapter[f"base_model.model.{prefix}{name}.lora_B.weight"] = torch.ones(outputs, 4)
    (base / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (tmp_path / "adapter").mkdir()
    save_file(adapter, tmp_path / "adapter" / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "", "bias": "none"}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))

    found = subprocess.run(
        [sys.executable, "-c", MERGE, str(base), str(tmp_path / "adapter"), str(tmp_path), str(4 * one)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert found.returncode == 0, found.stderr
    merged = list((tmp_path / "merged").glob("*.safetensors"))
    assert len(merged) > layers
    assert int(found.stdout) < 32 * one < total
