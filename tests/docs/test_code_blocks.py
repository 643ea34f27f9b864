"""Every code block in the README and the docs is real: Python runs, job files are read, commands exist.

A page's Python blocks run in order, in one namespace, in a folder with small files (`workplace` in conftest.py). Two
things differ from what a reader does, both by changing the text before it runs: the id of a SmolLM2 model becomes the
folder of a tiny random model, and the files are short. `doc_blocks` has the comments above a block that change this.
"""

from __future__ import annotations

import ast
import math
import pkgutil
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import BLOCKS, PROJECT, Block

from ftsdk.spec import DPO, SFT, DoRA, EarlyStopping, FullFineTune, JobFields, LoRA, QLoRA, Value, default_learning_rate

TRAINING_PAGES = ("README.md", "docs/tutorials/first-fine-tune.md")
"""Pages whose blocks start a run: each takes a worker process, so there are few of them."""
NOT_RUN = 40
"""How many Python blocks can't run here. Change it with care: a block that doesn't run goes stale."""

_MODEL_ID = re.compile(r"HuggingFaceTB/SmolLM2-\d+M-Instruct")
_NEEDS_MODEL = re.compile(r"\bjob\.(preview|report|submit)\(|\blocal_targets\(|\.(generate|export)\(")


ALL = [block for blocks in BLOCKS.values() for block in blocks]


def of(language: str) -> list[Block]:
    return [block for block in ALL if block.language == language]


def pages_with_python() -> list[Any]:
    pages = [page for page, blocks in BLOCKS.items() if any(b.language == "python" and not b.not_run for b in blocks)]
    return [pytest.param(page, marks=pytest.mark.e2e) if page in TRAINING_PAGES else page for page in pages]


