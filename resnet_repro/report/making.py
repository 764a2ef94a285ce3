"""The table of any experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_repro.base.errors import ConfigError
from resnet_repro.report.ensembles import ensemble_table
from resnet_repro.report.groups import Group
from resnet_repro.report.tables import Table, cost_table, error_table
from resnet_repro.report.views import views_table
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.shows import CostTable, EnsembleTable, ViewsTable
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

__all__ = ["make_table"]


def make_table(
    experiment: Experiment,
    store: Store,
    runs: Sequence[StoredRun],
    others: bool = False,
    numbers: Mapping[Group, int] | None = None,
) -> Table:
    """What an experiment tabulates, from those of the store's runs that are given.

    `others` and `numbers` are as for `error_table`.

    Raises:
        ConfigError: the experiment is a figure.
        StoreError: something that was measured cannot be read.
    """
    table = experiment.table
    if table is None:
        raise ConfigError(f"{experiment.name} has no table; try: resnet-repro plot")
    if isinstance(table, CostTable):
        return cost_table(experiment, store)
    if isinstance(table, ViewsTable):
        return views_table(experiment, table, runs, store.external_evaluations(), numbers)
    if isinstance(table, EnsembleTable):
        return ensemble_table(experiment, runs, store.ensembles(), numbers)
    return error_table(experiment, runs, others, numbers)
