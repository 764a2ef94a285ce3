"""An experiment: a named item of the paper, which resolves to runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, PrivateAttr, field_validator, model_validator

from resnet_repro.base.errors import ConfigError, nearest
from resnet_repro.base.records import Frozen
from resnet_repro.spec.dataset_names import dataset_fits, family_datasets
from resnet_repro.spec.experiment_parts import Ensemble, Pretraining, RunsEntry, Selection
from resnet_repro.spec.measurements import MEASUREMENTS, WITH_COCO, MeasurementName
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.presets import PRESETS, Preset, preset_recipe, presets_of
from resnet_repro.spec.recipe import Recipe, changed_recipe
from resnet_repro.spec.run import DatasetName, Precision, Run
from resnet_repro.spec.surface import CurvatureSettings, PathSettings, SurfaceSettings
from resnet_repro.spec.tables_figures import (
    AnyPlot,
    AnyTable,
    DetectionTable,
    EnsembleTable,
    Text,
    ViewsTable,
)
from resnet_repro.spec.yaml_io import write_yaml

__all__ = ["SETTINGS", "Choices", "Experiment", "Slug", "Source"]

# By measurement, for those that have any.
SETTINGS: dict[str, type[Frozen]] = {
    "surface": SurfaceSettings,
    "path": PathSettings,
    "curvature": CurvatureSettings,
}

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


@dataclass(frozen=True)
class Choices:
    """The command line's changes to an experiment; None leaves a value unchanged."""

    preset: Preset | None = None
    dataset: DatasetName | None = None
    precision: Precision | None = None
    networks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None


@dataclass(frozen=True)
class Source:
    """How a command line names an experiment, and the experiment without further choices."""

    text: str  # a shipped experiment's name, or the path of a file
    fixes_iterations: bool  # so that it goes with no preset but its own
    whole: Experiment = field(compare=False, repr=False)  # it has this source itself


S = TypeVar("S", bound=Frozen)


def _laid_over(of_preset: S | None, own: S | None) -> S | None:
    """A preset's settings, overridden by those of the experiment itself or of `--set`."""
    if of_preset is None or own is None:
        return own or of_preset
    return of_preset.model_copy(update={n: getattr(own, n) for n in own.model_fields_set})


