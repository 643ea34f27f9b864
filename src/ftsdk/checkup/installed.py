"""Which extras are installed, and in which versions."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from ftsdk.checkup.check import Check

__all__ = ["check_extras"]

_USES = {
    "cost": "ftsdk cost crossover, and plots",
    "data": "checks of languages and labels",
    "evals": "more metrics, JSON Schema",
    "export": "run.export(...)",
    "lm-eval": "tasks of the Evaluation Harness",
    "local": 'backend="local", and answers of local models',
    "mlflow": 'trackers=["mlflow"]',
    "modal": 'backend="modal"',
    "pii": "names in texts",
    "s3": "data at s3:// addresses",
    "telemetry": "traces and metrics of a router",
    "tensorboard": 'trackers=["tensorboard"]',
    "together": 'backend="together"',
    "trackio": 'trackers=["trackio"]',
    "wandb": 'trackers=["wandb"]',
}
_COLLECTIONS = frozenset({"all"})


def check_extras(
    *, requirements: Callable[[], list[str]] | None = None, version_of: Callable[[str], str] = version
) -> list[Check]:
    """Compare what is installed with what ftsdk declares: the core first, then each extra.

    Args:
        requirements: Returns ftsdk's declared requirements; None: those of the installed package.
        version_of: Returns the version of a package, or raises `PackageNotFoundError`.
    """
    declared = [Requirement(line) for line in (requirements or _declared)()]
    extras = sorted({name for one in declared for name in _extras_of(one)} - _COLLECTIONS)
    core = [one for one in declared if not _extras_of(one) and _applies(one, "")]
    checks = [_check("ftsdk", core, version_of, is_core=True)]
    for extra in extras:
        own = [one for one in declared if extra in _extras_of(one) and one.name != "ftsdk" and _applies(one, extra)]
        checks.append(_check(extra, own, version_of))
    return checks


def _declared() -> list[str]:
    return requires("ftsdk") or []


def _extras_of(one: Requirement) -> set[str]:
    """Return the extras that a requirement belongs to: the words beside `extra ==` in its marker."""
    words = str(one.marker or "").replace("'", '"').split("extra == ")[1:]
    return {word.split('"')[1] for word in words}


def _applies(one: Requirement, extra: str) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": extra})


def _check(name: str, needed: list[Requirement], version_of: Callable[[str], str], *, is_core: bool = False) -> Check:
    there: list[str] = []
    wrong: list[str] = []
    absent: list[str] = []
    for one in needed:
        try:
            found = version_of(one.name)
        except PackageNotFoundError:
            absent.append(one.name)
            continue
        there.append(f"{one.name} {found}")
        if not one.specifier.contains(found, prereleases=True):
            wrong.append(f"{one.name} {found} isn't {one.specifier}")
    install = "pip install --upgrade ftsdk" if is_core else f'pip install --upgrade "ftsdk[{name}]"'
    if wrong or (is_core and absent):
        missing = [f"{package} is missing" for package in absent]
        return Check(
            part="installed", name=name, state="problem", found="; ".join([*wrong, *missing]), next_step=install
        )
    if absent:
        found = f"without {', '.join(absent)}"
        use = f", for {_USES[name]}" if name in _USES else ""
        return Check(
            part="installed", name=name, state="missing", found=found, next_step=f'pip install "ftsdk[{name}]"{use}'
        )
    if is_core:
        found = f"{version_of('ftsdk')}, Python {platform.python_version()}"
        return Check(part="installed", name=name, state="ok", found=found, next_step="ftsdk --help")
    return Check(
        part="installed", name=name, state="ok", found=", ".join(there), next_step=_USES.get(name, "ready to use")
    )
