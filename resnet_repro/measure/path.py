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
from resnet_repro.measure.kept_arrays import KeptArrays, measured_on
from resnet_repro.measure.progress import NEWS, progress_teller
from resnet_repro.spec.measurements import PathRow
from resnet_repro.spec.surface import PathSettings
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.order import Batch
from resnet_repro.training.subject import Subject

__all__ = ["measure_on_line", "path_rows"]


def path_rows(
    subject: Subject,
    folder: RunFolder,
    other: str,
    end: Mapping[str, Tensor],
    settings: PathSettings,
    should_stop: Callable[[], bool],
    note: Callable[[str], None],
) -> list[PathRow]:
    """The line from a run's weights to those of another run like it.

    Args:
        subject: the run at position 0.
        folder: where the points of an unfinished line are kept.
        other: id of the run at position 1.
        end: its `state_dict`.
        settings: points and images.
        should_stop: asked before every batch.
        note: told from time to time how far it is.

    Raises:
        Stopped: it was time to stop; the points so far are kept.
        StoreError: they cannot be written.
    """
    sample = choose_sample(subject.feed, settings.images)
    measured = measured_on(subject, end, settings=settings, sample=sample.sha256)
    kept = KeptArrays(folder.unfinished_arrays("path"), measured)
    rows: list[PathRow] = []
    on_progress = progress_teller(note, f"{subject.run.id}: path", NEWS)
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
