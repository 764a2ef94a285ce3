"""The report as one self-contained HTML file with styles and figures."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from importlib.resources import files

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from resnet_repro.report.claims.judging import MARKS, OPPOSITE

__all__ = ["STYLE", "as_html"]

STYLE = files("resnet_repro.report.document").joinpath("report.css").read_text(encoding="utf-8")
MIME = {"png": "image/png", "svg": "image/svg+xml"}
CLASSES = {mark: word for word, mark in MARKS.items()} | {OPPOSITE: "opposite"}
LONG_CELL = 20  # characters: such cells wrap, shorter ones stay on one line
_EXPERIMENT = re.compile(r" \([a-z0-9_-]+\)$")  # at the end of a heading
_FIGURE = re.compile(r'<p>(<img src="[^"]*" alt="([^"]*)" />)</p>')
_VERDICT = re.compile(
    rf"(?:^|(?<=[ :]))({'|'.join(map(re.escape, sorted(CLASSES, key=len, reverse=True)))}) "
    r"(?:\d+ )?(?:confirmed|consistent|undecided|contradicted)"
    r"(?: \((?:(?:other )?trend|preset unfit)\))?"
)


def as_html(markdown: str, figure: Callable[[str], bytes | None]) -> str:
    """The report's Markdown as a page that loads nothing else.

    `figure` returns the contents of a figure by its path in the Markdown, or None.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    title, sections = "Report", []
    for token, following in zip(tokens, tokens[1:] + tokens[:1], strict=True):
        if token.type == "heading_open":
            text = "".join(child.content for child in following.children or [])
            token.attrSet("id", _anchor(text))
            title = text if token.tag == "h1" else title
            sections += [text] if token.tag == "h2" else []
        elif token.type in ("td_open", "th_open"):
            _set_cell_classes(token, following)
        elif token.type == "inline":
            _embed_figures(token, figure)
            _colour_verdicts(token)
    renderer = parser.renderer
    assert isinstance(renderer, RendererHTML)
    body = renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")
    body = _FIGURE.sub(r"<figure>\1<figcaption>\2</figcaption></figure>", body)
    body = body.replace("<h2", f"{_contents(sections)}\n<h2", 1)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def _contents(headings: Sequence[str]) -> str:
    """Links to the sections, without the experiments' names: `Fig. 1` for `Fig. 1 (fig1)`."""
    items = "".join(
        f'<li><a href="#{_anchor(text)}">{html.escape(_EXPERIMENT.sub("", text))}</a></li>'
        for text in headings
    )
    return f'<nav aria-label="Contents"><p>Contents</p><ul>{items}</ul></nav>'


def _anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _set_cell_classes(cell: Token, inline: Token) -> None:
    """Set classes for alignment (instead of an inline style) and for wrapping."""
    classes = ["right"] if "right" in str(cell.attrs.pop("style", "")) else []
    if cell.type == "td_open":
        classes.append("long" if len(inline.content) > LONG_CELL else "short")
    if classes:
        cell.attrSet("class", " ".join(classes))


def _colour_verdicts(inline: Token) -> None:
    """Colour the verdicts; their marks work without colours as well."""
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
    """Embed the report's figures as data, and remove the addresses of all other pictures."""
    for child in inline.children or []:
        if child.type == "image":
            path = str(child.attrs.get("src", ""))
            content, kind = figure(path), MIME.get(path.rpartition(".")[2])
            data = ""
            if content is not None and kind:
                data = f"data:{kind};base64,{base64.b64encode(content).decode()}"
            child.attrSet("src", data)
