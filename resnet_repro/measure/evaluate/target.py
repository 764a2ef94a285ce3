"""What the command line asks to evaluate: a run, by its id or its folder, or a file of weights."""

from __future__ import annotations

from pathlib import Path

from resnet_repro.base.errors import ConfigError, nearest, plain
from resnet_repro.base.paths import user_path
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, read_run

__all__ = ["find_target"]


def find_target(text: str, store: Store) -> StoredRun | Path:
    """A run of the results folder (or of another one, by its path), or the path of a file.

    The beginning of a run's id is enough, if it is one run's.

    Raises:
        ConfigError: there is neither.
        StoreError: the results folder cannot be read.
    """
    path = user_path(text)
    try:
        if path.exists() and not path.is_dir():
            # A run's own checkpoint is more than weights: it says what they belong to.
            ours = path.name.startswith("checkpoint") and (path.parent / "config.yaml").is_file()
            return read_run(path.parent.resolve(), None) if ours else path
        if (path / "config.yaml").is_file():
            return read_run(path.resolve(), None)
        folder = path.is_dir()
    except (OSError, ValueError) as error:  # a name too long, or with a NUL byte
        raise ConfigError(f"{plain(text, 80)!r} is no run and no file") from error
    known = {run.id: run for run in store.all_runs()}
    begun = [run for name, run in known.items() if text and name.startswith(text)]
    found = [known[text]] if text in known else begun
    if len(found) == 1:
        return found[0]
    shown = plain(text, 80)
    if found:
        raise ConfigError(
            f"{shown} is the beginning of {len(found)} runs' ids; which one is meant?"
        )
    if folder:
        raise ConfigError(f"{shown} is not the folder of a run: it has no config.yaml")
    if path.suffix or len(path.parts) > 1:
        raise ConfigError(f"no such file: {shown}")
    hint = nearest(text, list(known)) if known else "it has no runs"
    raise ConfigError(f"no run or file is called {shown!r} in {store.root}; {hint}")
