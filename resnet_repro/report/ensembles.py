"""Table 5: the averaged scores of several networks, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from resnet_repro.paper.facts import load_facts
from resnet_repro.report.claims.quantities import evaluation
from resnet_repro.report.commands import run_command
from resnet_repro.report.groups import PAPER_DATASETS, Group, group_of
from resnet_repro.report.markdown import plural
from resnet_repro.report.results import network_title
from resnet_repro.report.tables import Column, Row, Table, number_groups, title_of
from resnet_repro.report.views import REDUCED_NOTE, VIEWS_NOTES
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.experiment import Experiment
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.stored_run import StoredRun

__all__ = ["ensemble_is_faithful", "ensemble_table"]

TEST_SET_NOTE = (
    "The paper's errors are of ImageNet's test set, whose labels are not public; ours are of the "
    "validation set."
)

ENSEMBLE_COLUMNS = (
    Column("method", "method", number=False),
    Column("members", "members", number=False, spare=1),
    Column("paper_top5", "paper top-5 (test set)", form=".2f"),
    Column("ours_top1", "ours top-1", form=".2f"),
    Column("ours_top5", "ours top-5", form=".2f"),
    Column("reduced_top1", "reduced top-1", form=".2f"),
    Column("reduced_top5", "reduced top-5", form=".2f"),
    Column("member_top5", "mean of members, top-5", form=".2f", spare=2),
    Column("where", "on", number=False, shown="print"),
    Column("views", "views", number=False, shown="csv"),
    Column("images", "images", shown="csv"),
    Column("preset_name", "preset", number=False, shown="csv"),
    Column("dataset", "dataset", number=False, shown="csv"),
    Column("official", "official", number=False, shown="csv"),
    Column("runs", "runs", number=False, shown="csv"),
    Column("measured", "measured", number=False, shown="csv"),
)


def ensemble_table(
    experiment: Experiment,
    runs: Sequence[StoredRun],
    ensembles: Sequence[EnsembleResult],
    numbers: Mapping[Group, int] | None = None,
) -> Table:
    """The paper's ensembles, and a row per preset and data set at which ours was measured.

    `numbers` are the groups' numbers where they are counted and explained elsewhere.

    Raises:
        StoreError: what was measured on a member cannot be read.
    """
    own = [e for e in ensembles if e.experiment == experiment.name]
    stored = {run.id: run for run in runs}
    groups = {e.file_name: _groups(e, stored) for e in own}
    every = sorted({g for found in groups.values() for g in found}, key=lambda g: g.order)
    counted, numbers = bool(numbers), number_groups(every, numbers)
    rows: list[Row] = [
        {"method": row.method, "paper_top5": row.top5, "members": row.note}
        for row in load_facts().table5
    ]
    rows += [_row(e, stored, [numbers[g] for g in groups[e.file_name]]) for e in own]
    notes = [] if counted else [f"[{number}] {g.caption}" for g, number in numbers.items()]
    for result in own:
        gone = [member for member in result.members if member not in stored]
        if gone:
            notes.append(f"Members that are not in this results folder: {', '.join(gone)}.")
    notes.append(TEST_SET_NOTE)
    if own and not counted:
        kinds = sorted({VIEWS_NOTES[e.views] for e in own})
        notes.append(f"Errors are percent; {'; '.join(kinds)}, and then over the members.")
        if any(not ensemble_is_faithful(e) for e in own):
            notes.append(REDUCED_NOTE)
    if not own:
        notes.append(f"No results yet. To fill this table: {run_command(experiment)}")
    title = title_of(experiment)
    if own and not any(ensemble_is_faithful(e) for e in own):
        title += "; ours at reduced scale"
    return Table(title, ENSEMBLE_COLUMNS, tuple(rows), tuple(notes))


def ensemble_is_faithful(result: EnsembleResult) -> bool:
    """Whether its members follow the paper's protocol on the paper's data set."""
    return result.preset == "paper" and result.dataset == PAPER_DATASETS["imagenet"]


def _groups(result: EnsembleResult, stored: Mapping[str, StoredRun]) -> list[Group]:
    """The groups of the members, of which there should be one."""
    found = [group_of(stored[member]) for member in result.members if member in stored]
    return sorted({group for group in found if group}, key=lambda group: group.order)


def _row(result: EnsembleResult, stored: Mapping[str, StoredRun], numbers: list[int]) -> Row:
    scale = "ours" if ensemble_is_faithful(result) else "reduced"
    members = [stored[member] for member in result.members if member in stored]
    rows = [row for run in members if (row := evaluation(run, result.views)) is not None]
    marks = "".join(f" [{number}]" for number in numbers)
    where = f"{result.preset}{marks}" if numbers else f"{result.preset}, {_data(result)}"
    return {
        "method": f"ours, {plural(len(result.members), 'model')}",
        "members": _members(members),
        f"{scale}_top1": result.top1_error,
        f"{scale}_top5": result.top5_error,
        "member_top5": fmean(row.top5_error for row in rows) if rows else None,
        "where": where,
        "views": result.views,
        "images": result.images,
        "preset_name": result.preset,
        "dataset": result.dataset,
        "official": "yes" if result.data.get("official") is True else "no",
        "runs": " ".join(result.members),
        "measured": result.measured,
    }


def _data(result: EnsembleResult) -> str:
    copy = "" if result.data.get("official") is True else " (unofficial copy)"
    return dataset_title(result.dataset) + copy


def _members(runs: Sequence[StoredRun]) -> str:
    """`ResNet-34 B, 2 ResNet-152`."""
    counts: dict[str, int] = {}
    for run in runs:
        if run.summary:
            title = network_title(run.summary.network)
            counts[title] = counts.get(title, 0) + 1
    return ", ".join(title if n == 1 else f"{n} {title}" for title, n in counts.items())
