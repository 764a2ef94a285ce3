"""Made-up results, written by the store's own writers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from made_up_origin import summary_of

from resnet_repro.report.document.document import compose_report
from resnet_repro.report.document.html import as_html
from resnet_repro.report.figures.figures import figure_mark, figure_names
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import EvaluationRow, GradientRow, ResponseRow
from resnet_repro.spec.presets import Preset, preset_recipe
from resnet_repro.spec.recipe import merge
from resnet_repro.spec.run import Run
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.models import (
    CurveRow,
    EnsembleResult,
    ExternalEvaluation,
    Provenance,
)
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store

# Whatever experiments are added later, the report on these stays the same.
PAPERS = (
    *("fig1", "fig4", "fig6", "fig7", "gradients", "signals"),
    *("table1", "table2", "table3", "table4", "table5", "table6"),
)
POINTS = 12  # of a made-up curve
BETWEEN = -2  # all of them but the last


def section(text: str, title: str) -> str:
    """What a report says under the heading that begins so, up to the next one of its level."""
    _, found, rest = text.partition(f"## {title}")
    assert found, f"no section {title}"
    return rest.partition("\n## ")[0]


class Bench:
    """A results folder to put made-up runs into."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def experiment(self, name: str, preset: Preset | None = None) -> Experiment:
        """A shipped experiment, at a preset of it."""
        return load_experiment(name).choose(Choices(preset=preset))

    def report(self) -> str:
        """The report on what is there, in Markdown: with sections for `PAPERS`."""
        return compose_report(self.store, list(map(load_experiment, PAPERS)))[0]

    def page(self) -> str:
        """The same in HTML."""
        return as_html(self.report(), self.store.read_figure)

    def mark(self, name: str) -> str:
        """What tells an experiment's main figure of what is there from those of other results."""
        experiment, results = load_experiment(name), Results(self.store)
        return figure_mark(experiment, results, figure_names(experiment, results)[name])

    def picture(self, name: str) -> bytes:
        """Write something in place of an experiment's main figure of what is there; return it."""
        content = self.mark(name).encode()
        self.store.write_figure(name, "png", content)
        return content

    def add(
        self,
        network: str,
        test: float | None = 10.0,
        train: float | None = 2.0,
        *,
        seed: int = 0,
        preset: Preset = "paper",
        dataset: Any = "cifar10",
        official: bool = True,
        state: Any = "done",
        resolved: str = "fp32",
        precision: Any = "auto",
        recipe: dict[str, Any] | None = None,
        responses: list[float] | None = None,
        gradients: Mapping[int, Sequence[float]] | None = None,
        signal: float = 1.0,
        back: Mapping[int, Sequence[float]] | None = None,
        measured: str = "training",
        points: Callable[[float], tuple[float, float]] | None = None,
        evaluations: Mapping[Views, tuple[float, float]] | None = None,
        bn_images: int | None = None,
        processes: int = 1,
        divisions: list[int] | None = None,
        parameters: int = 269_722,
    ) -> RunFolder:
        """Store a run that ended with these errors; `points` maps 0..1 to (train, test) error.

        `gradients` are norms by layer for some iterations, -1 being the last and BETWEEN all other
        points of the curve; `back` are the outputs' gradients likewise, where they are to be known;
        `signal` is the weakest layer's. `evaluations` are (top-1, top-5)
        errors by views.
        """
        base = preset_recipe(preset, network, dataset).model_dump(mode="json")
        run = Run.model_validate(
            {
                "network": network,
                "dataset": dataset,
                "recipe": merge(base, recipe or {}),
                "seed": seed,
                "precision": precision,
            }
        )
        folder = self.store.folder(run)
        folder.write_config(run)
        ended = state == "done"
        summary = summary_of(
            run,
            state=state,
            iteration=run.recipe.iterations if ended else 7,
            parameters=parameters,
            final_train_loss=1.0 if ended else None,
            final_train_error=train if ended else None,
            final_test_error=test if ended else None,
            best_test_error=None if test is None else max(0.0, test - 0.5),
            best_test_iteration=run.recipe.iterations // 2,
            failure="the loss became nan" if state == "failed" else None,
            lr_divisions=divisions,
            seconds=1_800.0,
            provenance=_provenance(dataset, official, resolved).model_copy(
                update={"bn_images": bn_images, "processes": processes}
            ),
        )
        folder.write_summary(summary)
        if ended:
            folder.write_curve(_curve(run, train or 0, test or 0, points))
        if evaluations:
            sha256 = summary.provenance.dataset["sha256"]
            folder.write_measured(
                "evaluations",
                [
                    EvaluationRow(views, top1, top5, 1.0, 50_000, "average", sha256)
                    for views, (top1, top5) in evaluations.items()
                ],
                summary.provenance,
            )
        if responses:
            folder.write_measured(
                "responses",
                [ResponseRow(i, f"m{i}", s) for i, s in enumerate(responses, start=1)],
                summary.provenance,
            )
        if gradients:
            *between, last = _points(run)
            folder.write_measured(
                "gradients",
                [
                    GradientRow(
                        iteration=moment,
                        layer=layer,
                        module=f"m{layer}",
                        forward_std=signal if layer == 1 else 1.0,
                        gradient_norm=norm,
                        weight_norm=5.0,
                        measured=measured,
                        signal_norm=back[iteration][layer - 1]
                        if back and iteration in back
                        else None,
                    )
                    for iteration, norms in gradients.items()
                    for moment in {BETWEEN: between, -1: [last]}.get(iteration, [iteration])
                    for layer, norm in enumerate(norms, start=1)
                ],
                summary.provenance if measured == "afterwards" else None,
            )
        return folder

    def add_ensemble(
        self, members: Sequence[RunFolder], top1: float, top5: float, **changes: Any
    ) -> EnsembleResult:
        """Store what the scores of some runs came to."""
        values: dict[str, Any] = {
            "experiment": "table5",
            "preset": "paper",
            "dataset": "imagenet",
            "members": [folder.path.name for folder in members],
            "views": "multi-scale",
            "top1_error": top1,
            "top5_error": top5,
            "images": 50_000,
            **_MEASURED,
        }
        result = EnsembleResult.model_validate(values | changes)
        self.store.write_record(result)
        return result

    def add_weights(
        self, network: str, evaluations: Mapping[Views, tuple[float, float]], **changes: Any
    ) -> ExternalEvaluation:
        """Store the evaluation of somebody's weights."""
        rows = [
            EvaluationRow(views, top1, top5, 1.0, 50_000, "running", "0" * 64)
            for views, (top1, top5) in evaluations.items()
        ]
        values: dict[str, Any] = {
            "network": network,
            "dataset": "imagenet",
            "evaluations": rows,
            "weights_sha256": "ab" * 32,
            "weights_file": "weights.pth",
            **_MEASURED,
        }
        evaluation = ExternalEvaluation.model_validate(values | changes)
        self.store.write_record(evaluation)
        return evaluation


