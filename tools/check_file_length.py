"""File budget of the house style: no source file over 400 lines, no function over 60.

Prints the five longest files; fails, naming each, when a file or function is over.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("cdengine", "qgis_plugin", "tests", "tools", "benchmarks")
FILE_LINES, FUNCTION_LINES = 400, 60


def sources() -> list[Path]:
    """Every Python file of the project."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def long_functions(path: Path) -> list[str]:
    """`name (lines)` of each function of a file that is over the budget, its docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            lines = (node.end_lineno or node.lineno) - body[0].lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines")
    return found


def main() -> int:
    """Exit status: 1 when anything is over the budget."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    longest = sorted(lengths, key=lambda path: -lengths[path])[:5]
    print("longest files: " + ", ".join(f"{path.relative_to(ROOT)} {lengths[path]}" for path in longest))
    over = [f"{path.relative_to(ROOT)}: {lines} lines" for path, lines in lengths.items() if lines > FILE_LINES]
    over += [line for path in lengths for line in long_functions(path)]
    for line in over:
        print(f"over the budget ({FILE_LINES} lines a file, {FUNCTION_LINES} a function): {line}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
