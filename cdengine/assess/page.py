"""The page of every report: structure and style, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { --ink: #1d2025; --soft: #5d636d; --line: #d9dce1; --paper: #ffffff; --tint: #f4f5f7; --mark: #b3261e;
  color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a3a9b3; --line: #3a3f47; --paper: #16181c; --tint: #20242a; --mark: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
.lead { font-size: 1.15rem; margin: 0 0 1rem; }
.facts { display: flex; flex-wrap: wrap; margin: -.3rem; }
.fact { background: var(--tint); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; margin: .3rem; flex: 1 1 8rem; }
.fact span { display: block; color: var(--soft); font-size: .82rem; }
.fact b { font-size: 1.1rem; font-weight: 600; overflow-wrap: anywhere; }
figure { margin: 1.75rem 0; }
img { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: .35rem;
  background: #fff; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .38rem .7rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
code { font-size: .9em; overflow-wrap: anywhere; }
details { margin-top: 2rem; }
summary { font-size: 1.15rem; font-weight: 700; cursor: pointer; margin-bottom: .5rem; }
.notes { border-left: 4px solid var(--mark); padding-left: 1rem; margin-top: 1.5rem; }
.chart { width: 100%; height: auto; }
.chart text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .bar { stroke: var(--soft); stroke-width: .4; }
.chart .mark { stroke: var(--ink); stroke-width: 2; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } section, figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; } }
</style>
</head>
<body>
<h1>$title</h1>
$body
<footer>$footer</footer>
</body>
</html>
""")


def section(title: str, content: str) -> str:
    """A part of the page; `content` is HTML already. Nothing where there is none."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