_MEASURED: dict[str, Any] = {
    "data": {"name": "imagenet", "official": True, "sha256": "0" * 64, "source": "", "note": ""},
    "code": "0.1.0 (abc1234)",
    "command": "resnet-repro run table5 --data-dir /home/someone/data",
    "measured": "2025-01-03T03:04:05Z",
}


def _provenance(dataset: str, official: bool, resolved: str) -> Provenance:
    return Provenance(
        code="0.1.0 (abc1234)",
        dirty=False,
        command="resnet-repro run --data-dir /home/someone/data",
        device="cuda",
        hardware="NVIDIA H100",
        precision=resolved,
        threads=4,
        versions={"python": "3.11", "torch": "2.9"},
        dataset={
            "name": dataset,
            "official": official,
            "sha256": ("0" if official else "f") * 64,
            "source": "binary version",
            "note": "" if official else "unofficial copy: checksums differ",
        },
        normalisation={
            "kind": "per-pixel mean",
            "sha256": "1" * 64,
            "channel_averages": [125.3, 123.0, 113.9],
        },
        started="2025-01-02T03:04:05Z",
        ended="2025-01-02T04:04:05Z",
    )


def _points(run: Run) -> list[int]:
    """The iterations of a curve's points."""
    return [round(index / POINTS * run.recipe.iterations) for index in range(1, POINTS + 1)]


def _curve(
    run: Run,
    train: float,
    test: float,
    points: Callable[[float], tuple[float, float]] | None,
) -> list[CurveRow]:
    rows = []
    for step in _points(run):
        part = step / run.recipe.iterations
        falling = (min(100.0, error + 20 * (1 - part)) for error in (train, test))
        a, b = points(part) if points else falling
        rows.append(CurveRow(step, step * 128 / 50_000, 0.1, a / 40, a, b, part * 1_800))
    return rows
