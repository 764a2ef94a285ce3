"""Columns, values and notes that the tables of errors share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnet_repro.paper.papers import HE_2016, THE_PAPER
from resnet_repro.report.cells import Cell, groups_in, is_coarse, main_group
from resnet_repro.report.commands import run_command
from resnet_repro.report.gaps import gaps_at_first
from resnet_repro.report.groups import Group
from resnet_repro.report.rendering import Column, Row, Shown, Table, csv_only
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title
from resnet_repro.spec.tables_figures import Views

__all__ = [
    "AT_REDUCED_SCALE",
    "DIFFERENCE_NOTES",
    "ERRORS_NOTE",
    "HELD_OUT_NOTE",
    "OTHERS_NOTE",
    "PROTOCOL_COLUMNS",
    "REDUCED_NOTE",
    "VIEWS_NOTES",
    "cell_values",
    "difference_from_paper",
    "group_notes",
    "no_results",
    "results_table",
    "to_do",
]

ERRORS_NOTE = (
    "Errors are percent, of the final iterate; ours is the mean ± standard deviation over seeds."
)
DIFFERENCE_NOTES = {  # by whose table it is
    THE_PAPER: "Difference is ours minus the paper's (its mean where it has one), where ours "
    "follows the paper's protocol.",
    HE_2016: f"Difference is ours minus that of {HE_2016} (its mean where it has one, otherwise "
    "its median of five runs), where ours follows that paper's protocol.",
}
HELD_OUT_NOTE = (
    "Held out: the error over the training images that were kept from training. Choose settings by "
    "it, never by the test error."
)
OTHERS_NOTE = (
    "Others: lowest to highest error of public reproductions, and in brackets how many they are; "
    "without those that chose the best iterate on the test set."
)
REDUCED_NOTE = (
    "Reduced: other photographs than ImageNet's or less than the paper's protocol; not to be "
    "compared with the paper's numbers."
)
VIEWS_NOTES: dict[Views, str] = {
    "centre": "one centre crop per image",
    "10-crop": "10-crop: centre and four corners of the image and of its mirror, softmax averaged",
    "multi-scale": "multi-scale: fully convolutional, softmax averaged over places, the mirror "
    "image and several shorter sides",
}
AT_REDUCED_SCALE = "; ours at reduced scale"  # ends a title
PROTOCOL_COLUMNS = csv_only("preset", "dataset", "official", "precision", "protocol")


def cell_values(cell: Cell, results: Results, seeds: int) -> Row:
    """The values of a row besides errors; `seeds` is the number of runs that have the errors."""
    every, group = cell.every, cell.group
    return {
        "parameters": every[0].summary.parameters,
        "seeds": Shown(str(seeds) if seeds == len(every) else f"{seeds} of {len(every)}", (seeds,)),
        "failed": len(cell.failed),
        "unfinished": len(cell.unfinished),
        "where": f"{group.preset} [{results.numbers[group]}]",
        "preset": group.preset,
        "dataset": group.dataset,
        "official": "yes" if group.official else "no",
        "precision": group.precision,
        "protocol": group.caption,
    }


def difference_from_paper(
    group: Group, ours: float | None, printed: float | None, paper: str = THE_PAPER
) -> float | None:
    """Our error minus the paper's, if the protocol is that paper's."""
    if ours is None or printed is None or paper not in group.papers:
        return None
    return ours - printed


def results_table(
    experiment: Experiment,
    columns: Sequence[Column],
    rows: Sequence[Row],
    cells: Sequence[Cell],
    results: Results,
    *,
    own: Sequence[str] = (),
    explained: Sequence[str] = (),
    reduced: bool = False,
    below: Table | None = None,
) -> Table:
    """A table of results: below it their groups, its own notes, then how to read the columns."""
    title = experiment.table_heading + (AT_REDUCED_SCALE if reduced else "")
    own = [*own, *troubles(cells, results)]
    captions = group_notes((cell.group for cell in cells), results)
    return Table(title, columns, rows, [*captions, *own, *explained], own, below)


def group_notes(groups: Iterable[Group], results: Results) -> list[str]:
    """`[1] paper preset, CIFAR-10, fp32` for each group, the most faithful first."""
    there = set(groups)
    return [f"[{n}] {group.caption}" for group, n in results.numbers.items() if group in there]


def troubles(cells: Sequence[Cell], results: Results) -> list[str]:
    """Phrases about failed and unfinished runs of every cell, and those tested too seldom."""
    texts = []
    for cell in cells:
        name = f"{network_title(cell.network)} [{results.numbers[cell.group]}]"
        ended = len(cell.done) + len(cell.failed)
        for runs, what in ((cell.failed, f" of {ended} failed"), (cell.unfinished, " unfinished")):
            if runs:
                seeds = ", ".join(str(run.run.seed) for run in runs)
                texts.append(f"{name}: {len(runs)}{what} (seed {seeds})")
        of_losses = cell.group.family == "detection"
        if seldom := 0 if of_losses else sum(map(is_coarse, cell.done)):
            texts.append(
                f"{name}: {seldom} of {len(cell.done)} without a final training error, which is "
                f"over the last {cell.group.interval:,} iterations (recipe.evaluate_every)"
            )
    return texts


def no_results(experiment: Experiment, results: Results) -> str:
    """The note of a table without results."""
    return f"No results yet. To fill this table: {run_command(experiment)}{results.option}"


def to_do(experiment: Experiment, cells: Sequence[Cell], results: Results) -> list[str]:
    """What the experiment's networks lack, and the commands that add it.

    At the preset and data set of the main group, or if that has no preset's recipe, of the most
    faithful group that has. Without any results it is the command that fills the table.
    """
    if not any(cell.done for cell in cells):
        return [no_results(experiment, results)]
    main = main_group(cells, experiment)
    groups = [*([main] if main else []), *groups_in(cell for cell in cells if cell.done)]
    return [
        f"Missing at the {gap.where}: {gap.what}. To do so: {gap.command}{results.option}"
        for gap in gaps_at_first(experiment, groups, results)
    ]
