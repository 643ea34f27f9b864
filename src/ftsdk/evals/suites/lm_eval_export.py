"""An eval as a task of lm-eval, for the backends and leaderboards that read its tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk._files import make_folder, replace_file
from ftsdk._yaml import yaml_text
from ftsdk.errors import SpecError
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import Example
from ftsdk.evals.generation import tools_of
from ftsdk.evals.reasoning import final_answer

__all__ = ["write_lm_eval_task"]

_LONGEST_CHOICES = 100


def write_lm_eval_task(item: Eval, folder: str | Path) -> Path:
    """Write an eval as a task of lm-eval: `<name>.yaml`, and its examples beside it in `<name>.jsonl`.

    `exact_match` becomes a task that generates. `choice` becomes multiple choice: lm-eval takes the likeliest class and
    doesn't generate, so the two numbers differ. The task names the file of examples by its absolute path.

    ```python
    write_lm_eval_task(Eval.exact_match(test, name="accuracy"), Path("tasks"))
    lm_eval(["accuracy"], target, include_path=Path("tasks"))
    ```

    Args:
        item: The eval; its prompts have one user message, and perhaps a system message before it.
        folder: For both files; created if missing.

    Returns:
        The YAML file.

    Raises:
        SpecError: lm-eval can't ask or judge what the eval does.
    """
    examples = item.examples()
    name, options = item.scorer.name, dict(item.scorer.options)
    docs: list[dict[str, Any]] = [
        {"prompt": _prompt(item, number, one), "expected": final_answer(one.expected)}
        for number, one in enumerate(examples, start=1)
    ]
    if name == "exact_match":
        task = _generating(item, options)
    elif name == "choice":
        task = _choosing(item, docs, options)
    else:
        raise SpecError(
            f"lm-eval has no metric for the scorer {name!r} of the eval {item.name!r}; exact_match and choice can be "
            "written as tasks"
        )
    folder = Path(folder).expanduser()
    make_folder(folder)
    data = folder.resolve() / f"{item.name}.jsonl"
    replace_file(data, "".join(json.dumps(doc) + "\n" for doc in docs).encode(), is_private=False)
    written = folder / f"{item.name}.yaml"
    head = {
        "task": item.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "prompt",
        # Where lm-eval writes contexts and answers into one text, nothing is added between them.
        "target_delimiter": "",
    }
    replace_file(written, yaml_text({**head, **task}).encode(), is_private=False)
    return written


def _prompt(item: Eval, number: int, example: Example) -> str:
    roles = [message["role"] for message in example.prompt]
    if roles not in (["user"], ["system", "user"]) or tools_of(example.prompt):
        raise SpecError(
            f"row {number} of the eval {item.name!r} can't be asked by lm-eval, which sends one text: its messages are "
            f"{', '.join(roles)}{' with tools' if tools_of(example.prompt) else ''}"
        )
    return "\n\n".join(str(message["content"]) for message in example.prompt)


def _generating(item: Eval, options: Mapping[str, Any]) -> dict[str, Any]:
    if not options.get("strip", True):
        raise SpecError(f"lm-eval strips answers, and the eval {item.name!r} has strip=False")
    settings: dict[str, Any] = {"until": [], "do_sample": False}
    if item.max_new_tokens is not None:
        settings["max_gen_toks"] = item.max_new_tokens
    metric = {
        "metric": "exact_match",
        "aggregation": "mean",
        "higher_is_better": True,
        "ignore_case": bool(options.get("ignore_case", False)),
        # Whitespace around both texts doesn't count.
        "regexes_to_ignore": [r"\A\s+", r"\s+\Z"],
    }
    return {
        "output_type": "generate_until",
        "doc_to_target": "expected",
        "generation_kwargs": settings,
        "metric_list": [metric],
    }


def _choosing(item: Eval, docs: list[dict[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    choices = list(options.get("choices") or sorted({doc["expected"].strip() for doc in docs}))
    if not 2 <= len(choices) <= _LONGEST_CHOICES:
        raise SpecError(
            f"multiple choice takes 2 to {_LONGEST_CHOICES} classes; the eval {item.name!r} has {len(choices)}"
        )
    folded = {choice.strip().casefold(): number for number, choice in enumerate(choices)}
    for number, doc in enumerate(docs, start=1):
        label = folded.get(doc["expected"].strip().casefold())
        if label is None:
            raise SpecError(f"the reference of row {number} of the eval {item.name!r} is none of its choices")
        doc["choices"], doc["label"] = choices, label
    return {
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
