"""A Modelfile for Ollama around a finished GGUF file: stops, parameters, and a template if one is known to be equal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["GoTemplate", "Modelfile", "go_template", "write_modelfile"]

_CHATML = """\
{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
_LLAMA_3 = """\
{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

"""
_KNOWN = {_CHATML: "chatml", _LLAMA_3: "llama 3"}
_RANGE = re.compile(r"\{\{- range \.Messages \}\}(.*?)\{\{ end \}\}(.*)", re.DOTALL)
_SAMPLES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "Where is my parcel?"),),
    (("system", "Answer in one word."), ("user", "Is it late?")),
    (("user", "Hello."), ("assistant", "Hi."), ("user", "One more?\n\nYes.")),
    (("system", "Brief."), ("user", "A"), ("assistant", "B"), ("user", "C")),
)


@dataclass(frozen=True, kw_only=True)
class GoTemplate:
    """A template in Ollama's language."""

    text: str
    name: str
    system: str | None = None
    """The system message of conversations that have none."""


@dataclass(frozen=True, kw_only=True)
class Modelfile:
    """What Ollama is told of a GGUF file."""

    text: str
    template: str | None
    """The name of the template; None: none was found equal, so that Ollama uses the file's own."""


def go_template(render: Callable[[Sequence[tuple[str, str]]], str | None]) -> GoTemplate | None:
    """Return a template of Ollama's that renders conversations as the model's own does.

    Ollama's templates are of Go, the model's is of Jinja: a known one counts as equal if it renders samples with one,
    two and three turns, with a system message and without, to the same text. A system message that the model's own
    adds where there is none goes into the Modelfile.

    Args:
        render: Renders a conversation, as roles and contents, by the model's own template.

    Returns:
        None: there is none.
    """
    for template, name in _KNOWN.items():
        system = _added_system(template, _plain(render(_SAMPLES[0])))
        wanted = [
            _rendered(template, sample if system is None or sample[0][0] == "system" else (("system", system), *sample))
            for sample in _SAMPLES
        ]
        if [_plain(render(sample)) for sample in _SAMPLES] == wanted:
            return GoTemplate(text=template, name=name, system=system)
    return None


def _plain(text: str | None) -> str:
    """Return a rendered conversation without the beginning of text, which Ollama adds with the ids."""
    return (text or "").removeprefix("<|begin_of_text|>")


def _added_system(template: str, own: str) -> str | None:
    """Return the system message that the model's own template adds to a conversation without one."""
    match = _RANGE.fullmatch(template)
    assert match is not None
    before, _, after = match[1].replace("{{ .Role }}", "system").partition("{{ .Content }}")
    added = own.removesuffix(_rendered(template, _SAMPLES[0]))
    if added == own or not added.startswith(before) or not added.endswith(after):
        return None
    return added[len(before) : len(added) - len(after)]


def write_modelfile(
    file_name: str,
    *,
    template: GoTemplate | None,
    stops: Sequence[str],
    context: int,
    licence: str | None,
) -> Modelfile:
    """Return a Modelfile.

    Args:
        file_name: The GGUF file beside it.
        template: From `go_template`.
        stops: Texts that end an answer.
        context: Tokens of prompt and answer: Ollama takes 2,048 or 4,096 if it isn't told, and cuts longer prompts
            without a word.
        licence: The base's.
    """
    lines = [f"FROM ./{file_name}"]
    if template is not None:
        lines.append(f'TEMPLATE """{template.text}"""')
        if template.system:
            lines.append(f'SYSTEM """{_quoted(template.system)}"""')
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    lines += ["PARAMETER temperature 0", f"PARAMETER num_ctx {context}"]
    if licence:
        lines.append(f'LICENSE """{_quoted(licence)}"""')
    return Modelfile(text="\n".join(lines) + "\n", template=None if template is None else template.name)


def _rendered(template: str, messages: Sequence[tuple[str, str]]) -> str:
    match = _RANGE.fullmatch(template)
    assert match is not None
    body = match[1]
    parts = [body.replace("{{ .Role }}", role).replace("{{ .Content }}", content) for role, content in messages]
    return "".join(parts) + match[2]


def _quoted(text: str) -> str:
    return text.replace('"""', "'''")
