"""Makes docs/faults.md from the table of faults that the tests hold (tests/faults/cases.py).

`make_faults_page.py` writes the page; `make_faults_page.py --check` changes nothing and fails where the page is out of
date, a test that the table names is gone, or a slug is not one of cdengine/errors.py.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from cdengine import errors

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "faults.md"
TABLE = ROOT / "tests" / "faults" / "cases.py"
HEAD = """\
# What goes wrong, and what cdengine does then

Made by `tools/make_faults_page.py` from the table of the tests; do not edit it by hand.

A failure is *clean*: one line `error: …` that names the file or option and the remedy, an exit code by kind, the same
as an `error` event under `--progress json`; no file under the output's name, older outputs as they were, no temporary
files. Finished parts are kept (`.NAME.cdengine` beside the output) only where `--resume` can use them: after a full
disk, out of memory, a lost device, a kill, or with `--resume` given.

Exit codes: 0 done, 2 usage, 3 input, 4 model, 5 memory or device, 6 output, 130 cancelled. Tests are named relative to
`tests/`; *(s)* marks those of `make test-all`.
"""


def load_table() -> ModuleType:
    """The module that holds the table."""
    spec = importlib.util.spec_from_file_location("fault_cases", TABLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@cache
def exit_codes() -> dict[str, set[int]]:
    """Slug → exit codes of the classes that carry it."""
    found: dict[str, set[int]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.CDEngineError):
            found.setdefault(kind.slug, set()).add(kind.exit_code)
    return found


@cache
def functions(file: str) -> dict[str, bool]:
    """Test functions of a file → whether they are slow; methods of classes too."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name: any("slow" in ast.unparse(mark) for mark in node.decorator_list)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def faults_of(groups: dict[str, Any]) -> list[str]:
    """What in the table is not true."""
    found = []
    for case in (case for cases in groups.values() for case in cases):
        for test in case.tests:
            file, _, name = test.partition("::")
            if name not in functions(file):
                found.append(f"row {case.row}: tests/{file} has no {name}")
        found += [f"row {case.row}: no error has the slug {slug}" for slug in case.slugs if slug not in exit_codes()]
        if not case.tests:
            found.append(f"row {case.row}: no test")
    return found


def page(groups: dict[str, Any]) -> str:
    """docs/faults.md."""
    parts = [HEAD]
    for title, cases in groups.items():
        lines = [f"\n## {title}\n", "| row | fault | what happens | exit, slug | held by |", "|---|---|---|---|---|"]
        lines += [f"| {case.row} | {case.fault} | {case.promise} | {_ends(case)} | {_tests(case)} |" for case in cases]
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _ends(case: Any) -> str:  # noqa: ANN401 (a Case of the loaded table)
    codes = [f"{'/'.join(map(str, sorted(exit_codes().get(slug, ()))))} `{slug}`" for slug in case.slugs]
    return ", ".join(codes) or "0"


def _tests(case: Any) -> str:  # noqa: ANN401
    shown = []
    for test in case.tests:
        file, _, name = test.partition("::")
        shown.append(f"`{file}` {name}" + (" *(s)*" if functions(file).get(name) else ""))
    return "<br>".join(shown)


def main() -> int:
    """Exit status: 1 when something is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where something is out of date")
    check = parser.parse_args().check
    groups = load_table().GROUPS
    faults = faults_of(groups)
    text = page(groups)
    if check and (not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text):
        faults.append("docs/faults.md is out of date: run tools/make_faults_page.py")
    elif not check:
        PAGE.write_text(text, encoding="utf-8")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
