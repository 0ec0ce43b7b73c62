"""A Markdown guide as one plain HTML page, for the plugin's Help button; the subset that docs/qgis.md uses."""

from __future__ import annotations

import html
import re

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 sans-serif; }}
table {{ border-collapse: collapse; }} td, th {{ border: 1px solid #bbb; padding: .3rem .6rem; text-align: left; }}
pre {{ background: #f4f4f4; padding: .8rem; overflow-x: auto; }} code {{ background: #f4f4f4; }}
</style></head><body>
{body}
</body></html>
"""
INLINE = (
    (r"\*\*([^*]+)\*\*", r"<b>\1</b>"),
    (r"\*([^*]+)\*", r"<i>\1</i>"),
    (r"\[([^\]]+)\]\(([^)]+)\)", r'<a href="\2">\1</a>'),
)


def page(text: str) -> str:
    """Returns the whole page."""
    body = "\n".join(_block(block) for block in _blocks(text))
    title = next((line[2:] for line in text.splitlines() if line.startswith("# ")), "")
    return PAGE.format(title=html.escape(title), body=body)


def _blocks(text: str) -> list[list[str]]:
    """Runs of lines that belong together; a fenced block is one, blank lines included."""
    blocks: list[list[str]] = [[]]
    fenced = False
    for line in text.splitlines():
        fence = line.startswith("```")
        alone = not fenced and (line.startswith(("#", "<a ")) or not line.strip())
        if (fence and not fenced) or alone:
            blocks.append([])
        if line.strip() or fenced:
            blocks[-1].append(line)
        if (fence and fenced) or alone:
            blocks.append([])
        fenced ^= fence
    return [block for block in blocks if block]


def _block(lines: list[str]) -> str:
    first = lines[0]
    if first.startswith("```"):
        return f"<pre>{html.escape(chr(10).join(lines[1:-1]))}</pre>"
    if first.startswith("<a id="):
        return first
    if first.startswith("#"):
        level = len(first) - len(first.lstrip("#"))
        title = first[level:].strip()
        anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        return f'<h{level} id="{anchor}">{_inline(title)}</h{level}>'
    if first.startswith("|"):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        made = [f"<tr>{''.join(f'<th>{_inline(cell)}</th>' for cell in rows[0])}</tr>"]
        made += [f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows[2:]]
        return f"<table>{''.join(made)}</table>"
    ordered = re.match(r"\d+\. ", first)
    if ordered or first.startswith("- "):
        items = re.split(r"\n(?:- |\d+\. )", "\n" + "\n".join(lines))[1:]
        kind = "ol" if ordered else "ul"
        return f"<{kind}>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</{kind}>"
    return f"<p>{_inline(chr(10).join(lines))}</p>"


def _inline(text: str) -> str:
    """Code spans are taken out first and put back last: what stands in them is no markup."""
    codes: list[str] = []

    def keep(found: re.Match[str]) -> str:
        codes.append(found[1])
        return f"\x00{len(codes) - 1}\x00"

    text = re.sub("`([^`]+)`", keep, html.escape(text, quote=False))
    for pattern, replacement in INLINE:
        text = re.sub(pattern, replacement, text)
    return re.sub("\x00(\\d+)\x00", lambda found: f"<code>{codes[int(found[1])]}</code>", text)
