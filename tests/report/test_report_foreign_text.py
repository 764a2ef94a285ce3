"""Text that anybody may have written is shown as it stands, wherever it is shown."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import unicodedata
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_up_results import Bench
from markdown_it import MarkdownIt

from resnet_repro.base.plain_text import either, printable, printable_lines, spreadsheet_safe
from resnet_repro.report.document.html import as_html
from resnet_repro.report.figures.figures import draw
from resnet_repro.report.latex import escaped, latex_table
from resnet_repro.report.markdown import bullets, code, literal, table
from resnet_repro.report.results import Results
from resnet_repro.spec.loading import load_experiment

NASTY = (
    "\x1b[31mred\x1b[0m\x07 \x9b5n",
    "safe \u202egpj.exe\u2066 \u200b\ufeff",
    "a\nb\r\n# heading\n\n- item \u2028 \u2029 \x85",
    "<script>alert(1)</script><img src=x onerror=alert(1)> &lt; &#60;",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) [1](x) [1]: y",
    "`code` ``` **bold** _it_ ~~gone~~ a|b \\| \\",
    "[red]rich[/red] :smile: [/]",
    "$x^{ $ $\\frac{$ \\$1 $$",
    "\\input{/etc/passwd} % ~ ^ # & {}",
    '=HYPERLINK("http://evil.example")',
    "\ud800 lone",
)
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=30))
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def hidden_in(text: str) -> set[str]:
    """What of a text of ours is not to be seen, line ends aside."""
    joiners = "\u200c\u200d"
    return {c for c in text if unicodedata.category(c) in HIDDEN and c not in "\n" + joiners}


@given(st.text(st.characters()) | TEXTS)
@example("\x1b\x7f\x9b\u202e\u2028\ud800\ufffe")
def test_nothing_hidden_is_left_and_the_rest_is_untouched(text: str) -> None:
    shown = printable(text)
    assert not hidden_in(shown)
    assert "\n" not in shown
    shown.encode("utf-8")
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text
    assert printable_lines(f"{text}\nx").endswith("\nx")


def test_escapes_are_those_of_python() -> None:
    assert printable("a\x1b\n\u202e\ud800é中\U0001f600") == "a\\x1b\\n\\u202e\\ud800é中\U0001f600"


@given(TEXTS)
@example("a & b &amp; _x_ x_y [1] [1](x) plain-20 < plain-56")
def test_markdown_shows_foreign_text_as_it_stands(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])  # HTML is let through
    wanted = html.escape(printable(" ".join(text.split())), quote=False)
    for typed, opening, closing in (
        (f"x {literal(text)} x", "<p>x ", " x</p>"),
        ("\n".join(bullets([f"x {literal(text)} x"])), "<ul>\n<li>x ", " x</li>\n</ul>"),
        ("\n".join(table(["h"], [[f"x {literal(text)} x"]])), 'left">x ', " x</td>"),
    ):
        shown = parser.render(typed).replace("&quot;", '"').replace("\xa0", " ")
        assert (
            f"{opening}{' '.join(wanted.split())}{closing}" in re.sub(r"[^\S\n]+", " ", shown)
            or not text.strip()
        )
    assert parser.render(f"x {code(text)} x").count("<code>") == 1


@given(TEXTS)
def test_latex_and_spreadsheets_execute_nothing(text: str) -> None:
    shown = escaped(printable(text))
    bare = re.sub(r"\\(text[a-z]+\{\}|pm\$|[&%$#_{}])|-\{\}-|\$(\\pm|-)\$", "", shown)
    assert not set(bare) & set("\\&%$#_{}^~"), bare
    assert not spreadsheet_safe(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_row_of_latex_is_no_argument_of_the_row_before() -> None:
    made = latex_table("t", ["a"], [["x"], ["[2pt]"], ["*"]], [False])
    assert "\n{}[2pt] " in made
    assert "\n{}* " in made


def _poison(value: Any, text: str) -> Any:
    """A record with a text in place of all that are free."""
    free = ("code", "command", "device", "hardware", "source", "note", "kind", "failure", "ended")
    if isinstance(value, dict):
        changed = {
            k: text if k in free and v is not None else _poison(v, text) for k, v in value.items()
        }
        if "versions" in changed:
            changed["versions"] = {"torch": text}
        return changed
    return [_poison(v, text) for v in value] if isinstance(value, list) else value


class Tags(HTMLParser):
    """The tags, and the addresses that links and pictures lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in ("href", "src"):
                self.addresses.add(str(value))


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A results folder with a run of every kind, whose texts each test replaces."""
    bench = Bench(tmp_path_factory.mktemp("poisoned") / "results")
    bench.add("plain-20", 9.4, 5.5, gradients={0: [1.0] * 19, -1: [1.0] * 19}, responses=[1.0] * 19)
    bench.add("plain-56", 12.6, 10.4)
    bench.add("resnet-20", state="failed")
    members = [
        bench.add(
            network,
            dataset="imagenet",
            evaluations={"10-crop": (25.0, 7.0), "multi-scale": (24.0, 6.9)},
        )
        for network in ("resnet-34-b", "resnet-34-c")
    ]
    bench.add_ensemble(members, 23.0, 6.5)
    bench.add_weights("vgg-16", {"10-crop": (28.0, 9.0), "centre": (29.0, 10.0)})
    (bench.store.runs_folder / "<b>x\x1b[31m`|\u202e").mkdir()
    return bench


def _replace_texts(bench: Bench, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()  # JSON files are UTF-8
    for path in bench.store.root.rglob("*.json"):
        content = _poison(json.loads(path.read_text(encoding="utf-8")), text)
        if "weights_file" in content:
            content["weights_file"] = text[:200] or "x"
        path.write_text(json.dumps(content), encoding="utf-8")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXTS, min_size=1, max_size=3).map(" ".join))
@example(" ".join(NASTY))
def test_a_report_on_foreign_results_holds_nothing_raw(poisoned: Bench, text: str) -> None:
    _replace_texts(poisoned, text)
    report = poisoned.report()
    assert not hidden_in(report)
    assert "/home/someone" not in report
    assert not re.search(r"</?(script|img|b)\b", re.sub(r"`[^`\n]*`", "", report))
    page = as_html(report, poisoned.store.read_figure)
    assert not hidden_in(page)
    found = Tags(page)
    assert not found.tags & {"script", "b", "iframe", "del"}
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(a.startswith(("#", "https://", "data:")) or a == "" for a in found.addresses)
    assert not any("evil.example" in address for address in found.addresses)


def test_tables_and_status_hold_nothing_raw(poisoned: Bench, tmp_path: Path, command: Any) -> None:
    _replace_texts(poisoned, " ".join(NASTY))
    mine = tmp_path / "mine.yaml"
    content = {
        "name": "mine",
        "title": f"=1+1 {NASTY[0]} {NASTY[1]} {NASTY[3]} {NASTY[4]} {NASTY[6]} {NASTY[7]}",
        "reference": NASTY[5],
        "runs": [{"networks": ["plain-20", "resnet-20"]}],
        "table": {"kind": "errors"},
        "plot": {"kind": "curves", "panels": [{"title": NASTY[7], "networks": ["plain-20"]}]},
    }
    mine.write_text(json.dumps(content), encoding="utf-8")
    results = ("--results", poisoned.store.root)
    forms, names = ("text", "md", "csv", "latex"), (mine, "table3", "table5")
    for call in (
        *(("table", name, "--format", form, *results) for name in names for form in forms),
        ("status", *results),
        ("list", *results),
        ("show", mine),
    ):
        code_, out, err = command(*call)
        assert code_ == 0, (call, err)
        assert not hidden_in(out), call
    assert "red" in command("table", mine, "--format", "text", *results).out, "[red] is no colour"
    out = command("table", "table5", "--format", "csv", *results).out
    for row in csv.reader(io.StringIO(out)):
        for cell in row:
            assert not cell.startswith(("=", "@", "\t")), cell


def test_figures_take_a_dollar_for_a_dollar(poisoned: Bench) -> None:
    experiment = load_experiment("fig1")
    assert experiment.plot is not None
    assert experiment.plot.kind == "curves"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that the font does not have
        for title in NASTY:
            panel = experiment.plot.panels[0].model_copy(update={"title": title})
            plot = experiment.plot.model_copy(update={"panels": (panel,)})
            changed = experiment.model_copy(update={"plot": plot})
            (picture, *_) = draw(changed, Results(poisoned.store), "svg")
            assert not hidden_in(picture.content.decode("utf-8"))


def test_messages_and_the_log_are_plain(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code_, _, err = command("table", "no\x1b[31m\u202esuch.yaml")
    assert code_ != 0
    assert not hidden_in(err)
    from rich.console import Console

    from resnet_repro.plan.progress import PlainProgress

    PlainProgress(Console(stderr=True)).note("[red]x[/red] :smile: \x1b[31m\u202e")
    assert capsys.readouterr().err == "[red]x[/red] :smile: \\x1b[31m\\u202e\n"


def test_alternatives_in_words() -> None:
    found = [either(words) for words in ([], ["1"], ["1", "3"], ["1", "3", "5"])]
    assert found == ["", "1", "1 or 3", "1, 3 or 5"]
