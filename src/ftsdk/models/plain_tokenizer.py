"""A tokenizer and its chat template straight from a model's files, for checks before a run.

Loading it with transformers takes seconds, and with a client that only plans, torch isn't even installed. Here it takes
tokenizers and Jinja, with what transformers 5.23 adds to Jinja (`utils/chat_template_utils.py`). Training and previews
use transformers' own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ftsdk.models.folder_files import read_json
from ftsdk.models.source import inspect_model
from ftsdk.spec import Model

__all__ = ["PlainTokenizer", "TokenizerFiles", "compiled_template", "template_environment", "tokenizer_files"]


@dataclass(frozen=True, kw_only=True)
class TokenizerFiles:
    """What a `PlainTokenizer` is made of."""

    path: str
    """The `tokenizer.json`."""
    chat_template: str
    special_tokens: tuple[tuple[str, str], ...]
    """Special tokens by what they are for: `("eos_token", "</s>")`."""
    model_max_length: int | None
    """What the tokenizer's config states."""


def tokenizer_files(model: Model) -> TokenizerFiles | str:
    """Find the files of a model's tokenizer, offline; a text is the reason why they can't be used.

    Raises:
        ModelError: The model isn't whole, or isn't safe to load.
    """
    facts = inspect_model(model)
    if not facts.is_downloaded or facts.path is None:
        return "the model isn't on this machine"
    if not facts.path.is_dir():
        return "a GGUF file is unpacked first"
    if model.add_tokens is not None:
        return "tokens are added to its tokenizer first"
    folder = facts.path
    if not (folder / "tokenizer.json").is_file() or not (folder / "tokenizer_config.json").is_file():
        return "the model has no tokenizer.json"
    config = read_json(folder / "tokenizer_config.json", facts.name)
    template = _template(folder, config) if model.chat_template is None else model.chat_template
    if template is None:
        return "the model has no chat template, or several"
    special = {name: text for name, value in config.items() if name.endswith("_token") and (text := _token(value))}
    if "eos_token" not in special:
        return "the tokenizer's config names no end-of-sequence token"
    length = config.get("model_max_length")
    return TokenizerFiles(
        path=str(folder / "tokenizer.json"),
        chat_template=template,
        special_tokens=tuple(sorted(special.items())),
        model_max_length=length if type(length) is int and 0 < length < 10**9 else None,
    )


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    found = config.get("chat_template")
    return found if isinstance(found, str) and found else None


def _token(value: object) -> str | None:
    if isinstance(value, dict):
        value = cast("dict[str, object]", value).get("content")
    return value if isinstance(value, str) else None


class PlainTokenizer:
    """As much of transformers' fast tokenizer as rendering asks for."""

    is_fast = True

    def __init__(self, files: TokenizerFiles) -> None:
        """Load the tokenizer; its template is compiled when it is first used, since Jinja runs parts of it then.

        Raises:
            ImportError: The package tokenizers isn't installed.
            Exception: The file can't be used; tokenizers has many errors for that.
        """
        from tokenizers import Tokenizer

        backend: Any = Tokenizer.from_file(files.path)
        backend.no_truncation()
        backend.no_padding()
        self.backend_tokenizer = backend
        self._special = dict(files.special_tokens)
        self.chat_template = {"default": files.chat_template}
        """As tokenizers with several templates have it."""
        self.bos_token: str | None = self._special.get("bos_token")
        self.eos_token: str | None = self._special.get("eos_token")
        self.bos_token_id: int | None = None if self.bos_token is None else backend.token_to_id(self.bos_token)
        self.eos_token_id: int | None = None if self.eos_token is None else backend.token_to_id(self.eos_token)
        self.added_tokens_decoder: Mapping[int, Any] = backend.get_added_tokens_decoder()

    @cached_property
    def _compiled(self) -> Any:
        return compiled_template(self.chat_template["default"])

    def __call__(self, text: str, **_options: object) -> dict[str, list[int]]:
        """Tokenise a text as a first turn: with what the tokenizer puts in front."""
        return {"input_ids": list(self.backend_tokenizer.encode(text).ids)}

    def __len__(self) -> int:
        """Return the number of tokens."""
        return int(self.backend_tokenizer.get_vocab_size())

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """Return a token as it stands in the vocabulary."""
        return self.backend_tokenizer.id_to_token(token)

    def apply_chat_template(
        self,
        conversations: Sequence[Sequence[Mapping[str, Any]]],
        *,
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **_options: object,
    ) -> list[str]:
        """Render conversations to text."""
        return [
            self._compiled.render(
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special,
            )
            for messages in conversations
        ]


def compiled_template(template: str) -> Any:
    """Return a chat template, compiled as transformers does it."""
    return template_environment().from_string(template)


def template_environment() -> Any:
    """Return the sandbox of chat templates, with what transformers adds to Jinja."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The block `generation`, which marks what an assistant wrote: here its content alone."""

        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: object) -> None:
        raise jinja2.TemplateError(str(message))

    def now(form: str) -> str:
        return datetime.now().strftime(form)  # noqa: DTZ005 - as transformers has it

    def to_json(value: object, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment: Any = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = now
    return environment
