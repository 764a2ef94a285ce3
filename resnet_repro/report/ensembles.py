"""Table 5: the averaged scores of several networks, beside the paper's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from resnet_repro.paper.facts import load_facts
from resnet_repro.report.groups import PAPER_DATASETS, Group, group_of
from resnet_repro.report.markdown import plural
from resnet_repro.report.rendering import Column, Row, Table
from resnet_repro.report.results import Results, Sample
from resnet_repro.report.table_parts import (
    AT_REDUCED_SCALE,
    REDUCED_NOTE,
    VIEWS_NOTES,
    data_title,
    group_notes,
    no_results,
    official_word,
    title_of,
)
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title
from resnet_repro.store.models import EnsembleResult

__all__ = ["ensemble_table"]

Numbers = Mapping[Group, int]
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
    *(
        Column(name, shown="csv")
        for name in ("views", "images", "preset", "dataset", "official", "runs", "measured")
    ),
)


def ensemble_table(experiment: Experiment, results: Results, shared: Numbers | None) -> Table:
    """The paper's ensembles, and a row for each of ours, by preset and data set."""
    own = [e for e in results.ensembles if e.experiment == experiment.name]
    groups = {run.id: group_of(run) for run in results.stored}
    found = {groups.get(member) for e in own for member in e.members} - {None}
    ordered = sorted((g for g in found if g), key=lambda group: group.order)
    numbers = shared or {group: number for number, group in enumerate(ordered, start=1)}
    rows: list[Row] = [
        {"method": row.method, "paper_top5": row.top5, "members": row.note}
        for row in load_facts().table5
    ]
    rows += [_ensemble_row(ensemble, results, numbers) for ensemble in own]
    notes = [] if shared else group_notes(numbers)
    for ensemble in own:
        if gone := [member for member in ensemble.members if member not in groups]:
            notes.append(f"Members that are not in this results folder: {', '.join(gone)}.")
    notes.append(TEST_SET_NOTE)
    faithful = [_is_faithful(ensemble) for ensemble in own]
    if own and not shared:
        kinds = sorted({VIEWS_NOTES[ensemble.views] for ensemble in own})
        notes.append(f"Errors are percent; {'; '.join(kinds)}, and then over the members.")
        notes += [] if all(faithful) else [REDUCED_NOTE]
    if not own:
        notes.append(no_results(experiment))
    title = title_of(experiment) + (AT_REDUCED_SCALE if own and not any(faithful) else "")
    return Table(title, ENSEMBLE_COLUMNS, tuple(rows), tuple(notes))


def _is_faithful(ensemble: EnsembleResult) -> bool:
    """Whether its members follow the paper's protocol on the paper's data set."""
    return ensemble.preset == "paper" and ensemble.dataset == PAPER_DATASETS["imagenet"]


def _ensemble_row(ensemble: EnsembleResult, results: Results, numbers: Numbers) -> Row:
    scale = "ours" if _is_faithful(ensemble) else "reduced"
    members = results.runs.reindex(ensemble.members)
    known = members[members.network.notna()]
    marks = "".join(
        f" [{numbers[group]}]" for group in sorted(set(known.group), key=lambda g: g.order)
    )
    counts = Counter(map(network_title, known.network))
    top5 = results.evaluated(ensemble.views).top5_error.reindex(ensemble.members).dropna()
    return {
        "method": f"ours, {plural(len(ensemble.members), 'model')}",
        "members": ", ".join(t if n == 1 else f"{n} {t}" for t, n in counts.items()),
        f"{scale}_top1": ensemble.top1_error,
        f"{scale}_top5": ensemble.top5_error,
        "member_top5": Sample(tuple(top5)).mean,
        "where": ensemble.preset + (marks or f", {data_title(ensemble)}"),
        "views": ensemble.views,
        "images": ensemble.images,
        "preset": ensemble.preset,
        "dataset": ensemble.dataset,
        "official": official_word(ensemble),
        "runs": " ".join(ensemble.members),
        "measured": ensemble.measured,
    }
