"""The notes under a table of errors: what a reader must know to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_repro.report.commands import at_group, run_command
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Cell, main_group, network_title, networks_of
from resnet_repro.spec.experiment import Experiment

__all__ = ["DIFFERENCE_NOTE", "ERRORS_NOTE", "OTHERS_NOTE", "table_notes", "troubles"]

ERRORS_NOTE = (
    "Errors are percent, of the final iterate; ours is the mean ± standard deviation over seeds."
)
DIFFERENCE_NOTE = (
    "Difference is ours minus the paper's (its mean where it has one), where ours follows the "
    "paper's protocol."
)
OTHERS_NOTE = (
    "Others: the lowest and the highest error that so many public reproductions report, without "
    "those that chose the best iterate on the test set."
)


def table_notes(
    experiment: Experiment, cells: Sequence[Cell], numbers: Mapping[Group, int], others: bool
) -> list[str]:
    """The groups by number, what went wrong, how to read the columns, and what is not run."""
    notes = [f"[{number}] {group.caption}" for group, number in numbers.items()]
    notes += troubles(cells, numbers)
    done = [cell for cell in cells if cell.done]
    if done:
        notes.append(ERRORS_NOTE)
    if any(cell.group.faithful for cell in done):
        notes.append(DIFFERENCE_NOTE)
    if others:
        notes.append(OTHERS_NOTE)
    missing = [n for n in networks_of(experiment) if n not in {cell.network for cell in done}]
    if not done:
        notes.append(f"No results yet. To fill this table: {run_command(experiment)}")
    elif missing:
        titles = ", ".join(network_title(network) for network in missing)
        main = main_group(cells)
        variant = (main and at_group(experiment, main)) or experiment
        command = run_command(variant, [n for n in missing if n in variant.networks])
        notes.append(f"Not run: {titles}. To run at the {variant.preset} preset: {command}")
    return notes


def troubles(cells: Sequence[Cell], numbers: Mapping[Group, int]) -> list[str]:
    """One phrase each about the failed and the unfinished runs of each cell."""
    return [text for cell in cells for text in _troubles(cell, numbers[cell.group])]


def _troubles(cell: Cell, number: int) -> list[str]:
    """One phrase each about the failed and the unfinished runs of a cell."""
    ended = len(cell.done) + len(cell.failed)
    name = f"{network_title(cell.network)} [{number}]"
    texts = []
    if cell.failed:
        seeds = ", ".join(str(run.summary.seed) for run in cell.failed if run.summary)
        texts.append(f"{name}: {len(cell.failed)} of {ended} failed (seed {seeds})")
    if cell.unfinished:
        seeds = ", ".join(str(run.summary.seed) for run in cell.unfinished if run.summary)
        texts.append(f"{name}: {len(cell.unfinished)} unfinished (seed {seeds})")
    return texts
