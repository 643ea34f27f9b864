"""A chat template tried in a process of its own, with limits of time and memory, before it is used here.

Within this process a loop can be interrupted; a single step, such as `9 ** 9 ** 9` or a text repeated a billion times,
can't be, and nothing limits its memory. Templates that have such steps are tried with the rows, too.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from ftsdk.errors import ModelError
from ftsdk.models.chat_template import Conversation, TemplateShape, as_template_sees, message_text
from ftsdk.models.limits import TEMPLATE_LIMITS
from ftsdk.models.plain_tokenizer import compiled_template, template_environment

__all__ = ["OUT_OF_MEMORY", "RowTrial", "check_template", "child", "kill_after", "limit_memory", "too_much", "trial_of"]

OUT_OF_MEMORY = 77
"""The exit status of a child that needed more than it may have."""
_CHILD = "from ftsdk.models.template_trial import child; child()"
_HEAVY_NAMES = frozenset(
    {"center", "expandtabs", "format", "indent", "lipsum", "ljust", "replace", "rjust", "wordwrap", "zfill"}
)
"""Methods, filters and functions whose result may be far larger than what they are called with."""
_WIDTH = re.compile(r"%[-+ #0]*(\d{4,}|\*)")
"""A format that asks for thousands of characters, or for any number of them."""
_SHORT = Conversation([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])


@lru_cache(maxsize=64)
def check_template(template: str) -> None:
    """Try a template on a short conversation; one that fails in another way than by its limits passes.

    Raises:
        ModelError: It takes longer than `TEMPLATE_LIMITS.trial_s` or more memory than `TEMPLATE_LIMITS.trial_bytes`.
    """
    if "{%" not in template and "{{" not in template:
        return
    _try(
        template,
        {"bos_token": "", "eos_token": ""},
        [_SHORT],
        timeout_s=TEMPLATE_LIMITS.trial_s,
        what="two short messages",
    )


class RowTrial:
    """Conversations tried before they are rendered here, if the template can do what can't be interrupted.

    As a plan does, it tries all of little data; of more, those that are longer than any before.

    Args:
        template: The Jinja template.
        special: The special tokens that it gets, by name.
    """

    def __init__(self, template: str, special: Mapping[str, object]) -> None:
        self._template = template
        self._special = {name: token for name, token in special.items() if isinstance(token, str)}
        self._count = self._longest = 0

    def check(self, conversations: Sequence[Conversation]) -> None:
        """Try conversations: whole ones, and each up to an answer.

        Raises:
            ModelError: The template takes too long or too much memory.
        """
        if not _is_heavy(self._template):
            return
        asked: list[Conversation] = []
        for one in conversations:
            size = sum(len(message_text(message)) for message in one.messages)
            if self._count < TEMPLATE_LIMITS.whole_rows or size > self._longest:
                asked.append(one)
            self._count += 1
            self._longest = max(self._longest, size)
        if asked:
            what = "one row" if len(asked) == 1 else f"{len(asked):,} rows"
            _try(self._template, self._special, asked, timeout_s=TEMPLATE_LIMITS.sample_s, what=what)


def trial_of(tokenizer: Any, chat_template: str | None = None) -> RowTrial:
    """Return the trial of a Hugging Face tokenizer's template, which is tried alone at once.

    Args:
        tokenizer: With a chat template, or several by name, of which `default` is used.
        chat_template: A template in place of the tokenizer's own.

    Raises:
        ModelError: The template takes too long or too much memory.
    """
    template: Any = chat_template or tokenizer.chat_template
    if isinstance(template, Mapping):
        template = next((text for name, text in template.items() if name == "default"), "")
    check_template(str(template or ""))
    return RowTrial(str(template or ""), getattr(tokenizer, "special_tokens_map", {}))


@lru_cache(maxsize=64)
def _is_heavy(template: str) -> bool:
    """Return whether a single step of the template may take long or allocate much."""
    from jinja2 import nodes

    try:
        tree = template_environment().parse(template)
    except Exception:  # noqa: BLE001 - what can't be parsed is refused where it is rendered
        return False
    return any(_is_heavy_node(node, nodes) for node in tree.find_all(nodes.Node))


def _is_heavy_node(node: Any, nodes: Any) -> bool:
    if isinstance(node, nodes.Pow | nodes.Mul):
        return True
    if isinstance(node, nodes.Mod):  # of texts, as in "%999999999d" % 1, and not of loop.index0 % 2
        return isinstance(node.left, nodes.Const) or not isinstance(node.right, nodes.Const)
    if isinstance(node, nodes.Const):
        return isinstance(node.value, str) and _WIDTH.search(node.value) is not None
    if isinstance(node, nodes.Filter) and node.name == "tojson":
        return bool(node.args or node.kwargs)
    if isinstance(node, nodes.Concat | nodes.Add):
        return _repeats_a_part(node, nodes)
    names = [getattr(node, "name", None), getattr(node, "attr", None)]
    return any(name in _HEAVY_NAMES for name in names)


def _repeats_a_part(node: Any, nodes: Any) -> bool:
    """Return whether something is put behind itself, which in a loop grows without bounds: `text ~ text`."""
    parts = [part for part in node.find_all((nodes.Name, nodes.Getattr, nodes.Getitem)) if part.ctx == "load"]
    wholes = [
        part
        for part in parts
        if not any(part is inner for outer in parts if outer is not part for inner in outer.find_all(type(part)))
    ]
    return any(part == other for n, part in enumerate(wholes) for other in wholes[:n])


def _try(
    template: str, special: Mapping[str, str], asked: Sequence[Conversation], *, timeout_s: float, what: str
) -> None:
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ.get("PATH", "")}
    request = {"template": template, "special": special, "asked": asked, "row_s": TEMPLATE_LIMITS.trial_s}
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD],
            input=json.dumps(request, default=str).encode(),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise too_much(f"more than {timeout_s:.0f} seconds", what) from error
    if ended.returncode == -getattr(signal, "SIGALRM", 0) != 0:
        raise too_much(f"more than {TEMPLATE_LIMITS.trial_s:.0f} seconds", what)
    if ended.returncode == OUT_OF_MEMORY:
        raise too_much(f"more than {TEMPLATE_LIMITS.trial_bytes / 2**30:.0f} GiB of memory", what)
    if ended.returncode < 0:
        raise too_much(f"more than it may use (signal {-ended.returncode})", what)


def too_much(limit: str, what: str) -> ModelError:
    """Return the error for a template that went over a limit."""
    return ModelError(
        f"the model's chat template takes {limit} for {what}, so it isn't used; pass another one with "
        "Model(chat_template=...)"
    )


def child() -> None:
    """Render what is asked on standard input; this is the process with limits."""
    request: dict[str, Any] = json.load(sys.stdin)
    limit_memory()
    kill_after(request["row_s"])
    try:
        template = compiled_template(request["template"])
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
    except Exception:  # noqa: BLE001 - what a template refuses is found out where it is rendered
        return
    for messages, tools in request["asked"]:
        kill_after(request["row_s"])
        # Which shape the template takes isn't known here, and with the other one it may well fail.
        shapes: list[Literal["object", "text"]] = (
            ["object", "text"] if Conversation(messages).uses_tools else ["object"]
        )
        for end, arguments in itertools.product(range(1, len(messages) + 1), shapes):
            try:
                template.render(
                    messages=as_template_sees(messages[:end], TemplateShape(arguments=arguments)),
                    tools=tools or None,
                    documents=None,
                    add_generation_prompt=messages[end - 1].get("role") != "assistant",
                    **request["special"],
                )
            except MemoryError:
                sys.exit(OUT_OF_MEMORY)
            except Exception:  # noqa: BLE001 - as above
                continue


def kill_after(seconds: float) -> None:
    """End this process after so many seconds, also inside of a library; 0 calls it off."""
    if hasattr(signal, "setitimer"):  # not on Windows, where the time for all rows is limited alone
        signal.setitimer(signal.ITIMER_REAL, seconds)


def limit_memory() -> None:
    """Allow this process `TEMPLATE_LIMITS.trial_bytes` more memory than it has now."""
    try:
        import resource
        from pathlib import Path

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + TEMPLATE_LIMITS.trial_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (ImportError, ValueError, OSError):
        pass  # only Linux can tell: elsewhere the time is limited alone
