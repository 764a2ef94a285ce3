"""The report as one HTML file that needs nothing else: styles and figures are inside it."""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Callable, Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from resnet_repro.report.claims.judging import MARKS, OPPOSITE

__all__ = ["as_html"]

MIME = {"png": "image/png", "svg": "image/svg+xml"}
STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b636c; --page: #ffffff;
  --line: #d9dee3; --shade: #f4f6f8; --link: #0b5cad; --confirmed: #0b5a2b; --consistent: #1c6b3c;
  --undecided: #4d555e; --opposite: #7a4a00; --contradicted: #a01818; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ea; --soft: #a0a8b0; --page: #15181b;
  --line: #343a40; --shade: #1f2428; --link: #7db7f0; --confirmed: #7fe3a4; --consistent: #9bd6b0;
  --undecided: #b9c1c9; --opposite: #f0c274; --contradicted: #ff9d97; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--page);
  color: var(--text); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
a { color: var(--link); }
code { font: .87em ui-monospace, monospace; background: var(--shade); border-radius: 4px;
  padding: .1em .3em; overflow-wrap: anywhere; }
ul { padding-left: 1.3rem; }
li { margin: .3rem 0; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .87rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: left;
  vertical-align: top; overflow-wrap: normal; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.short { white-space: nowrap; }
td.long { min-width: 11rem; }
.right { text-align: right; }
figure { margin: 1.25rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; display: block; }
figcaption { color: var(--soft); font-size: .87rem; margin-top: .4rem; }
.verdict { font-weight: 600; border-radius: 4px; padding: .05em .35em; margin: 0 -.1em;
  -webkit-box-decoration-break: clone; box-decoration-break: clone;
  background: color-mix(in srgb, currentColor 9%, transparent); }
.confirmed { color: var(--confirmed); }
.consistent { color: var(--consistent); }
.undecided { color: var(--undecided); }
.opposite { color: var(--opposite); }
.contradicted { color: var(--contradicted); }
nav { background: var(--shade); border-radius: 6px; padding: .6rem 1rem .8rem; margin: 1.5rem 0; }
nav p { margin: 0 0 .2rem; font-weight: 600; }
nav ul { columns: 9rem auto; list-style: none; margin: 0; padding: 0; }
nav li { margin: 0; padding: .15rem 0; break-inside: avoid; line-height: 1.4; }
@media screen and (min-width: 84rem) {
  nav { position: fixed; top: 1.5rem; left: max(1rem, calc(50% - 42rem)); width: 11rem; margin: 0;
    max-height: calc(100vh - 3rem); overflow-y: auto; font-size: .87rem; }
  nav ul { columns: auto; } }
@media print { :root { color-scheme: light; } body { max-width: none; font-size: 11pt; }
  .wide { overflow: visible; } tr, figure { break-inside: avoid; } h2 { break-after: avoid; } }
"""
CLASSES = {mark: word for word, mark in MARKS.items()} | {OPPOSITE: "opposite"}
LONG_CELL = 20  # characters: such cells wrap, shorter ones stay on one line


def as_html(markdown: str, figure: Callable[[str], bytes | None]) -> str:
    """The report's Markdown as a page that makes no requests.

    Args:
        figure: gives the contents of a figure by the path that the Markdown has, or None.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    title, contents = "Report", []
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            text = _plain(tokens[index + 1])
            token.attrSet("id", _anchor(text))
            title = text if token.tag == "h1" else title
            contents += [text] if token.tag == "h2" else []
        elif token.type in ("td_open", "th_open"):
            _shape_cell(token, tokens[index + 1])
        elif token.type == "inline":
            _embed_figures(token, figure)
            _colour_verdicts(token)
    renderer = parser.renderer
    assert isinstance(renderer, RendererHTML)
    body = renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")
    body = _FIGURE.sub(r"<figure>\1<figcaption>\2</figcaption></figure>", body)
    body = body.replace("<h2", f"{_contents(contents)}\n<h2", 1)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def _contents(headings: Sequence[str]) -> str:
    """Links to the sections, without the commands' names for them: `Fig. 1`."""
    items = "".join(
        f'<li><a href="#{_anchor(text)}">{html.escape(_NAME.sub("", text))}</a></li>'
        for text in headings
    )
    return f'<nav aria-label="Contents"><p>Contents</p><ul>{items}</ul></nav>'


_NAME = re.compile(r" \([a-z0-9_-]+\)$")
_FIGURE = re.compile(r'<p>(<img src="[^"]*" alt="([^"]*)" />)</p>')


def _plain(inline: Token) -> str:
    """The text of a heading without its markup."""
    children: Sequence[Token] = inline.children or []
    return "".join(child.content for child in children)


def _anchor(heading: str) -> str:
    """The name that links within the report use: that of GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _shape_cell(cell: Token, inline: Token) -> None:
    """Classes instead of an inline style, and for how cells wrap on a narrow screen."""
    classes = ["right"] if "right" in str(cell.attrs.pop("style", "")) else []
    if cell.type == "td_open":
        classes.append("long" if len(inline.content) > LONG_CELL else "short")
    if classes:
        cell.attrSet("class", " ".join(classes))


_VERDICT = re.compile(
    rf"(?:^|(?<=[ :]))({'|'.join(map(re.escape, sorted(CLASSES, key=len, reverse=True)))}) "
    r"(?:\d+ )?(?:confirmed|consistent|undecided|contradicted)"
    r"(?: \((?:(?:opposite )?trend|preset unfit)\))?"
)


def _colour_verdicts(inline: Token) -> None:
    """A colour of its own for each verdict; its mark tells it without colours as well."""
    children = []
    for child in inline.children or []:
        found = list(_VERDICT.finditer(child.content)) if child.type == "text" else []
        start = 0
        for match in found:
            shown = html.escape(match[0])
            span = f'<span class="verdict {CLASSES[match[1]]}">{shown}</span>'
            before = Token("text", "", 0, content=child.content[start : match.start()])
            children += [before, Token("html_inline", "", 0, content=span)]
            start = match.end()
        children.append(Token("text", "", 0, content=child.content[start:]) if found else child)
    inline.children = children


def _embed_figures(inline: Token, figure: Callable[[str], bytes | None]) -> None:
    for child in inline.children or []:
        if child.type == "image":
            path = str(child.attrs.get("src", ""))
            content = figure(path)
            kind = MIME.get(path.rpartition(".")[2])
            if content is None or kind is None:
                child.attrSet("src", "")
                continue
            encoded = binascii.b2a_base64(content, newline=False).decode()
            child.attrSet("src", f"data:{kind};base64,{encoded}")
