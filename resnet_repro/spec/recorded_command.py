"""The command line as results record it, without anything about the user or the machine.

Results folders get published, so only values that cannot be private are recorded: names of
experiments, networks and presets, numbers, flags. The values of other options (addresses, accounts,
mail, tokens, `setup` commands, folders) are replaced by `...`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import get_args

from resnet_repro.spec.experiment import SETTINGS
from resnet_repro.spec.input_kinds import InputKind
from resnet_repro.spec.network_names import KINDS

__all__ = ["chosen_fields", "command_line", "recorded_again"]

Show = Callable[[str], str]
PROGRAM = "resnet-repro"
_NOT_SHOWN = "..."
_COMMANDS = ("run", "evaluate")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
# Options of sbatch about sizes; partitions and accounts say whose cluster it is.
_SLURM = re.compile(
    r"(time|mem|mem-per-(cpu|gpu)|cpus-per-task|cpus-per-gpu|gpus-per-node|gres|array-parallelism"
    r"|signal-delay-s)=([0-9][0-9:.-]{0,15}[A-Za-z]{0,2}|gpu:[0-9]{1,3})",
    re.ASCII,
)
_FIELD = (
    rf"((recipe|runs|presets|ensemble|pretraining|{'|'.join(SETTINGS)})\.[a-z0-9_.]{{1,80}}"
    r"|preset|precision|measure)"
    r"=[A-Za-z0-9_.,+\-\[\]{}: ]{0,60}"
)


def _matching(pattern: str) -> Show:
    """Shows a value if the whole of it matches the pattern."""
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: value if compiled.fullmatch(value) else _NOT_SHOWN


def _dataset(value: str) -> str:
    """A data set's name; of `folder:PATH` and `voc:PATH` only the path's last component."""
    kind, colon, path = value.partition(":")
    name = path.rstrip("/").rpartition("/")[2]
    if kind in ("folder", "voc") and colon:
        return f"{kind}:{name}" if _NAME.fullmatch(name) else f"{kind}:{_NOT_SHOWN}"
    return value if re.fullmatch(r"[a-z0-9+]{1,20}", value) else _NOT_SHOWN


def _launcher(value: str) -> str:
    kind, colon, _ = value.partition(":")
    known = kind if kind in ("ray", "slurm", "slurm-local") else _NOT_SHOWN
    return f"{known}:{_NOT_SHOWN}" if colon else known


def _target(value: str) -> str:
    """An experiment, a run, or a file's name without its folders; nothing else.

    A run's configuration is shown with its run: `RUN/config.yaml`.
    """
    from resnet_repro.spec.loading import shipped_experiments

    folders, _, name = value.rstrip("/").rpartition("/")
    run = folders.rpartition("/")[2]
    if name == "config.yaml" and _RUN.fullmatch(run):
        return f"{run}/{name}"
    known = name in shipped_experiments() or _RUN.fullmatch(name) or _FILE.fullmatch(name)
    return name if known else _NOT_SHOWN


_RUN = re.compile(  # or the start of its id
    rf"(faster-rcnn-)?({'|'.join(KINDS)}|vgg)-[A-Za-z0-9._-]{{1,200}}",
    re.ASCII,
)
_FILE = re.compile(r"[A-Za-z0-9._-]{1,60}\.(ya?ml|pth|pt|th|bin|safetensors|ckpt|tar)", re.ASCII)
_list = _matching(r"[a-z0-9][a-z0-9.,_ -]{0,400}")  # of networks, seeds, kinds of crops
# A preset, a device, numbers or a duration; too narrow for a token or the name of a host.
_word = _matching(r"[a-z0-9]{1,12}(:[0-9]{1,3})?|[0-9.][0-9.,hmsd]{0,39}")


def _slurm(value: str) -> str:
    if _SLURM.fullmatch(value):
        return value
    name = re.match(r"[a-z][a-z0-9_-]{0,40}=", value, re.ASCII)
    return (name.group() if name else "") + _NOT_SHOWN


_LISTS = ("--networks", "--network", "--seeds", "--crops")
_WORDS = (
    *("--preset", "--precision", "--device", "--jobs", "-j", "--time-budget", "--checkpoint-every"),
    *("--cpus-per-run", "--gpus-per-run", "--crop", "--padding", "--mean"),
)
VALUES: dict[str, Show] = {
    **dict.fromkeys(_LISTS, _list),
    **dict.fromkeys(_WORDS, _word),
    **dict.fromkeys(("--data-dir", "--results"), lambda _: _NOT_SHOWN),  # paths
    "--dataset": _dataset,
    "--input": lambda value: value if value in get_args(InputKind) else _NOT_SHOWN,
    "--set": _matching(_FIELD),
    "--launcher": _launcher,
    "--slurm": _slurm,
}
FLAGS = (
    *("--dry-run", "--force", "--fail-fast", "--tensorboard", "--wait", "--json", "--record"),
    *("--compile", "--quiet", "-q", "--verbose", "-v"),
)


def command_line(arguments: Sequence[str]) -> str:
    """The command as typed, with `...` for every value that could be private.

    Args:
        arguments: those after the program's name.
    """
    shown = _shown(list(arguments))
    words = [word if _NOT_SHOWN in word else shlex.quote(word) for word in shown]
    return " ".join([PROGRAM, *words])


@lru_cache(maxsize=1024)  # many runs are of the same command
def recorded_again(command: str) -> str:
    """A recorded command, perhaps of an earlier version or edited, as it is recorded today."""
    try:
        words = shlex.split(command)
    except ValueError:  # an unclosed quote
        words = command.split()
    return command_line(words[1:] if words[:1] == [PROGRAM] else words)


def chosen_fields(command: str) -> list[str] | None:
    """What `--set` was given in a recorded command, `surface.images=9`; None if some is hidden."""
    words = shlex.split(recorded_again(command))
    fields = [after for word, after in pairwise(words) if word == "--set"]
    fields += [word.removeprefix("--set=") for word in words if word.startswith("--set=")]
    return None if any(_NOT_SHOWN in field for field in fields) else fields


def _shown(arguments: list[str]) -> Iterator[str]:
    waiting = iter(arguments)
    for argument in waiting:
        option, sign, value = argument.partition("=")
        if not argument.startswith("-"):
            yield argument if argument in _COMMANDS else _target(argument)
        elif argument in FLAGS or re.fullmatch("-[qv]{1,4}", argument):
            yield argument
        elif option in VALUES:
            yield f"{option}={VALUES[option](value)}" if sign else option
            if not sign:
                yield VALUES[option](next(waiting, ""))
        elif argument.startswith("-j"):
            yield f"-j{_word(argument[2:])}"
        else:
            yield _NOT_SHOWN
