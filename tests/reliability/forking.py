"""Runs command lines in forked children, so that thirty starts cost one import of torch.

Reads a JSON request a line from stdin and answers with one: `start` forks a child that calls the
real command line, `wait` gives its exit code. Synthetic images are few; nothing else differs
from `python -m resnet_repro`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from narrow_networks import NARROW, set_widths
from short_runs import serving
from warm_up import warm_up

import resnet_repro.launch.worker
import resnet_repro.networks.detector
import resnet_repro.plan.progress
import resnet_repro.report.document.document
import resnet_repro.report.tidy
import resnet_repro.runner.runner
import resnet_repro.training.processes
from resnet_repro import cli
from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.dataset import Contents, Dataset, Identity
from resnet_repro.training.cifar_feed import CifarFeed

TRACEBACK = 70


def small_dataset() -> Dataset:
    """200 training and 60 test images of noise."""
    random = np.random.default_rng(0)

    def part(count: int) -> tuple[Any, Any]:
        images = random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        return images, (np.arange(count) % 10).astype(np.uint8)

    contents = Contents(*part(200), *part(60))
    identity = Identity("synthetic", True, contents.sha256(), "made up", "")
    return Dataset.of(identity, tuple("abcdefghij"), contents)


def die_at(operation: int) -> None:
    """Arrange for SIGKILL right before the n-th fsync or rename, the file being half written."""
    count = 0

    def tick() -> bool:
        nonlocal count
        count += 1
        return count == operation

    fsync, replace = os.fsync, os.replace

    def dying_fsync(descriptor: int) -> None:
        if tick():
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                os.ftruncate(descriptor, status.st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    def dying_replace(source: Any, target: Any) -> None:
        if tick():
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.fsync, os.replace = dying_fsync, dying_replace  # type: ignore[assignment]


def before_batch(act: Callable[[int], None]) -> None:
    """Arrange for something to be done before the batch of each iteration is drawn."""
    batch = CifarFeed.batch

    def acting_batch(self: CifarFeed, asked: int) -> Any:
        act(asked)
        return batch(self, asked)

    CifarFeed.batch = acting_batch  # type: ignore[method-assign]


def unreadable_at(iteration: int) -> None:
    """Arrange for the data to be unreadable from an iteration on."""

    def fail(asked: int) -> None:
        if asked >= iteration:
            raise DataError("images/17.png is not readable any more")

    before_batch(fail)


def terminated_at(iteration: int) -> None:
    """Arrange for SIGTERM in an iteration."""

    def terminate(asked: int) -> None:
        if asked == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    before_batch(terminate)


def other_data() -> None:
    """Arrange for another copy of the data set, as where it was prepared otherwise."""
    here = small_dataset()
    datasets.load = serving(replace(here, identity=replace(here.identity, sha256="0" * 64)))


def child(request: dict[str, Any]) -> int:
    """What a forked child does; returns the exit code."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        opened = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(opened, descriptor)
    if request.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], resource.RLIM_INFINITY))
    if request.get("uid"):
        os.setuid(request["uid"])
    if request.get("die_at"):
        die_at(request["die_at"])
    if request.get("other_data"):
        other_data()
    if request.get("narrow"):
        set_widths(*NARROW)
    os.environ.update(request.get("env", {}))
    if request.get("unreadable_at"):
        unreadable_at(request["unreadable_at"])
    if request.get("terminated_at"):
        terminated_at(request["terminated_at"])
    if request.get("failure_timeout"):
        seconds = timedelta(seconds=request["failure_timeout"])
        resnet_repro.training.processes._FAILURE_TIMEOUT = seconds
    if request.get("alarm"):
        signal.alarm(request["alarm"])  # nothing may hang
    sys.argv = ["resnet-repro", *request["argv"], *request.get("more", [])]
    try:
        cli.main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0
    except BaseException:
        traceback.print_exc()
        return TRACEBACK
    return 0


def main() -> None:
    warm_up()
    datasets.load = serving(small_dataset())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            pid = os.fork()
            if pid == 0:
                code = child(request)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            answer = pid
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["pid"], 0)[1])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
