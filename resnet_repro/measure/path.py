"""The loss along the straight line between the weights of two runs.

(1 - t) of the one and t of the other, on training images as they are, without augmentation, as in
section 3 of Li et al. (arXiv 1712.09913).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from torch import Tensor, nn

from resnet_repro.measure.image_sample import choose_sample
from resnet_repro.measure.kept_arrays import KeptArrays, Parts
from resnet_repro.measure.progress import NEWS, progress_teller
from resnet_repro.spec.measurements import PathRow
from resnet_repro.spec.surface import PathSettings
from resnet_repro.store.lines import other_run
from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import final_state, weights_missing
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.order import Batch
from resnet_repro.training.subject import Subject

__all__ = ["measure_on_line", "path_rows", "path_to_other_run"]


def path_to_other_run(
    subject: Subject,
    parts: Parts,
    store: Store,
    settings: PathSettings,
    should_stop: Callable[[], bool],
    news: Callable[[str], None],
    note: Callable[[str], None],
) -> list[PathRow]:
    """`path_rows` to the run that the settings name; none, with notes, without its weights.

    Raises:
        ConfigError: it is no other run of the same network and data.
        Stopped: as `path_rows`.
        StoreError: as `path_rows`.
    """
    run = subject.run
    other = other_run(run, settings, store)
    stored = store.get(other)
    state, reasons = final_state(other, stored)
    if state is None:
        note(f"{other.id}, where the line of {run.id} ends: {weights_missing(stored, reasons)}")
        return []
    for reason in reasons:
        note(f"{other.id}: not used: {reason}")
    end = state["network"]
    return path_rows(subject, parts, other.id, end, settings, should_stop, news)


def path_rows(
    subject: Subject,
    parts: Parts,
    other: str,
    end: Mapping[str, Tensor],
    settings: PathSettings,
    should_stop: Callable[[], bool],
    news: Callable[[str], None],
) -> list[PathRow]:
    """The line from a run's weights (position 0) to the `end` of another run like it (1).

    Raises:
        Stopped: it was time to stop; the points so far are kept.
        StoreError: they cannot be written.
    """
    sample = choose_sample(subject.feed, settings.images)
    kept = KeptArrays(parts, subject, end, settings=settings, sample=sample.sha256)
    rows: list[PathRow] = []
    on_progress = progress_teller(news, f"{subject.run.id}: path", NEWS)
    for position in settings.positions:
        measure = partial(
            measure_on_line,
            *(subject.network, end, position, sample.batches, subject.backend, should_stop),
        )
        loss, error = kept.get(str(position), measure).tolist()
        rows.append(PathRow(other, position, loss, error, *sample.columns, "interpolated"))
        on_progress(len(rows), len(settings.positions))
    return rows


def measure_on_line(
    network: nn.Module,
    end: Mapping[str, Tensor],
    position: float,
    batches: Callable[[], Iterable[Batch]],
    backend: Backend,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float]:
    """Loss and error at a point of the straight line from a network (0) to one like it (1).

    `end` is the other one's `state_dict`. BN's statistics move along (`dir_type=states` in that
    paper's code); beyond the ends a variance that would be negative is 0.

    Raises:
        Stopped: `should_stop`, asked before every batch, said so.
    """
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = (1 - position) * value + position * end[name].to(value.device)
            if name.endswith("running_var"):
                state[name].clamp_(min=0)
    twin = copy.deepcopy(network).eval()
    twin.load_state_dict(state)
    return evaluate(twin, batches(), backend, should_stop)
