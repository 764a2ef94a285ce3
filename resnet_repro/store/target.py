"""What a command is pointed at: a run, or a file of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnet_repro.base.errors import ConfigError, nearest, plain
from resnet_repro.base.files import user_path
from resnet_repro.spec.run import ids_of
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, read_run

__all__ = ["find_target"]

SHOWN = 5  # ids of runs of which one is meant


def find_target(text: str, store: Store, coming: Sequence[StoredRun] = ()) -> StoredRun | Path:
    """A run of the results folder (or of another one, by its path), or the path of a file.

    The beginning of a run's id is enough, if it is one run's. Runs that are `coming` count as if
    they were there.

    Raises:
        ConfigError: there is neither.
        StoreError: the results folder cannot be read.
    """
    path = user_path(text)
    try:
        if path.exists() and not path.is_dir():
            # A run's own checkpoint is more than weights: it says what they belong to.
            names = ("checkpoint", "checkpoint.new", "checkpoint.previous")
            if path.name not in names or not (path.parent / "config.yaml").is_file():
                return path
            if path.name != "checkpoint":
                raise ConfigError(
                    f"{plain(text, 80)} cannot be chosen: of a run's checkpoints the newest one "
                    f"that is whole is used, of the run in {plain(str(path.parent), 80)}"
                )
            return read_run(path.parent.resolve(), None)
        if (path / "config.yaml").is_file():
            return read_run(path.resolve(), None)
        folder = path.is_dir()
    except (OSError, ValueError) as error:  # a name too long, or with a NUL byte
        raise ConfigError(f"{plain(text, 80)!r} is no run and no file") from error
    known = {run.id: run for run in (*coming, *store.all_runs())}
    begun = [run for name, run in known.items() if text and name.startswith(text)]
    found = [known[name] for name in ids_of(text) if name in known][:1] or begun
    if len(found) == 1:
        return found[0]
    shown = plain(text, 80)
    if found:
        some = ", ".join(run.id for run in found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        raise ConfigError(f"{shown} is the beginning of {len(found)} runs' ids: {some}")
    if folder and text:
        raise ConfigError(f"{shown} is not the folder of a run: it has no config.yaml")
    if path.suffix or len(path.parts) > 1:
        raise ConfigError(f"no such file: {shown}")
    hint = nearest(text, list(known)) if known else "it has no runs"
    raise ConfigError(f"no run or file is called {shown!r} in {store.root}; {hint}")
