from __future__ import annotations

import compileall
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ftsdk
import ftsdk.cost

PACKAGES = pytest.mark.parametrize("package", [ftsdk, ftsdk.cost], ids=lambda package: package.__name__)


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@PACKAGES
def test_every_public_name_is_listed_once_and_loads(package) -> None:
    source = (Path(package.__file__).parent / "_exports.py").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines()[1:] if line]
    listed = [
        match.groups() for line in lines if (match := re.fullmatch(r"from ftsdk[\w.]+ import (\w+) as (\w+)", line))
    ]
    assert len(listed) == len(lines)
    assert all(name == alias for name, alias in listed)
    assert sorted(name for name, _ in listed) == sorted(package.__all__)
    assert len(set(package.__all__)) == len(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert dir(package) == sorted(package.__all__)


@PACKAGES
def test_public_names_are_sorted(package) -> None:
    # Ruff's order for `__all__`: constants, then classes, then functions.
    assert package.__all__ == sorted(
        package.__all__, key=lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
    )


@PACKAGES
def test_a_name_that_is_not_public_is_an_attribute_error(package) -> None:
    with pytest.raises(AttributeError, match=rf"module '{package.__name__}' has no attribute 'Lora'"):
        _ = package.Lora


def test_a_public_name_loads_only_the_module_that_it_comes_from() -> None:
    code = "import sys; from ftsdk import SpecError; print([m for m in sys.modules if m.startswith('ftsdk.')])"
    assert run(code) == "['ftsdk._lazy', 'ftsdk.errors']"


def test_without_source_files_the_names_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "__init__.py").write_text(
        "from ftsdk._lazy import lazy_exports\n__getattr__, __dir__ = lazy_exports(__name__)\n"
    )
    (tmp_path / "names" / "_exports.py").write_text("from json import dumps as dumps\n")
    compileall.compile_dir(tmp_path, legacy=True, quiet=1)
    for file in (tmp_path / "names").glob("*.py"):
        file.unlink()
    assert (
        run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import names; print(names.__all__, names.dumps([1]))")
        == "['dumps'] [1]"
    )


def test_a_star_import_brings_every_public_name() -> None:
    assert (
        json.loads(
            run(
                "import json, ftsdk\nfrom ftsdk import *\nprint(json.dumps([n for n in ftsdk.__all__ if n not in "
                "globals()]))"
            )
        )
        == []
    )


def test_importing_ftsdk_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "datasets", "pyarrow", "pydantic", "rich", "together", "modal"]
    assert (
        json.loads(run(f"import sys, json, ftsdk; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))")) == []
    )


def test_importing_ftsdk_takes_a_fraction_of_what_pydantic_takes() -> None:
    # A ratio, as machines and days differ; `nox -s bench` has the milliseconds. The best of several tries each.
    code = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
    ours, theirs = (min(float(run(code.format(name))) for _ in range(5)) for name in ("ftsdk", "pydantic.main"))
    assert ours < theirs / 2


def test_the_public_names_load_no_torch() -> None:
    assert (
        run("import sys\nfrom ftsdk import *\nprint([m for m in ('torch', 'transformers', 'trl') if m in sys.modules])")
        == "[]"
    )


def test_first_use_from_many_threads_gives_every_thread_its_name() -> None:
    code = """
import threading, ftsdk, ftsdk.cost
names = ["LoRA", "Run", "FineTuneJob", "Dataset", "Together", "SpecError", "runs", "Eval"]
costs = ["Price", "crossover", "Workload", "PriceBook"]
barrier, found = threading.Barrier(len(names) + len(costs)), []
def use(package, name):
    barrier.wait()
    found.append(getattr(package, name).__name__)
pairs = [(ftsdk, name) for name in names] + [(ftsdk.cost, name) for name in costs]
threads = [threading.Thread(target=use, args=pair) for pair in pairs]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(found) == sorted(names + costs))
"""
    assert run(code) == "True"
