"""The model card, and Ollama's Modelfile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from ftsdk import Model
from ftsdk.models.export import CardFacts, EvalLine, Export, Gate, Parity
from ftsdk.models.export.card import licence_of, model_card
from ftsdk.models.export.ollama import GoTemplate, go_template, write_modelfile


def made(to: str = "adapter", verdict: str = "same") -> Export:
    gate = Gate(name="files", verdict=verdict, detail="a | b <script>")  # type: ignore[arg-type]
    parity = Parity(gates=(gate,), reference="m in transformers, float32", measured="peft")
    return Export(path=Path("out"), to=to, quantization="f32", model="acme/m", files={}, parity=parity)


FACTS = CardFacts(
    run="local:1",
    spec={"method": {"kind": "sft"}},
    data={"train": "ab" * 32},
    evals=[
        EvalLine(
            name="accuracy", metric="mean", base="0.5", tuned="0.9", difference="+0.4 (+0.3 to +0.5)", value=0.9, n=50
        )
    ],
    cost="$0.12",
)


def test_a_card_says_what_it_is_and_how_good() -> None:
    card = model_card(Model(id="acme/m", revision="v1"), made(), FACTS, licence="apache-2.0")
    front = yaml.safe_load(card.split("---")[1])

    assert front["base_model"] == "acme/m"
    assert front["base_model_relation"] == "adapter"
    assert front["license"] == "apache-2.0"
    assert front["model-index"][0]["results"][0]["metrics"][0] == {"type": "mean", "value": 0.9}
    for said in (
        "AutoPeftModelForCausalLM",
        "+0.4 (+0.3 to +0.5)",
        "ab" * 32,
        "$0.12",
        "a \\| b &lt;script>",
        "local:1",
    ):
        assert said in card


def test_a_card_of_a_failed_export_says_so_first() -> None:
    card = model_card(Model(id="./m"), made("merged", "differs"), CardFacts(), licence=None)

    assert "**This export is not the model that was evaluated.**" in card
    assert "base_model" not in card  # a folder is no id on the hub
    assert "look it up before you publish" in card


def test_a_card_has_no_folder_of_the_machine_that_trained() -> None:
    facts = CardFacts(spec={"model": {"id": "/home/me/secret/smol.gguf", "adapter": "/home/me/run"}, "epochs": 2})
    card = model_card(Model(id="/home/me/secret/smol.gguf"), made("gguf"), facts, licence=None)

    assert '"id": "smol.gguf"' in card
    assert "/home/me" not in card


def test_two_gguf_files_are_loaded_together() -> None:
    export = replace(made("gguf"), main_file="m.base.f16.gguf", adapter_file="m.adapter.gguf")
    card = model_card(Model(id="acme/m"), export, CardFacts(), licence=None)

    assert "llama-server -m m.base.f16.gguf --lora m.adapter.gguf --jinja" in card


def test_a_report_names_the_model_without_its_folders_and_says_what_was_compared() -> None:
    export = replace(made("merged"), model="/home/me/models/smol.gguf + /home/me/run/artifact")
    assert str(export).startswith("Export    smol.gguf with its adapter as merged, f32\nVerdict   unproven: no gate")
    assert "Compared  with m in transformers, float32; run in peft" in str(export)
    assert "/home/me" not in export.to_html()
    unproven = replace(export, parity=Parity(gates=(), reference="nothing (prove=False)", measured="nothing"))
    assert "Compared  with nothing (prove=False)\n" in str(unproven)


def test_the_licence_is_that_of_the_base_s_own_card(tmp_path: Path, model_of_headers: Path) -> None:
    assert licence_of(Model(id=str(model_of_headers))) is None
    (model_of_headers / "README.md").write_text("---\nlicense: mit\n---\n")
    assert licence_of(Model(id=str(model_of_headers))) == "mit"


def chatml(messages: object, system: str | None = None) -> str:
    turns = list(messages)  # type: ignore[call-overload]
    if system and turns[0][0] != "system":
        turns = [("system", system), *turns]
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"


def test_a_template_counts_only_if_it_renders_the_same() -> None:
    found = go_template(chatml)
    with_system = go_template(lambda messages: chatml(messages, "You are brief."))

    assert found is not None
    assert (found.name, found.system) == ("chatml", None)
    assert with_system is not None
    assert with_system.system == "You are brief."
    assert go_template(lambda messages: chatml(messages).replace("user", "customer")) is None
    assert go_template(lambda _: None) is None


def test_a_modelfile_has_stops_context_and_template() -> None:
    template = GoTemplate(text="{{ .Prompt }}", name="x", system='say """')

    text = write_modelfile("m.gguf", template=template, stops=["<|im_end|>"], context=4096, licence="mit").text

    assert text.splitlines() == [
        "FROM ./m.gguf",
        'TEMPLATE """{{ .Prompt }}"""',
        'SYSTEM """say \'\'\'"""',
        'PARAMETER stop "<|im_end|>"',
        "PARAMETER temperature 0",
        "PARAMETER num_ctx 4096",
        'LICENSE """mit"""',
    ]
    assert "TEMPLATE" not in write_modelfile("m.gguf", template=None, stops=[], context=1, licence=None).text
