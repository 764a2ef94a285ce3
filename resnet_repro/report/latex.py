"""LaTeX tables with the booktabs package; columns of wide ones are folded to fit the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["escaped", "latex_table"]

WIDEST = 88  # characters of a table that fits the text block in its usual size
LONGEST_PIECE = 22  # characters: longer cells are folded
LONGEST_WORD = 14  # characters: longer words are broken if possible
SEPARATOR = 0.012  # of the line, between two columns of a folded table
_BREAKS = re.compile(r"(?<=[/_.:-])(?=\w)")  # where names and addresses may be broken
_SPECIAL = {
    "\\": "\\textbackslash{}",
    "±": "$\\pm$",
    "’": "'",
    "“": "``",
    "”": "''",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def latex_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[bool],
    notes: Sequence[str] = (),
) -> str:
    """A `table` environment with a caption; `numbers` says which columns are aligned right.

    Without columns, as of a table without rows, it has the caption and the notes alone.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    folded = sum(widths) + 2 * len(widths) > WIDEST
    packages = "array,booktabs" if folded else "booktabs"
    lines = [f"% needs \\usepackage{{{packages}}}", "\\begin{table}", "\\centering"]
    if folded:
        lines += ["\\scriptsize", f"\\setlength{{\\tabcolsep}}{{{SEPARATOR / 2:g}\\linewidth}}"]
        alignment = _folded(columns, numbers)
    else:
        alignment = "".join("r" if number else "l" for number in numbers)
    lines.append(f"\\caption{{{escaped(title)}}}")
    if columns:
        lines += [f"\\begin{{tabular}}{{{alignment}}}", "\\toprule", _row(header, folded)]
        lines += ["\\midrule", *(_row(cells, folded) for cells in rows)]
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    for note in notes:
        words, _, command = note.partition(": resnet-repro ")
        if command:  # for whoever makes the table, not for the paper; folders may name their owner
            words = words.rpartition(". ")[0] + "."
            lines.append(f"% resnet-repro {command}")
        lines.append(f"\\par\\footnotesize {escaped(words)}")
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _folded(columns: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    """Widths in proportion to each column's longest piece, which add up to the line.

    Cells with many breaks get more than that, so that they do not become too high.
    """
    needs = []
    for cells in columns:
        piece = max(len(part) for cell in cells for word in cell.split() or [""]
                    for part in _parts(word))  # fmt: skip
        longest = max(map(len, cells))
        needs.append(max(piece, min(longest, LONGEST_PIECE) if longest > LONGEST_PIECE else 0))
    room = 1 - SEPARATOR * len(columns)
    sides = ["\\raggedleft" if number else "\\raggedright" for number in numbers]
    return "".join(
        f">{{{side}\\arraybackslash}}p{{{int(1000 * room * need / sum(needs)) / 1000}\\linewidth}}"
        for side, need in zip(sides, needs, strict=True)
    )


def _parts(word: str) -> list[str]:
    """The pieces of a word where it may be broken."""
    if len(word) <= LONGEST_WORD:
        return [word]
    size = LONGEST_PIECE  # for checksums in addresses, which have no breaks
    return [p[i : i + size] for p in _BREAKS.split(word) for i in range(0, len(p), size)]


def _row(cells: Sequence[str], folded: bool) -> str:
    texts = [_breakable(cell) if folded else escaped(cell) for cell in cells]
    if texts[0][:1] in ("[", "*"):  # these would be an argument of the \\\\ before them
        texts[0] = f"{{}}{texts[0]}"
    return " & ".join(texts) + " \\\\"


def _breakable(cell: str) -> str:
    return " ".join("\\allowbreak{}".join(map(escaped, _parts(word))) for word in cell.split())


def escaped(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    plain = "".join(_SPECIAL.get(character, character) for character in text)
    plain = plain.replace("--", "-{}-")  # an option of a command, not a dash
    return f"$-${plain[1:]}" if plain[:1] == "-" and plain[1:2].isdigit() else plain
