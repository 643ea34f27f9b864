"""Models, identified but not loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, overload

from pydantic import Field, field_validator

from ftsdk._rich_text import rich_text
from ftsdk.spec.abilities import Generates, Messages, Unloads, model_ability
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
    trust_remote_code: bool = False
    """Whether to run Python code that comes with the model. It can do anything that you can: read it first."""

    @field_validator("id")
    @classmethod
    def _no_whitespace_around(cls, text: str) -> str:
        if text != text.strip():
            raise ValueError(f"has whitespace around it: {text!r}")
        return text

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

    def __str__(self) -> str:
        return self.id + (f"@{self.revision}" if self.revision else "") + (f" + {self.adapter}" if self.adapter else "")

    __rich__ = rich_text
