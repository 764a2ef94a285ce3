"""`--jobs auto`: how many runs side by side train the most images per second, by trying."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from resnet_repro.base.machine import usable_cores
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.messages import Event, SpeedOrder
from resnet_repro.launch.pool import ERRORS
from resnet_repro.launch.side_by_side import LocalSlot, Places
from resnet_repro.runner.options import Options
from resnet_repro.spec.run import Run

__all__ = ["Picked", "Speed", "measure_speed", "pick_jobs"]

SECONDS = 3.0  # that each number of jobs trains for
PATIENCE = 180.0  # seconds until all of them must have started
GAIN = 1.05  # by so much more jobs must be faster than fewer
MEMORY = 0.8  # the share of it that all jobs together may take
MOST_PER_GPU = 16


@dataclass(frozen=True)
class Speed:
    """What so many jobs trained together: images per second; the memory of one, as a share."""

    images_per_second: float
    memory_share: float = 0.0


@dataclass(frozen=True)
class Picked:
    """A number of jobs, and the reason in words."""

    jobs: int
    why: str


Measure = Callable[[Run, int, Options, StopFlag], Speed | None]


def _candidates(most: int) -> list[int]:
    """1, 2, 4 and so on, and the largest number itself."""
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most]


def pick_jobs(
    todo: Sequence[Run],
    options: Options,
    stop: StopFlag,
    measure: Measure | None = None,
    most: int | None = None,
) -> Picked:
    """Try 1, 2, 4 ... jobs with the first run, until more of them gain nothing.

    Args:
        todo: the runs that are to be trained; there are never more jobs than these.
        measure: gives the speed of so many jobs, None if they do not work (there is no memory).
        most: jobs to try at most; by default one per core on the CPU, 16 per GPU elsewhere.

    Raises:
        ReproError: not even one works.
    """
    if len(todo) < 2:
        return Picked(1, "there is only one run to train" if todo else "nothing to train")
    if most is None:
        places = Places(1, options.device)
        most = usable_cores() if places.on_cpu else MOST_PER_GPU * len(places.devices)
    measure = measure or measure_speed
    tried: dict[int, Speed] = {}
    best, ended = 1, ""
    for jobs in _candidates(min(most, len(todo))):
        if jobs * max((s.memory_share for s in tried.values()), default=0.0) > MEMORY:
            ended = f"{jobs} would not fit into the memory"
            break
        speed = measure(todo[0], jobs, options, stop)
        if stop.reason:
            return Picked(1, "interrupted")
        if speed is None:
            ended = f"{jobs} do not work"
            break
        tried[jobs] = speed
        if jobs > 1:
            if speed.images_per_second < GAIN * tried[best].images_per_second:
                break
            best = jobs
    return Picked(best, _reason(todo[0], tried, best, ended))


def _reason(run: Run, tried: dict[int, Speed], best: int, ended: str) -> str:
    if not tried:
        return "one run after another: nothing could be measured within a few minutes"
    speeds = ", ".join(
        f"{jobs}: {speed.images_per_second:,.0f} images/s" for jobs, speed in tried.items()
    )
    what = "one run after another" if best == 1 else f"{best} runs side by side"
    return f"{what} ({run.network}, {speeds}" + (f"; {ended})" if ended else ")")


def measure_speed(run: Run, jobs: int, options: Options, stop: StopFlag) -> Speed | None:
    """The speed of `jobs` workers that all train the first iterations of `run`.

    None if one of several fails: there may be too little memory for so many.

    Raises:
        ReproError: the only one fails.
    """
    places = Places(jobs, options.device)
    options = places.decided(options, [run])
    workers = [places.start(number) for number in range(jobs)]
    try:
        for number, worker in enumerate(workers):
            chosen = replace(options, device=places.device(number), force=False)
            worker.give(SpeedOrder(run=run, options=chosen, seconds=SECONDS))
        warm = _await(workers, "warm", stop)
        if warm is None or stop.reason:
            return None
        for worker in workers:
            worker.go()
        answers = _await(workers, "speed", stop)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.close()
    if answers is None or not all(answer.images_per_second for answer in answers):
        return None
    return Speed(
        sum(answer.images_per_second for answer in answers),
        max(answer.memory_share for answer in answers),
    )


def _await(workers: Sequence[LocalSlot], kind: str, stop: StopFlag) -> list[Event] | None:
    """The event of that kind from every worker, or None if one fails or it is time to stop.

    Raises:
        ReproError: there is only one, and it cannot train.
    """
    heard: dict[int, Event] = {}
    deadline = time.monotonic() + PATIENCE
    while len(heard) < len(workers):
        if stop.reason or time.monotonic() > deadline:
            return None
        for number, worker in enumerate(workers):
            for event in worker.poll():
                if event.kind == kind:
                    heard[number] = event
                elif event.kind in ("error", "died"):
                    if len(workers) == 1 and event.error in ERRORS:
                        raise ERRORS[event.error](event.text)
                    return None
        time.sleep(0.01)
    return [heard[number] for number in sorted(heard)]
