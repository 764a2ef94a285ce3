"""Where public reproductions of the paper's networks ended."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.paper.others import load_others
from resnet_repro.report.markdown import table
from resnet_repro.report.results import network_title
from resnet_repro.report.tables import Column, Row, Table

__all__ = ["others_section", "others_table"]

NETWORKS = (
    "plain-20",
    "plain-56",
    "resnet-20",
    "resnet-32",
    "resnet-44",
    "resnet-56",
    "resnet-110",
)
NOTE = (
    "Errors are percent as the sources report them (100 minus an accuracy), of one run unless a "
    "standard deviation stands beside; iterate is what the source says of how it was chosen. The "
    "ranges of others above leave out the best on test."
)
SELECTIONS = {"final": "final", "best": "best on test", "unstated": "not stated"}


def others_table(networks: Sequence[str]) -> Table:
    """A row per reproduction that reports one of the networks, with the link where it does."""
    others = [o for o in load_others() if any(network in o.errors for network in networks)]
    columns = [
        Column("name", "reproduction", number=False),
        *(Column(network, network_title(network)) for network in networks),
        Column("selection", "iterate", number=False),
        Column("protocol", "protocol", number=False, spare=2),
        Column("link", "source", number=False, spare=1),
    ]
    rows: list[Row] = [
        {
            "name": other.name,
            **{n: str(other.errors[n]) for n in networks if n in other.errors},
            "selection": SELECTIONS[other.selection],
            "protocol": other.protocol,
            "link": other.link,
        }
        for other in others
    ]
    return Table(
        "Public reproductions: test error on CIFAR-10",
        tuple(columns),
        tuple(rows),
        (NOTE,),
    )


def others_section() -> list[str]:
    """The reproductions as a section of the report, each a link."""
    rows = [
        [
            f"[{other.name}]({other.link})",
            *(str(other.errors[n]) if n in other.errors else "" for n in NETWORKS),
            SELECTIONS[other.selection],
            other.protocol,
        ]
        for other in load_others()
    ]
    header = ["reproduction", *map(network_title, NETWORKS), "iterate", "protocol"]
    numbers = range(1, 1 + len(NETWORKS))
    return ["## What others got", "", *table(header, rows, numbers), "", NOTE]
