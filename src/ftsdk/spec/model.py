"""Models, identified but not loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, overload

from pydantic import Field, field_validator

from ftsdk._rich_text import rich_text
from ftsdk.spec.abilities import ExportReport, Exports, Generates, Messages, Unloads, model_ability
from ftsdk.spec.base import Value
from ftsdk.spec.urls import NoUrl, NoUrlSecret

__all__ = ["Model"]


class Model(Value):
    """An open model: a hub id, a folder with safetensors, or a `.gguf` file.

    Nothing is loaded or looked up until it is asked: `job.plan()` checks what is at hand, `generate` loads it.
    """

    id: Annotated[NoUrl, Field(min_length=1)]
    """`"HuggingFaceTB/SmolLM2-135M-Instruct"`, `"./my-model"`, or `"model.Q4_1.gguf"`."""
    revision: NoUrlSecret | None = None
    """Branch, tag or commit on the hub. None: the default branch. Pin a commit to make a run repeatable."""
    adapter: NoUrl | None = None
    """A folder with a LoRA adapter to apply, such as the result of an earlier run."""
    chat_template: str | None = None
    """A Jinja chat template that replaces the model's own. None: the model's own."""
    add_tokens: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    """Tokens that the tokenizer gets besides its own, such as `("<order>", "</order>")`: each is one token wherever it
    stands, and its row of the embedding is trained. Those that the tokenizer has already stay as they are. None: none.
    """
    trust_remote_code: bool = False
    """Whether to run Python code that comes with the model. It can do anything that you can: read it first."""

    @field_validator("id")
    @classmethod
    def _no_whitespace_around(cls, text: str) -> str:
        if text != text.strip():
            raise ValueError(f"has whitespace around it: {text!r}")
        return text

    @field_validator("add_tokens")
    @classmethod
    def _each_token_once(cls, tokens: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if tokens is not None and len(set(tokens)) < len(tokens):
            raise ValueError("names a token twice")
        blank = [token for token in tokens or () if not token.strip()]
        if blank:
            raise ValueError(f"{blank[0]!r} is nothing but whitespace")
        return tokens

    @property
    def source(self) -> Literal["hub", "folder", "gguf"]:
        """Where the weights come from, judged by the form of `id` alone."""
        if self.id.endswith(".gguf"):
            return "gguf"
        is_path = self.id.startswith((".", "/", "~")) or "\\" in self.id or self.id.count("/") > 1
        return "folder" if is_path else "hub"

    @overload
    def generate(  # pyright: ignore[reportOverlappingOverload] - a str is a sequence of str, too
        self,
        prompt: str | Messages,
        *,
        system: str | None = None,
        max_new_tokens: int | None = None,
        choices: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> str: ...
    @overload
    def generate(
        self,
        prompt: Sequence[str | Messages],
        *,
        system: str | None = None,
        max_new_tokens: int | None = None,
        choices: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> list[str]: ...
    def generate(
        self,
        prompt: str | Messages | Sequence[str | Messages],
        *,
        system: str | None = None,
        max_new_tokens: int | None = None,
        choices: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> str | list[str]:
        """Answer on this machine: `model.generate("Where is my parcel?")`.

        The model answers as it does in evals: with its chat template, its ends of text and without sampling, so the
        same prompt gets the same answer. The first call loads it, which may download it. It stays loaded, so the next
        call answers at once; another model takes its place, and so does the same one if its files have changed. Calls
        from several threads take turns.

        Args:
            prompt: A text, or a conversation as a list of messages with `role` and `content`; or a list of these, which
                is answered in batches and quicker than one by one.
            system: Replaces the system message of each prompt; None keeps it. Pass what the model was trained with.
            max_new_tokens: The longest answer, in tokens; what is longer is cut off there. None: 512, or what the
                context has left after the prompt, if that is less.
            choices: Texts, one of which is the answer.
            schema: A JSON Schema: the answer is JSON that fits it.

        Returns:
            The answer, with its reasoning if the model reasons, and without special tokens; for a list of prompts, the
            list of the answers in its order.

        Raises:
            DatasetError: A prompt has no text or no known form, or it doesn't fit into the model's context, with
                `max_new_tokens` behind it.
            SpecError: An option is invalid, or answers can't be held to the choices or the schema.
            ModelError: The model can't be found, downloaded or loaded.
            MissingExtraError: The extra `local` isn't installed, or `evals` for a schema.
        """
        answer: Generates = model_ability("generate")
        return answer(self, prompt, system=system, max_new_tokens=max_new_tokens, choices=choices, schema=schema)

    def unload(self) -> None:
        """Free the memory that the model takes since `generate` has loaded it; nothing happens if it isn't loaded."""
        free: Unloads = model_ability("unload")
        free(self)

    def export(
        self,
        into: str | Path,
        *,
        to: Literal["adapter", "merged", "gguf", "ollama"],
        quantization: str | None = None,
        adapter_only: bool = False,
        prompts: Sequence[str | Messages] | None = None,
        evals: Sequence[Any] = (),
        most_loss: float = 0.02,
        reference_dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        prove: bool = True,
        name: str | None = None,
        on_message: Callable[[str], None] | None = None,
    ) -> ExportReport:
        """Write the model for others to run, and prove that it still is the one that was evaluated.

        What was written is opened again by what will run it (transformers, PEFT, or llama.cpp in a process of its own)
        and held against this model, gate by gate: files, tokenizer, chat template, ends of text, the adapter,
        log-probabilities, greedy answers, and the score of evals. An export that fails says so in its manifest, in a
        file `EXPORT-FAILED.txt` and in the returned value; it isn't served unless you allow it by name.

        Args:
            into: A new or empty folder.
            to: `"adapter"` for PEFT; `"merged"`, one model for transformers and vLLM; `"gguf"` for llama.cpp;
                `"ollama"`, a GGUF file and its Modelfile.
            quantization: The number format. Of `"merged"`: `"f32"`, `"f16"` or `"bf16"`; None: that of the base. Of
                `"gguf"` and `"ollama"`: also `"q8_0"`, the default, `"q6_k"`, `"q5_k_m"` and `"q4_k_m"`.
            adapter_only: Of `"gguf"`: write the adapter and its base as two files, so that a server can hold several
                adapters on one base. The default of `quantization` is `"f16"` then.
            prompts: Texts or conversations to compare answers on. None: the first 20 of the evals, or else a dozen of
                general ones, which may say little about what the model was trained for.
            evals: Evals to measure again on what was written: `run.evals`.
            most_loss: How much of their scores may be lost, 0.02 being two points of a hundred.
            reference_dtype: What this model computes in for the comparison. float32 takes four bytes a parameter.
            prove: False checks the files alone: for a model that doesn't fit into memory.
            name: Of the files of `"gguf"` and of the adapter in servers. None: after the base.
            on_message: Called with one sentence before each slow step.

        Returns:
            The report: `print(export)`, `.state`, `.to_dict()`, `.to_html()`.

        Raises:
            SpecError: An option is invalid, or the folder isn't empty.
            ModelError: The model can't be exported so; says why, and what can.
            MissingExtraError: The extra `local` isn't installed, or `export` for GGUF.
        """
        write: Exports = model_ability("export")
        return write(
            self,
            into,
            to=to,
            quantization=quantization,
            adapter_only=adapter_only,
            prompts=prompts,
            evals=evals,
            most_loss=most_loss,
            reference_dtype=reference_dtype,
            prove=prove,
            name=name,
            on_message=on_message,
        )

    def __str__(self) -> str:
        return self.id + (f"@{self.revision}" if self.revision else "") + (f" + {self.adapter}" if self.adapter else "")

    __rich__ = rich_text
