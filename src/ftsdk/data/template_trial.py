"""A chat template tried once in a process of its own, with limits of time and memory, before it is used here."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache

from ftsdk.data.limits import TEMPLATE_LIMITS
from ftsdk.errors import ModelError

__all__ = ["check_template"]

_TOO_MUCH = 77
_TRIAL = f"""
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({TEMPLATE_LIMITS.trial_bytes},) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, ({int(TEMPLATE_LIMITS.trial_s)},) * 2)
except (ImportError, ValueError, OSError):
    pass
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
messages = [dict(role="user", content="a"), dict(role="assistant", content="b")]
try:
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.globals["strftime_now"] = lambda form: ""
    template = env.from_string(sys.stdin.read())
    template.render(messages=messages[:1], add_generation_prompt=True, bos_token="", eos_token="")
    template.render(messages=messages, add_generation_prompt=False, bos_token="", eos_token="")
except MemoryError:
    sys.exit({_TOO_MUCH})
except Exception:
    pass  # what a template refuses is found out with the rows
"""


@lru_cache(maxsize=64)
def check_template(template: str) -> None:
    """Try a template on a short conversation; one that fails in another way than by its limits passes.

    Raises:
        ModelError: It takes longer than `TEMPLATE_LIMITS.trial_s` or more memory than `TEMPLATE_LIMITS.trial_bytes`.
    """
    if "{%" not in template and "{{" not in template:
        return
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ.get("PATH", "")}
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", _TRIAL],
            input=template.encode("utf-8", errors="replace"),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TEMPLATE_LIMITS.trial_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = f"more than {TEMPLATE_LIMITS.trial_s:.0f} seconds"
    else:
        if ended.returncode >= 0 and ended.returncode != _TOO_MUCH:
            return
        is_memory = ended.returncode == _TOO_MUCH
        what = (
            f"more than {TEMPLATE_LIMITS.trial_bytes / 2**30:.0f} GiB of memory"
            if is_memory
            else f"more than it may use (signal {-ended.returncode})"
        )
    raise ModelError(
        f"the model's chat template takes {what} for two short messages, so it isn't used; pass another one with "
        "Model(chat_template=...)"
    )
