"""The report as one HTML file."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

from made_up_results import Bench

from resnet_repro.report.document.html import as_html


class Page(HTMLParser):
    """What a browser would look up: ids, links, sources, and tags that were left open."""

    VOID = ("meta", "img", "br", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values["href"])] if "href" in values else []
        self.sources += [str(values["src"])] if "src" in values else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_one_file_holds_everything_and_asks_for_nothing(bench: Bench) -> None:
    bench.add("plain-20", 9.4, 5.5)
    bench.add("plain-56", 12.6, 10.4)
    picture = bench.picture("fig1")
    text = bench.page()
    page = Page(text)
    assert page.open == []
    (source,) = page.sources
    kind, _, encoded = source.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(encoded) == picture
    assert not page.tags & {"script", "link", "iframe"}
    assert "url(" not in text
    assert "@import" not in text
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert anchors <= set(page.ids)
    assert anchors >= {"what-is-missing"}
    assert all(link.startswith(("#", "https://")) for link in page.links)


def test_tables_scroll_by_themselves_and_numbers_stand_right() -> None:
    text = as_html("# T\n\n| a | b |\n|:--|--:|\n| x | 1 |\n", lambda _: None)
    assert '<div class="wide"><table>' in text
    assert '<th class="right">b</th>' in text
    assert "style=" not in text
    assert "<title>T</title>" in text


def test_an_svg_figure_is_embedded_and_a_missing_one_is_not_fetched() -> None:
    def figure(path: str) -> bytes | None:
        return b"<svg/>" if path == "figures/a.svg" else None

    text = as_html("![A, b](figures/a.svg)\n\n![gone](https://example.org/x.png)\n", figure)
    assert 'src="data:image/svg+xml;base64,' in text
    assert "<figcaption>A, b</figcaption>" in text
    assert "example.org" not in text


def test_foreign_text_stays_text() -> None:
    text = as_html("# A & B\n\nfailed: <script>x</script> [y](javascript:z)\n", lambda _: None)
    assert "<script" not in text
    assert not re.search(r'href="javascript', text)
    assert "<title>A &amp; B</title>" in text
