"""Completion in the shell: names of experiments, networks, presets and so on; without torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer

__all__ = [
    "complete_datasets",
    "complete_experiments",
    "complete_networks",
    "complete_runs",
    "one_of",
    "several_of",
]


def one_of(known: Sequence[str], name: str, text: str) -> Any:
    """An option, with its help text, that is one of some words."""

    def complete(incomplete: str) -> Iterator[str]:
        return _beginning(known, incomplete)

    return typer.Option(name, help=text, autocompletion=complete)


def several_of(known: Iterable[str], name: str, text: str) -> Any:
    """An option, with its help text, that is a list of some words with commas."""

    def complete(incomplete: str) -> Iterator[str]:
        return _last_beginning(known, incomplete)

    return typer.Option(name, help=text, autocompletion=complete)


def _beginning(known: Iterable[str], incomplete: str) -> Iterator[str]:
    return (word for word in known if word.startswith(incomplete))


def _last_beginning(known: Iterable[str], incomplete: str) -> Iterator[str]:
    before, comma, last = incomplete.rpartition(",")
    given = set(before.split(","))
    words = (word for word in known if word not in given)
    return (before + comma + word for word in _beginning(words, last))


def complete_experiments(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The shipped experiments that are not given yet; the shell adds files."""
    from resnet_repro.spec.loading import shipped_experiments

    given = context.params.get("names") or ()
    return _beginning((n for n in shipped_experiments() if n not in given), incomplete)


def complete_networks(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The networks of the given experiments, or all of the paper's."""
    from resnet_repro.base.errors import ReproError
    from resnet_repro.spec.loading import load_experiment
    from resnet_repro.spec.network_names import THE_PAPERS

    params = context.params
    names = [*(params.get("names") or ()), params.get("name"), *context.args]  # args: unparsed
    known: dict[str, None] = {}
    for name in filter(None, names):
        with contextlib.suppress(ReproError):  # an option's value, or an incomplete file name
            known |= dict.fromkeys(load_experiment(str(name)).networks)
    return _last_beginning(known or THE_PAPERS, incomplete)


def complete_datasets(incomplete: str) -> Iterator[str]:
    """The data sets that have names; what follows `folder:` or `voc:` is the user's."""
    from resnet_repro.spec.dataset_names import DATASETS

    return _beginning((*DATASETS, "folder:", "voc:"), incomplete)


def complete_runs(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The runs in the results folder."""
    from resnet_repro.base.files import user_path

    folder = user_path(context.params.get("results") or "results") / "runs"
    try:
        known = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        known = []
    return _beginning(known, incomplete)
