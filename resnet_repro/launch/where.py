"""Where runs are trained: the options of `run` that say so."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from resnet_repro.base.errors import ConfigError, nearest, plain
from resnet_repro.base.machine import trains_together

__all__ = ["Where", "parse_where"]

Launcher = Literal["here", "ray", "slurm", "slurm-local"]
MAX_JOBS = 4_096
# Options of sbatch that resnet-repro sets itself.
RESERVED = (
    *("array", "output", "error", "open_mode", "signal", "requeue", "no_requeue"),
    *("nodes", "ntasks", "ntasks_per_node", "additional_parameters", "use_srun"),
)
# Those that need no value.
FLAGS = ("contiguous", "exclusive", "hold", "overcommit", "oversubscribe", "spread_job")


@dataclass(frozen=True)
class Where:
    """Where the runs of an experiment are trained."""

    kind: Launcher = "here"
    jobs: int | Literal["auto"] = 1  # side by side on this machine
    address: str | None = None  # of a Ray cluster; None: one found, or started on this machine
    cpus_per_run: int | None = None
    gpus_per_run: float | None = None
    slurm: Mapping[str, str | list[str] | bool] = field(default_factory=dict)  # options of sbatch
    wait: bool = False  # for the array job
    # Seconds of the command; of an array job's tasks, of each session.
    time_budget: float | None = None

    @property
    def plain(self) -> bool:
        """Whether runs are trained one after another in this process."""
        return self.kind == "here" and self.jobs == 1

    @property
    def is_slurm(self) -> bool:
        """Whether the runs are the tasks of an array job."""
        return self.kind in ("slurm", "slurm-local")

    @property
    def submits(self) -> bool:
        """Whether the command only submits the runs, without waiting."""
        return self.is_slurm and not self.wait


def parse_where(
    jobs: str = "1",
    launcher: str | None = None,
    cpus_per_run: int | None = None,
    gpus_per_run: float | None = None,
    slurm: Sequence[str] = (),
    wait: bool = False,
    fail_fast: bool = False,
    time_budget: float | None = None,
) -> Where:
    """Parse `--jobs`, `--launcher` and their options.

    Raises:
        ConfigError: a value is invalid, options contradict each other, or a package is missing.
    """
    count = _parse_jobs(jobs)
    kind, address = _parse_launcher(launcher)
    if kind != "here" and count != 1:
        raise ConfigError("--jobs is for this machine alone: leave it out with --launcher")
    if kind == "here" and (cpus_per_run is not None or gpus_per_run is not None):
        raise ConfigError(
            "--cpus-per-run and --gpus-per-run go with --launcher; --jobs divides this machine"
        )
    submitted = kind in ("slurm", "slurm-local")
    if not submitted and (slurm or wait):
        raise ConfigError(f"{'--slurm' if slurm else '--wait'} goes with --launcher slurm")
    if submitted and fail_fast:
        raise ConfigError(
            "--fail-fast does not go with --launcher slurm: its tasks know nothing of each other"
        )
    if gpus_per_run is not None and (gpus_per_run > 1 or (submitted and gpus_per_run % 1)):
        raise ConfigError(
            f"--gpus-per-run {gpus_per_run:g}: a run is trained on one GPU or, with Ray, a part "
            "of one; torchrun trains one run on several (see docs/clusters.md)"
        )
    if (kind, count) != ("here", 1) and trains_together():
        raise ConfigError(
            f"WORLD_SIZE={plain(os.environ['WORLD_SIZE'], 20)}: as under torchrun, all processes "
            "train one run together: leave out --jobs and --launcher, or unset it"
        )
    _check_installed(kind)
    options = _parse_slurm(slurm)
    return Where(kind, count, address, cpus_per_run, gpus_per_run, options, wait, time_budget)


def _parse_jobs(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_JOBS:
        return int(text)
    raise ConfigError(f"--jobs {plain(text, 40)!r}: a number from 1 to {MAX_JOBS:,}, or auto")


def _parse_launcher(text: str | None) -> tuple[Launcher, str | None]:
    if text is None:
        return "here", None
    name, colon, address = text.partition(":")
    if name == "ray":
        if colon and not address:
            raise ConfigError("--launcher ray: an address follows the colon, ray:HOST:6379")
        return "ray", address or None
    submitted: dict[str, Launcher] = {"slurm": "slurm", "slurm-local": "slurm-local"}
    if text not in submitted:
        hint = nearest(text, ["ray", "ray:ADDRESS", *submitted])
        raise ConfigError(f"--launcher {plain(text, 60)!r}: {hint}")
    return submitted[text], None


def _check_installed(kind: Launcher) -> None:
    package, extra = {"ray": ("ray", "ray")}.get(kind, ("submitit", "slurm"))
    if kind != "here" and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"--launcher {kind} needs the {package} package: pip install 'resnet-repro[{extra}]'"
        )


def _parse_slurm(items: Sequence[str]) -> dict[str, str | list[str] | bool]:
    """Parse options of sbatch: `key=value`, or one of `FLAGS`; `setup` may be repeated."""
    options: dict[str, str | list[str] | bool] = {}
    for item in items:
        key, sign, value = item.partition("=")
        name = key.strip().lstrip("-").replace("-", "_")
        if not sign and name in FLAGS:
            options[name] = True
            continue
        if not sign or not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or not value.isprintable():
            raise ConfigError(
                f"--slurm {plain(item, 60)!r}: write an option of sbatch as key=value, such as "
                "partition=gpu or gpus-per-node=1"
            )
        if name in RESERVED:
            raise ConfigError(f"--slurm {key}: is set by resnet-repro itself")
        if name in ("setup", "srun_args"):
            lines = options.setdefault(name, [])
            assert isinstance(lines, list)
            lines.append(value)
        else:
            options[name] = value
    return options
