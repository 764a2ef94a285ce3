"""Tables of what public reproductions report for the paper's networks."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.paper.facts import load_others
from resnet_repro.report import markdown
from resnet_repro.report.rendering import Column, Row, Table
from resnet_repro.spec.network_names import network_title

__all__ = ["others_section", "others_table"]

NETWORKS = (
    *("plain-20", "plain-56"),
    *("resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110"),
)
NOTE = (
    "Errors are percent as the sources report them (100 minus an accuracy), of one run unless a "
    "standard deviation stands beside; iterate is what the source says of how it was chosen. The "
    "ranges of others above leave out the best on test."
)
SELECTIONS = {"final": "final", "best": "best on test", "unstated": "not stated"}


def others_table(networks: Sequence[str]) -> Table:
    """A row per reproduction that reports one of the networks, with its link."""
    columns = (
        Column("name", "reproduction", number=False),
        *(Column(network, network_title(network)) for network in networks),
        Column("selection", "iterate", number=False),
        Column("protocol", "protocol", number=False, spare=2),
        Column("link", "source", number=False, spare=1),
    )
    rows: list[Row] = [
        {
            "name": other.name,
            **{n: str(other.errors[n]) for n in networks if n in other.errors},
            "selection": SELECTIONS[other.selection],
            "protocol": other.protocol,
            "link": other.link,
        }
        for other in load_others()
        if any(network in other.errors for network in networks)
    ]
    title = "Public reproductions: test error on CIFAR-10"
    return Table(title, columns, tuple(rows), (NOTE,))


def others_section() -> list[str]:
    """The reproductions as a section of the report, with links."""
    found = others_table(NETWORKS)
    *columns, _ = found.columns
    rows = [
        [f"[{row['name']}]({row['link']})", *(str(row.get(c.key, "")) for c in columns[1:])]
        for row in found.rows
    ]
    numbers = [index for index, column in enumerate(columns) if column.number]
    lines = markdown.table([column.header for column in columns], rows, numbers)
    return ["## What others got", "", *lines, "", NOTE]
