"""A tokenizer and its chat template, as rendering needs them.

No torch here, and no import of transformers: any fast tokenizer object will do.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast, overload

from ftsdk.data.time_limit import time_limit
from ftsdk.errors import ModelError
from ftsdk.models.chat_template import Conversation, TemplateShape, render_conversations, template_shape
from ftsdk.models.limits import TEMPLATE_LIMITS
from ftsdk.models.template_trial import RowTrial, trial_of

__all__ = ["Encoding", "TextModel"]


class Encoding(NamedTuple):
    """The tokens of a text, and the characters that each was made from."""

    ids: list[int]
    starts: list[int]
    ends: list[int]


class _TemplateTimeoutError(ModelError):
    """The chat template takes too long: no row of its own is at fault, and trying each would take longer still."""


class TextModel:
    """Renders conversations to text and text to tokens."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        eos_token_ids: Sequence[int] | None = None,
        chat_template: str | None = None,
        embedding_rows: int | None = None,
        has_limits: bool = False,
    ) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: A Hugging Face fast tokenizer; its truncation and padding settings are switched off, as each of
                its own calls does.
            eos_token_ids: The tokens that end an answer. None: the tokenizer's own `eos_token_id`.
            chat_template: A Jinja template in place of the tokenizer's own.
            embedding_rows: How many token ids the model has; None: unknown, so nothing is checked.
            has_limits: This process has limits of time and memory already, so nothing is tried in another one.

        Raises:
            ModelError: It isn't a fast tokenizer, or no token ends an answer.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{type(tokenizer).__name__} is not a fast tokenizer, so tokens can't be traced back to the text; use "
                "a model with a tokenizer.json"
            )
        self._tokenizer = tokenizer
        self._template = chat_template
        self._embedding_rows = embedding_rows
        self.has_template = bool(chat_template or getattr(tokenizer, "chat_template", None))
        self._has_limits = has_limits
        self._trial: RowTrial | None = None
        """False: rows are rendered as plain text."""
        own = tokenizer.eos_token_id
        self.eos_token_ids: frozenset[int] = frozenset(
            eos_token_ids if eos_token_ids is not None else [] if own is None else [own]
        )
        if not self.eos_token_ids:
            raise ModelError(
                "the tokenizer has no end-of-text token, so the model could never learn to stop; set "
                "tokenizer.eos_token"
            )
        self.bos_token_id: int | None = tokenizer.bos_token_id
        special = {
            int(token): str(added.content) for token, added in tokenizer.added_tokens_decoder.items() if added.special
        }
        self._special = special
        names = sorted({*special.values()} - {""}, key=len, reverse=True)
        self.special_text: re.Pattern[str] | None = re.compile("|".join(map(re.escape, names))) if names else None
        """Matches special tokens that are spelled out in a text."""
        # An ordinary call switches truncation and padding off in the Rust tokenizer, which is called directly from then
        # on: half the time for the same ids.
        empty: list[int] = tokenizer("", padding=False, truncation=False)["input_ids"]
        self._backend = tokenizer.backend_tokenizer
        # Without a template, the text begins as the tokenizer itself would begin one.
        self._opening: str = tokenizer.bos_token if empty and empty[0] == self.bos_token_id else ""
        self._tails: dict[str, list[int]] = {}

    @overload
    def texts(
        self, conversations: Sequence[Conversation], *, generation_prompt: bool = False, rows: Sequence[int]
    ) -> list[str]: ...
    @overload
    def texts(
        self, conversations: Sequence[Conversation], *, generation_prompt: bool = False, rows: None
    ) -> list[str | None]: ...
    def texts(
        self, conversations: Sequence[Conversation], *, generation_prompt: bool = False, rows: Sequence[int] | None
    ) -> list[str] | list[str | None]:
        """Render conversations to text.

        Args:
            conversations: Whole or in part.
            generation_prompt: End with what invites the assistant to speak.
            rows: Position of each conversation in the data, for errors. None: these are parts of conversations, and
                one that can't be rendered gives None.

        Raises:
            ModelError: The template refuses a conversation, or there is no template and it is more than one question
                and its answer.
        """
        if not conversations:
            return []
        if not self.has_template:
            positions = range(len(conversations)) if rows is None else rows
            return [self._plain(one, row) for one, row in zip(conversations, positions, strict=True)]
        if rows is not None:  # parts were tried with the whole
            self._try(conversations)
        try:
            return self._apply(conversations, generation_prompt)
        except _TemplateTimeoutError:
            raise
        except Exception:  # noqa: BLE001 - a template is a program, which may divide by zero or call itself
            pass  # some row is at fault: find out which
        texts: list[str | None] = []
        for index, conversation in enumerate(conversations):
            try:
                texts.extend(self._apply([conversation], generation_prompt))
            except _TemplateTimeoutError:
                raise
            except Exception as error:  # a template is a program, which may divide by zero or call itself
                if rows is None:
                    texts.append(None)
                    continue
                roles = ", ".join(message["role"] for message in conversation.messages)
                raise ModelError(
                    f"the model's chat template refuses row {rows[index] + 1} (roles: {roles}): {error}; "
                    "change the row, or use another template with Model(chat_template=...)"
                ) from error
        return cast("list[str]", texts)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise texts as they are: special tokens are those in the text, none are added.

        Raises:
            ModelError: A token has no row in the model's embedding.
        """
        encoded: list[Encoding] = []
        for found in self._backend.encode_batch(list(texts), add_special_tokens=False):
            offsets: list[tuple[int, int]] = found.offsets
            if self._embedding_rows is not None and max(found.ids, default=0) >= self._embedding_rows:
                raise self._beyond_embedding(max(found.ids))
            encoded.append(Encoding(found.ids, [start for start, _ in offsets], [end for _, end in offsets]))
        return encoded

    def _beyond_embedding(self, token: int) -> ModelError:
        return ModelError(
            f"the tokenizer is larger than the model's embedding: token {token} "
            f"({self._tokenizer.convert_ids_to_tokens(token)!r}) is in the rows, but the embedding has "
            f"{self._embedding_rows:,} rows and the tokenizer {len(self._tokenizer):,} tokens; use the model's own "
            "tokenizer, or resize the model: model.resize_token_embeddings(len(tokenizer)), then save both"
        )

    def boundary_holds(self, text: str, encoding: Encoding, position: int) -> bool:
        """Return whether the text up to `position` has the same tokens alone, as in serving, as in the whole text."""
        ids, starts, ends = encoding
        first = bisect_right(ends, position)
        # Tokenizers cut at special tokens before anything else, so what lies before the last one can't matter; and what
        # lies after it is the same few words in every row ("assistant\n"), so that one look is enough for all of them.
        special = next(
            (
                token
                for token in range(first - 1, -1, -1)
                if self._is_spelled_out(text[starts[token] : ends[token]], ids[token])
            ),
            None,
        )
        begin = 0 if special is None else special
        tail = text[starts[begin] if begin else 0 : position] if ids else ""
        alone = self._tails.get(tail)
        if alone is None:
            alone = list(self._backend.encode(tail, add_special_tokens=False).ids)
            if special is not None:
                self._tails[tail] = alone
        return alone == ids[begin:first]

    def _is_spelled_out(self, characters: str, token: int) -> bool:
        """Return whether a special token other than the unknown token (`<unk>`) is spelled out in the text."""
        return token in self._special and characters.strip() == self._special[token].strip()

    @cached_property
    def _shape(self) -> TemplateShape:
        with time_limit(TEMPLATE_LIMITS.chunk_s):
            return template_shape(self._tokenizer, self._template)

    def _try(self, conversations: Sequence[Conversation]) -> None:
        """Let another process find out first whether the template needs too much time or memory."""
        if self._has_limits:
            return
        if self._trial is None:
            self._trial = trial_of(self._tokenizer, self._template)
        self._trial.check(conversations)

    def _apply(self, conversations: Sequence[Conversation], generation_prompt: bool) -> list[str]:
        is_plain = all(len(message) == 2 for one in conversations for message in one.messages)
        try:
            shape = TemplateShape() if is_plain else self._shape
            with time_limit(TEMPLATE_LIMITS.chunk_s):
                return render_conversations(
                    self._tokenizer,
                    conversations,
                    shape,
                    template=self._template,
                    generation_prompt=generation_prompt,
                )
        except TimeoutError as error:
            raise _TemplateTimeoutError(
                f"the model's chat template takes more than {TEMPLATE_LIMITS.chunk_s:g} seconds for "
                f"{len(conversations):,} rows, so it isn't used; pass another one with Model(chat_template=...)"
            ) from error

    def _plain(self, conversation: Conversation, row: int) -> str:
        messages = conversation.messages
        roles = [message["role"] for message in messages]
        if roles not in (["user"], ["user", "assistant"]) or conversation.uses_tools or len(messages[-1]) > 2:
            more = " and tools" if conversation.uses_tools else ""
            raise ModelError(
                "the model has no chat template, so it can only learn from one prompt and its completion; row "
                f"{row + 1} has the roles "
                f"{', '.join(roles)}{more}; give it a template with Model(chat_template=...), or choose its instruct "
                "version"
            )
        end = (self._tokenizer.eos_token or "") if len(messages) == 2 else ""
        return self._opening + "".join(message["content"] for message in messages) + end