class Experiment(Frozen):
    """A named item of the paper: the runs it needs and what it tabulates, draws and measures."""

    name: Slug
    title: Annotated[Text, Field(min_length=1)]
    reference: Text = ""
    preset: Preset = "paper"
    dataset: DatasetName = "cifar10"
    precision: Precision = "auto"
    recipe: dict[str, Any] = Field({})
    runs: tuple[RunsEntry, ...] = Field((), max_length=200)
    presets: dict[Preset, Selection] = Field({})
    pretraining: Pretraining | None = None
    measure: tuple[MeasurementName, ...] = ()
    surface: SurfaceSettings | None = None
    path: PathSettings | None = None
    curvature: CurvatureSettings | None = None
    ensemble: Ensemble | None = None
    table: AnyTable | None = None
    plot: AnyPlot | None = None

    _source: Source | None = PrivateAttr(None)
    _chosen: tuple[str, ...] = PrivateAttr(())

    @property
    def source(self) -> Source:
        """What it was loaded from; only of loaded experiments."""
        assert self._source is not None, "it was loaded"
        return self._source

    def loaded_from(self, text: str, fixes_iterations: bool) -> Experiment:
        """A copy that remembers its name on the command line, and itself whatever is chosen."""
        copy = self.model_copy()
        copy._source = Source(text, fixes_iterations, copy)
        return copy

    @field_validator("name")
    @classmethod
    def _is_no_benchmark(cls, name: str) -> str:
        if name.partition("-")[0] == "bench":  # bench.csv, bench-loader.csv
            raise ValueError("the CSVs of `resnet-repro bench` are called so; choose another name")
        return name

    @model_validator(mode="after")
    def _shows_what_it_has(self) -> Self:
        for name in SETTINGS:
            if getattr(self, name) is not None and name not in self.measure:
                raise ValueError(f"{name}: is not measured; add it to `measure`")
        table, ensemble = self.table, self.ensemble
        for shown in self._shown:
            if shown in MEASUREMENTS and shown not in (*self.measure, "centre"):
                raise ValueError(f"measure: {shown} is shown, so it has to be measured")
        if isinstance(table, EnsembleTable) and ensemble is None:
            raise ValueError("ensemble: the table shows one, so it has to be named")
        members = ensemble.networks if ensemble else ()
        for network in members:
            if network not in self.networks:
                raise ValueError(f"ensemble.networks: {network} is not among the runs")
            if parse_network(network).family not in MEASUREMENTS["centre"].families:
                raise ValueError(f"ensemble.networks: {network} is not tested on views")
        averaged = [entry for entry in self.runs if set(members) & set(entry.networks)]
        if len(set(map(self.dataset_of, averaged))) > 1:
            raise ValueError("ensemble.networks: are not all trained on one data set")
        return self

    @property
    def _shown(self) -> Iterator[str]:
        """What its table and its figure show: measurements (`centre` needs none) and others."""
        if isinstance(self.table, ViewsTable):
            yield self.table.views
        if isinstance(self.table, DetectionTable):
            yield "average-precision"
        if self.ensemble:
            yield self.ensemble.views
        if self.plot:
            yield self.plot.kind

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that the experiment names, once, in order."""
        return tuple(dict.fromkeys(n for entry in self.runs for n in entry.networks))

    @property
    def chosen_networks(self) -> tuple[str, ...]:
        """Those of its networks that somebody has named; empty where nobody chose."""
        return tuple(network for network in self.networks if network in self._chosen)

    @property
    def possible_presets(self) -> tuple[Preset, ...]:
        """The presets that all of its networks have, by what they spend."""
        known = [presets_of(network) for network in self.networks]
        return tuple(preset for preset in PRESETS if all(preset in own for own in known))

    @property
    def drawn_networks(self) -> tuple[str, ...]:
        """The networks whose curves it draws, whichever of them were chosen."""
        panels = self.plot.panels if self.plot and self.plot.kind == "curves" else ()
        return tuple(dict.fromkeys(n for panel in panels for n in panel.networks))

    @property
    def shown_networks(self) -> tuple[str, ...]:
        """The networks that it trains; if it trains none, those that it draws."""
        return self.networks or self.drawn_networks

    @property
    def heading(self) -> str:
        """`Table 6: ...`, its reference and title."""
        return ": ".join(filter(None, (self.reference, self.title)))

    @property
    def table_heading(self) -> str:
        """`heading` without what further sentences of an item of a paper say of its figure."""
        first = self.title.partition(". ")[0] if self.reference else self.title
        return self.heading.removesuffix(self.title) + first

    def dataset_of(self, entry: RunsEntry) -> str:
        """What an entry of `runs` is trained on."""
        return entry.dataset or self.dataset

    @property
    def datasets(self) -> tuple[str, ...]:
        """What the runs are trained on, each once, in order."""
        return tuple(dict.fromkeys(map(self.dataset_of, self.runs))) or (self.dataset,)

    @property
    def demo_dataset(self) -> str:
        """What the demo preset trains on unless another is named."""
        detectors = any(parse_network(n).backbone for n in self.networks)
        return "scenes" if detectors else "synthetic"

    def dataset_at(self, preset: Preset) -> str | None:
        """What a preset trains on unless a data set is named; None if on that of each entry."""
        return self.demo_dataset if preset == "demo" != self.preset else None

    @property
    def _of_preset(self) -> Selection:
        """What the preset changes; what the experiment itself says goes before it."""
        return self.presets.get(self.preset, Selection())

    @property
    def of_coco(self) -> bool:
        """Whether its table is COCO's (Table 8)."""
        return isinstance(self.table, DetectionTable) and self.table.paper == "table8"

    def settings_of(self, measurement: str) -> Any:
        """The settings of a measurement; None if it has none, or is not measured."""
        if measurement == "average-precision" and self.of_coco:
            return WITH_COCO
        if measurement not in SETTINGS or measurement not in self.measure:
            return None
        of_preset, own = getattr(self._of_preset, measurement), getattr(self, measurement)
        return _laid_over(of_preset, own) or SETTINGS[measurement]()

    @property
    def pretraining_settings(self) -> Pretraining | None:
        """How the networks that detectors start from are trained; None where they are not."""
        return _laid_over(self._of_preset.pretraining, self.pretraining)

    @property
    def ensemble_members(self) -> tuple[Run, ...]:
        """The runs whose scores are averaged; empty without an ensemble."""
        wanted = self.ensemble.networks if self.ensemble else ()
        return tuple(run for run in self.resolve() if run.network in wanted)

    @property
    def measured_runs(self) -> tuple[Run, ...]:
        """The runs whose networks the experiment names; not those that detectors start from."""
        return tuple(run for run in self.resolve() if run.network in self.networks)

    def choose(self, choices: Choices) -> Experiment:
        """The experiment with the command line's choices laid over its own.

        The demo preset goes with generated images (`demo_dataset`) unless a data set is named. Of
        an experiment on several data sets, naming one of them chooses its runs.

        Raises:
            ConfigError: it has no such network, its networks don't go with the data set, one of
                those named has no run on it, or none of the ensemble is chosen.
        """
        chosen = choices.preset or self.preset
        selection = self.presets.get(chosen, Selection())
        wanted = self._named(choices.networks or selection.networks or ())
        seeds = choices.seeds
        if seeds is None and selection.seeds:
            seeds = range(selection.seeds)
        dataset = choices.dataset or self.dataset_at(chosen)
        entries = []
        for entry in self._entries_on(dataset):
            if kept := tuple(n for n in entry.networks if not wanted or n in wanted):
                update = {"networks": kept, "seeds": tuple(seeds) if seeds else entry.seeds}
                own = None if dataset else entry.dataset
                entries.append(entry.model_copy(update=update | {"dataset": own}))
        there = {network for entry in entries for network in entry.networks}
        lacking = [n for n in wanted if n not in there] if choices.networks else []
        if self.runs and (lacking or not entries):
            raise ConfigError(f"{self.name} has no {', '.join(lacking or wanted)} on {dataset}")
        if choices.dataset:
            self._check_dataset(choices.dataset)
        copy = self.model_copy(
            update={
                "preset": chosen,
                "dataset": dataset or self.dataset,
                "precision": choices.precision or self.precision,
                "runs": tuple(entries),
                # Its networks and seeds are chosen now; the rest is laid under what this has.
                "presets": {chosen: selection.model_copy(update={"networks": None, "seeds": None})},
                "ensemble": self._chosen_ensemble(entries),
            }
        )
        if choices.networks:
            copy._chosen = wanted
        return copy

    def also_on(self, dataset: DatasetName) -> Experiment:
        """The experiment with its runs on another data set beside its own, as `on_dataset`."""
        if dataset in self.datasets or not self.runs:
            return self
        there = [
            entry.model_copy(update={"dataset": dataset}) for entry in self.on_dataset(dataset).runs
        ]
        return self.model_copy(update={"runs": (*self.runs, *there)})

    def on_dataset(self, dataset: DatasetName) -> Experiment:
        """The experiment on a data set, with all networks that any preset trains there.

        Raises:
            ConfigError: a data set that its networks don't go with.
        """
        networks = [n for entry in self._entries_on(dataset) for n in entry.networks]
        there = self.choose(Choices(dataset=dataset, networks=networks))
        presets = {}
        for preset, selection in self.presets.items():
            kept = tuple(n for n in selection.networks or () if n in there.networks)
            presets[preset] = selection.model_copy(update={"networks": kept or None})
        there._chosen = self._chosen
        return there.model_copy(update={"presets": presets})

    def _entries_on(self, dataset: str | None) -> tuple[RunsEntry, ...]:
        """The entries of `runs` on a data set; all of them where none is on it."""
        own = tuple(entry for entry in self.runs if self.dataset_of(entry) == dataset)
        return own or self.runs

    def _named(self, networks: Sequence[str]) -> tuple[str, ...]:
        """The stored names of some of the experiment's networks."""
        names = tuple(str(parse_network(network)) for network in networks)
        for name in names:
            if self.runs and name not in self.networks:
                known = nearest(name, list(self.networks))
                raise ConfigError(f"{self.name} has no network {name}: {known}")
        return names

    def _check_dataset(self, dataset: str) -> None:
        """Raise ConfigError if the networks, or what is measured, don't go with a data set."""
        if dataset.startswith("voc:") and self.of_coco:
            raise ConfigError(
                f"{self.name} is about COCO; a folder in VOC's layout goes with table7 and table10"
            )
        for network in self.networks:
            family = parse_network(network).family
            if not dataset_fits(dataset, family):
                raise ConfigError(
                    f"{self.name}: {network} does not go with --dataset {dataset}, "
                    f"but with {', '.join(family_datasets(family))}"
                )

    def _chosen_ensemble(self, entries: Sequence[RunsEntry]) -> Ensemble | None:
        if self.ensemble is None:
            return None
        chosen = {network for entry in entries for network in entry.networks}
        kept = tuple(n for n in self.ensemble.networks if n in chosen)
        if not kept:
            raise ConfigError(
                f"{self.name}: the ensemble needs one of {', '.join(self.ensemble.networks)}"
            )
        return self.ensemble.model_copy(update={"networks": kept})

    def resolved_recipe(self, entry: RunsEntry, network: str) -> Recipe:
        """The preset's recipe for a network with the experiment's and the entry's changes."""
        base = preset_recipe(self.preset, network, self.dataset_of(entry))
        return changed_recipe(base, self._of_preset.recipe, self.recipe, entry.recipe)

    def resolve(self) -> tuple[Run, ...]:
        """The runs, each once, in order; those that detectors start from stand before them.

        Raises:
            pydantic.ValidationError: a recipe is impossible (`load_experiment` has checked that).
        """
        runs: dict[str, Run] = {}
        for entry in self.runs:
            for network in entry.networks:
                for seed in entry.seeds:
                    for run in self.runs_for(entry, network, seed):
                        runs.setdefault(run.id, run)
        return tuple(runs.values())

    def runs_for(self, entry: RunsEntry, network: str, seed: int) -> tuple[Run, ...]:
        """The run of one network; before it the one that a detector starts from, if any.

        Raises:
            pydantic.ValidationError: a recipe is impossible.
        """
        recipe = self.resolved_recipe(entry, network)
        backbone = self.backbone_run(recipe, network, seed)
        if backbone:
            recipe = changed_recipe(recipe, {"detection": {"backbone": {"run": backbone.id}}})
        own = Run(
            network=network,
            dataset=self.dataset_of(entry),
            recipe=recipe,
            seed=seed,
            precision=self.precision,
        )
        return (backbone, own) if backbone else (own,)

    def backbone_run(self, recipe: Recipe, network: str, seed: int) -> Run | None:
        """The run that a detector with this recipe starts from; None if it needs none.

        Raises:
            pydantic.ValidationError: `pretraining` is impossible.
        """
        made = self.pretraining_settings
        if made is None or recipe.detection is None or not recipe.detection.needs_backbone:
            return None
        backbone = parse_network(network).backbone
        base = preset_recipe(made.preset, backbone, made.dataset)
        return Run(
            network=backbone,
            dataset=made.dataset,
            recipe=changed_recipe(base, made.recipe),
            seed=seed,
            precision=self.precision,
        )

    def to_yaml(self) -> str:
        """The fully resolved experiment as YAML that `run` accepts in place of a name."""
        content = self.model_dump(mode="json", exclude={"recipe", "presets", "runs"})
        for name in SETTINGS:
            settings = self.settings_of(name)
            content[name] = settings and settings.model_dump(mode="json")
        made = self.pretraining_settings
        content["pretraining"] = made and made.model_dump(mode="json")
        content = {key: value for key, value in content.items() if value not in (None, [], "")}
        pairs = [(entry, network) for entry in self.runs for network in entry.networks]
        recipes = [self.resolved_recipe(*pair).model_dump(mode="json") for pair in pairs]
        if recipes:
            first, *others = recipes
            common = {k: v for k, v in first.items() if all(o[k] == v for o in others)}
            content |= {"recipe": common, "runs": []}
        for (entry, network), recipe in zip(pairs, recipes, strict=True):
            own = {key: value for key, value in recipe.items() if key not in common}
            run = {"networks": [network], "seeds": list(entry.seeds)}
            run |= {"recipe": own} if own else {}
            run |= {"dataset": entry.dataset} if entry.dataset else {}
            if run not in content["runs"]:  # two entries may be the same on one data set
                content["runs"].append(run)
        return write_yaml(content)
