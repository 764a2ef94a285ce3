"""What a stranger sees first of the report: what was found, at a glance."""

from __future__ import annotations

import re

import pytest
from made_up_results import Bench, section

from resnet_repro.report.document.html import STYLE

MARKS = {
    "confirmed": "✓✓",
    "consistent": "✓",
    "undecided": "?",
    "undecided (other trend)": "✗?",
    "contradicted": "✗",
}


@pytest.fixture
def found(bench: Bench) -> Bench:
    """Faithful runs of plain networks, reduced ones of others that show the opposite."""
    for seed in range(3):
        bench.add("plain-20", 9.4 + seed / 10, 5.5, seed=seed)
        bench.add("plain-56", 12.6 + seed / 10, 5.0 - seed / 10, seed=seed)
    errors = {"plain-34": 31.5, "resnet-34-a": 31.5, "resnet-34-b": 33.0, "resnet-34-c": 35.0}
    for network, error in errors.items():
        bench.add(
            network,
            10.0,
            evaluations={"10-crop": (error, 4.0)},
            preset="short",
            dataset="imagenette",
            official=False,
        )
    bench.picture("fig6")
    return bench


def test_verdicts_carry_a_mark_in_the_table_and_where_they_are_founded(found: Bench) -> None:
    text = found.report()
    table = section(text, "What was found")
    verdicts = re.findall(r"^\| (\S+) ([a-z]+(?: \(other trend\))?) \|", table, re.MULTILINE)
    assert {"confirmed", "contradicted", "undecided (other trend)"} <= {v for _, v in verdicts}
    assert all(MARKS[word] == mark for mark, word in verdicts)
    assert "**✓✓ confirmed** on [1]" in text
    summary = text.partition("\n## ")[0]
    assert re.search(r"judged: ✓✓ \d+ confirmed, .*✗\? \d+ undecided \(other trend\)", summary)
    assert re.search(r"✗ \d+ contradicted", summary)
    for word, mark in MARKS.items():
        assert f"- {mark} {word}: " in table, "each is explained below the table"


def test_verdicts_at_the_full_protocol_come_first_and_name_it(found: Bench) -> None:
    table = section(found.report(), "What was found")
    last_cell = r"^\| \S+ .* \| ([a-z]*)(?:, [^|]*)?(?: \[\d\])? \|$"
    on = re.findall(last_cell, table, re.MULTILINE)[1:]
    assert on == sorted(on, key=["paper", "short", ""].index)
    assert set(on) == {"paper", "short", ""}
    assert re.search(r"On ImageNet .* \| short, Imagenette \[\d\] \|$", table, re.MULTILINE)


def test_the_headline_figure_opens_what_was_found_and_stands_there_only(found: Bench) -> None:
    def opening() -> tuple[str, str]:
        text = found.report()
        return section(text, "What was found\n\n").splitlines()[0], text

    line, text = opening()
    assert line.startswith("![Fig. 6: ")
    assert text.count(line) == 1
    fig6 = section(text, "Fig. 6 (`fig6`)")
    assert "The figure stands [above](#what-was-found)." in fig6
    found.picture("fig1")
    line, text = opening()
    assert line.startswith("![Fig. 1: ")
    assert text.count("](figures/fig6.png)") == 1, "now in its own section again"


def test_the_page_has_contents_that_lead_to_every_section(found: Bench) -> None:
    text = found.page()
    (contents,) = re.findall(r"<nav .*?</nav>", text, re.DOTALL)
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', contents)
    sections = re.findall(r'<h2 id="([^"]+)">', text)
    assert [anchor for anchor, _ in links] == sections
    assert ("fig-1-fig1", "Fig. 1") in links
    assert text.index("<nav") < text.index("<h2")
    assert "<script" not in text


def test_the_page_gives_each_verdict_its_colour(found: Bench) -> None:
    text = found.page()
    for word, mark in MARKS.items():
        kind = "opposite" if "other" in word else word
        assert f'<span class="verdict {kind}">{mark} {word}</span>' in text
    assert re.search(r'<span class="verdict contradicted">✗ \d+ contradicted</span>', text)
    assert re.search(r'<strong><span class="verdict confirmed">✓✓ confirmed</span></strong>', text)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_colour_can_be_read_in_light_and_dark(mode: str) -> None:
    light, dark = re.findall(r":root \{([^}]*--text[^}]*)\}", STYLE)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", light if mode == "light" else dark))
    kinds = ("confirmed", "consistent", "undecided", "opposite", "contradicted")
    mixed = {}
    for kind in kinds:  # the ground behind a verdict is a little of its own colour
        pairs = [(colours[kind][i : i + 2], colours["page"][i : i + 2]) for i in (1, 3, 5)]
        parts = [round(0.09 * int(a, 16) + 0.91 * int(b, 16)) for a, b in pairs]
        mixed[kind] = "#" + "".join(f"{part:02x}" for part in parts)
    assert "currentColor 9%" in STYLE
    for kind in kinds:
        assert _contrast(colours[kind], mixed[kind]) >= 4.5, kind
    for name in ("text", "soft", "link"):
        assert _contrast(colours[name], colours["page"]) >= 4.5, name
        assert _contrast(colours[name], colours["shade"]) >= 4.5, name
