"""Prompts as a model on this machine reads them: its own chat template, and the tokens of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftsdk.errors import DatasetError, FtsdkError, ModelError
from ftsdk.evals.generation import Conversation, tools_of
from ftsdk.models.chat_template import Conversation as TemplateInput
from ftsdk.models.chat_template import render_conversations, template_shape
from ftsdk.models.template_trial import RowTrial, trial_of
from ftsdk.models.tool_check import is_tool_missing

__all__ = ["LocalPrompts"]

_LONGEST_REASON = 300
"""Characters of a template's own words that an error of ours repeats."""


class LocalPrompts:
    """Renders conversations with the template of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Use a tokenizer with a chat template."""
        self._tokenizer = tokenizer
        # It warns about prompts that are too long; they are refused in words of ours.
        getattr(tokenizer, "deprecation_warnings", {})["sequence-length-is-longer-than-the-specified-maximum"] = True
        self._trial: RowTrial | None = None

    def render(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool) -> list[list[int]]:
        """Return the tokens of each conversation.

        Raises:
            ModelError: The template takes too long or too much memory, or refuses a conversation.
            DatasetError: The template leaves the tools or their calls out.
        """
        if self._trial is None:
            self._trial = trial_of(self._tokenizer)
        self._trial.check([TemplateInput(conversation, tools_of(conversation)) for conversation in conversations])
        try:
            return self._rendered(conversations, add_generation_prompt)
        except FtsdkError:
            raise
        except Exception as error:  # a template is a program, and raises what it likes
            reason = (str(error) or type(error).__name__)[:_LONGEST_REASON].rstrip(".")
            raise ModelError(
                f"the model's chat template refuses a conversation: {reason}. Check the roles and their order, or pass "
                "another template: Model(chat_template=...)"
            ) from error

    def _rendered(self, conversations: Sequence[Conversation], add_generation_prompt: bool) -> list[list[int]]:
        if any(tools_of(one) or any(len(message) > 2 for message in one) for one in conversations):
            return self._render_as_training(conversations, add_generation_prompt)
        encoded = self._tokenizer.apply_chat_template(
            [list(conversation) for conversation in conversations],
            add_generation_prompt=add_generation_prompt,
            tokenize=True,
            return_dict=True,
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def _render_as_training(
        self, conversations: Sequence[Conversation], add_generation_prompt: bool
    ) -> list[list[int]]:
        """Render what templates take in different shapes, such as tools and calls, as training does.

        Raises:
            DatasetError: The template leaves the tools or their calls out.
        """
        given = [TemplateInput(conversation, tools_of(conversation)) for conversation in conversations]
        shape = template_shape(self._tokenizer)
        texts = render_conversations(self._tokenizer, given, shape, generation_prompt=add_generation_prompt)
        for index, (one, text) in enumerate(zip(given, texts, strict=True)):
            if one.uses_tools and is_tool_missing(one, text, {}):
                raise DatasetError(
                    "the model's chat template leaves out the tools, or calls of them.",
                    line=index + 1,
                    hint="Use a model whose chat template knows tools, or leave the row out.",
                )
        return [list(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]
