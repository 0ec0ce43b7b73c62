"""Keeps the documentation true: option tables in docs/cli.md come from the parsers, and links lead to files.

`make_docs.py` rewrites the tables between `<!-- options: COMMAND -->` and `<!-- end -->`;
`make_docs.py --check` changes nothing and fails where a table is out of date, a command is missing or a link is dead.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from urllib.parse import unquote

from cdengine.cli import main as cli
from cdengine.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
CLI = ROOT / "docs" / "cli.md"
BLOCK = re.compile(r"(<!-- options: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
RUNNING = {"--progress", "--cancel-on-stdin-close", "--debug", "--help"}  # every command has them: said once


def options(name: str) -> str:
    """The options of a command as a Markdown table."""
    lines = ["| option | meaning |", "|---|---|"]
    for action in cli._command(name)[1]._actions:
        flags = action.option_strings
        if action.help == argparse.SUPPRESS or RUNNING & set(flags):
            continue
        shown = f"`{action.metavar or action.dest}`" if not flags else f"`{_usage(action)}`"
        text = (action.help or "").replace("%%", "%").replace("|", "\\|")
        lines.append(f"| {shown} | {text}{_default(action, text)} |")
    return "\n".join(lines) + "\n"


def _usage(action: argparse.Action) -> str:
    flag = action.option_strings[-1]
    if action.nargs == 0:
        return flag
    if action.choices is not None:
        return f"{flag} " + "\\|".join(map(str, action.choices))
    many = " …" if action.nargs in ("+", "*") else ""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return f"{flag} {metavar}{many}"


def _default(action: argparse.Action, text: str) -> str:
    if not action.option_strings or action.default in (None, False, (), argparse.SUPPRESS) or "(default" in text:
        return ""
    return f" (default: {action.default})"


def rewritten(text: str) -> str:
    """docs/cli.md with fresh tables."""
    return BLOCK.sub(lambda match: f"{match[1]}{options(match[2])}{match[3]}", text)


def dead_links() -> list[str]:
    """Relative links in the project's Markdown that lead to no file."""
    found = []
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        text = CODE.sub("", path.read_text(encoding="utf-8"))
        for target in LINK.findall(text):
            name = unquote(target.partition("#")[0])
            if name and "://" not in target and not target.startswith("mailto:") and not (path.parent / name).exists():
                found.append(f"{path.relative_to(ROOT)}: link to {target}, which does not exist")
    return found


def main() -> int:
    """Exit status: 1 when something is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where something is out of date")
    check = parser.parse_args().check
    text = CLI.read_text(encoding="utf-8")
    fresh = rewritten(text)
    faults = dead_links()
    described = {match[1] for match in BLOCK.findall(text)}
    faults += [f"docs/cli.md: no options table of {name}" for name in COMMANDS if name not in described]
    if fresh != text and check:
        faults.append("docs/cli.md: option tables are out of date; run python tools/make_docs.py")
    elif fresh != text:
        CLI.write_text(fresh, encoding="utf-8")
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print("docs: tables are those of the parsers, links lead to files")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
