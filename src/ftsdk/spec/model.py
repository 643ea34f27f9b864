"""Models, identified but not loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ftsdk._rich_text import rich_text
from ftsdk.spec.base import Value
from ftsdk.spec.urls import NoUrl, NoUrlSecret

__all__ = ["Model"]


class Model(Value):
    """An open model: a hub id, a folder with safetensors, or a `.gguf` file.

    Nothing is loaded or looked up here: `job.plan()` checks what is at hand.
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

    def __str__(self) -> str:
        return self.id + (f"@{self.revision}" if self.revision else "") + (f" + {self.adapter}" if self.adapter else "")

    __rich__ = rich_text