@pytest.mark.parametrize("page", pages_with_python())
def test_the_python_of_a_page_runs(page: str, workplace: Path, request: pytest.FixtureRequest) -> None:
    runnable = [block for block in BLOCKS[page] if block.language == "python" and not block.not_run]
    if any("TogetherService(" in block.code for block in runnable):
        pytest.importorskip("together", reason="the extra 'together' isn't installed")
    model = None
    if any(_NEEDS_MODEL.search(block.code) for block in runnable):
        model = request.getfixturevalue("tiny_model").as_posix()

    def here(text: str) -> str:
        return text if model is None else _MODEL_ID.sub(model, text)

    for block in BLOCKS[page]:
        if block.file:
            (workplace / block.file).write_text(here(block.code), encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in runnable:
        # Blank lines in front, so that a traceback names the line of the page.
        exec(compile("\n" * (block.line - 1) + here(block.code), block.page, "exec"), namespace)
    assert len(namespace) > 1


def test_the_router_of_a_file_can_be_built(tmp_path: Path) -> None:
    from ftsdk.deploy.router.route_file import RouteFile

    files = [block for block in ALL if block.file == "route.yaml"]
    assert files
    (tmp_path / "checks.py").write_text("def is_category(messages, answer):\n    return True\n", encoding="utf-8")
    for block in files:
        path = tmp_path / "route.yaml"
        path.write_text(block.code, encoding="utf-8")
        router = RouteFile.from_yaml(path).router(path)
        assert router.config.fallbacks, block


def test_only_the_listed_pages_start_a_run() -> None:
    starting = {b.page for b in of("python") if not b.not_run and "job.submit()" in b.code}
    assert starting == set(TRAINING_PAGES)


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    left_out = [block for block in of("python") if block.not_run]
    assert len(left_out) == NOT_RUN, f"left out: {', '.join(map(str, left_out))}"
    assert all(len(block.not_run or "") > 10 for block in left_out)


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_compiles_and_imports_what_exists(block: Block) -> None:
    tree = ast.parse(block.code, block.page)
    wanted = [
        (n.module, a.name)
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and n.module and n.module.split(".")[0] == "ftsdk"
        for a in n.names
    ]
    missing = [f"{module}.{name}" for module, name in wanted if not hasattr(import_module(module), name)]
    assert missing == []


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_a_job_file_is_read(block: Block, workplace: Path) -> None:
    from ftsdk import FineTuneJob

    (workplace / "job.yaml").write_text(block.code, encoding="utf-8")
    job = FineTuneJob.from_yaml("job.yaml")
    assert job.spec().train.rows > 0


def commands() -> list[Any]:
    lines = [(block, number, line) for block in of("bash") for number, line in enumerate(block.code.splitlines())]
    return [
        pytest.param(line, id=f"{block.page}:{block.line + number}")
        for block, number, line in lines
        if line.startswith("ftsdk ")
    ]


@pytest.mark.parametrize("line", commands())
def test_a_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(re.split("[<>]", line)[0])[1:]
    command = cli()
    while hasattr(command, "commands"):  # a group, such as `ftsdk prices`
        if words[0] not in command.commands and hasattr(command, "default_command"):
            words = [command.default_command, *words]
        assert words[0] in command.commands
        command, words = command.commands[words[0]], words[1:]
    parameters = command.params
    options = {name: p for p in parameters if p.param_type_name == "option" for name in (*p.opts, *p.secondary_opts)}
    positional = 0
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            assert word in options
            if not getattr(options[word], "is_flag", False):
                assert next(rest, None) is not None, f"{word} needs a value"
        else:
            positional += 1
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    most = math.inf if any(p.nargs == -1 for p in arguments) else len(arguments)
    assert sum(p.required for p in arguments) <= positional <= most


def test_the_command_line_reference_names_every_command_and_option() -> None:
    text = (PROJECT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    commands = all_commands("ftsdk", cli())
    wanted = {f"`{name}" for name in commands}
    wanted |= {
        f"`{option}"
        for c in commands.values()
        for p in c.params
        if p.param_type_name == "option"
        for option in (*p.opts, *p.secondary_opts)
    }
    assert {word for word in wanted if word not in text} == set()


def all_commands(name: str, command: Any) -> dict[str, Any]:
    """The commands by their words, with those of groups."""
    if not hasattr(command, "commands"):
        return {name: command}
    return {
        words: one
        for inner, member in command.commands.items()
        for words, one in all_commands(f"{name} {inner}", member).items()
    }


def cli() -> Any:
    import typer

    from ftsdk.cli.app import app

    return typer.main.get_command(app)


def test_the_two_lines_of_the_readme_are_whole_blocks_and_name_sessions() -> None:
    found = [block.code.strip() for block in BLOCKS["README.md"] if block.language == "bash"]
    noxfile = (PROJECT / "noxfile.py").read_text(encoding="utf-8")
    for session in ("quickstart", "tests"):
        assert f"python -m pip install nox && nox -s {session}" in found
        assert f"\ndef {session}(" in noxfile


def reference_names() -> list[str]:
    pages = (PROJECT / "docs" / "reference").glob("*.md")
    return sorted(
        line.removeprefix("::: ")
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("::: ")
    )


@pytest.mark.parametrize("name", reference_names())
def test_a_reference_entry_points_at_something(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None


def test_every_public_name_is_in_the_reference() -> None:
    import ftsdk

    documented = {name.rpartition(".")[2] for name in reference_names()}
    assert set(dir(ftsdk)) <= documented


def defaults_row(name: str) -> str:
    lines = (PROJECT / "docs" / "explanation" / "defaults.md").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if re.match(rf"\| `(\w+\.)?{name}`", line)), "")


@pytest.mark.parametrize("owner", [JobFields, EarlyStopping, SFT, DPO, QLoRA], ids=lambda owner: owner.__name__)
def test_every_default_is_on_the_page_of_defaults(owner: type[Value]) -> None:
    wrong: list[str] = []
    for name, field in owner.model_fields.items():
        if name == "kind":
            continue
        shown = (
            f"{type(field.default).__name__}()"
            if isinstance(field.default, Value)
            else ""
            if name == "name"
            else str(field.default)
        )
        row = defaults_row(name)
        if not row or shown not in row.split("|")[2]:
            wrong.append(f"{name} = {shown}")
    assert wrong == []


def test_the_learning_rates_on_the_page_of_defaults_are_those_of_the_code() -> None:
    page = (PROJECT / "docs" / "explanation" / "defaults.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if re.match(r"\| `(SFT|DPO)` \|", line)
    ]
    shown = {(method.strip("`"), "FullFineTune" in tuning): float(rate) for method, tuning, rate, _ in rows}
    for method in (SFT(), DPO()):
        for tuning in (LoRA(), QLoRA(), DoRA(), FullFineTune()):
            assert (
                shown[type(method).__name__, isinstance(tuning, FullFineTune)]
                == default_learning_rate(method, tuning)[0]
            )
