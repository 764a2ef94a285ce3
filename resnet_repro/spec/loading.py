"""Loading experiments from YAML and the command line; errors name the file, line and field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError, nearest, plain
from resnet_repro.base.files import user_path
from resnet_repro.base.records import UNKNOWN_KEY, first_problem
from resnet_repro.spec.dataset_names import lacks_test_images
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.experiment_parts import MOST_SEEDS, Pretraining, RunsEntry, Selection
from resnet_repro.spec.measurements import MEASUREMENTS
from resnet_repro.spec.network_names import Family, network_title, parse_network
from resnet_repro.spec.presets import PRESETS
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import FORMAT, LARGEST_SEED, Run
from resnet_repro.spec.set_option import refuse_chosen, refuse_overruled, with_assignments
from resnet_repro.spec.yaml_io import Document, Location, read_yaml

__all__ = [
    "experiments_folder",
    "load_experiment",
    "parse_seeds",
    "run_of",
    "shipped_experiments",
]

MOST_RUNS = 10_000
YAML_ENDINGS = (".yaml", ".yml")
OWNERS: dict[Family, str] = {
    "cifar": "CIFAR networks",
    "imagenet": "networks on photographs",
    "detection": "detectors",
}
_NETWORK = "network:"  # before a network's name, where an experiment is asked for


def experiments_folder() -> Path:
    """The folder of the shipped experiments: in the package (wheel), or beside it (checkout)."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def shipped_experiments() -> list[str]:
    """The names of the experiments that come with the package, tables first."""
    names = [path.stem for path in experiments_folder().glob("*.yaml")]
    # table2 before table10: numbers as numbers
    return sorted(
        names, key=lambda n: (not n.startswith("table"), n.rstrip("0123456789"), len(n), n)
    )


def load_experiment(
    name: str,
    changes: Iterable[str] = (),
    choices: Choices | None = None,
    *,
    checked: bool = True,
) -> Experiment:
    """Load a shipped experiment by name, a YAML file (an experiment or a run's `config.yaml`) by
    path, or the drawing and costs of a network, `network:resnet-56`.

    `changes` are `--set` assignments such as `recipe.batch_size=64`. Where it is not `checked`,
    its runs are not resolved: an experiment may be possible on another data set only.

    Raises:
        ConfigError: no such experiment, invalid YAML, unknown keys, impossible values.
    """
    known = shipped_experiments()
    try:
        is_folder = user_path(name).is_dir()
        is_file = user_path(name).exists() and not is_folder
    except (OSError, ValueError):  # too long, or not a path at all
        is_folder = is_file = False
    if name.startswith(_NETWORK):
        document = _of_network(name)
    elif name in known:
        document = read_yaml(experiments_folder() / f"{name}.yaml", f"{name}.yaml")
    elif name.endswith(YAML_ENDINGS) or is_file:
        if not is_file:
            raise ConfigError(f"{'a folder' if is_folder else 'no such file'}: {name[:200]}")
        document = read_yaml(user_path(name))
    elif is_folder:
        raise ConfigError(f"a folder, not an experiment or a YAML file: {name[:200]}")
    else:
        raise ConfigError(
            f"unknown experiment {name[:80]!r}: {_file_of(name) or nearest(name, known)}"
        )
    return parse_experiment(document, changes, choices, name, checked=checked)


def _file_of(name: str) -> str:
    """`did you mean lesson.yaml?`, where that file is there; else an empty text."""
    try:
        there = [f"{name}{end}" for end in YAML_ENDINGS if user_path(name + end).is_file()]
    except (OSError, ValueError):  # too long, or not a path at all
        return ""
    return f"did you mean {there[0]}?" if there else ""


def _of_network(name: str) -> Document:
    """`network:resnet-56` as an experiment: its drawing, and the costs of its layers."""
    network = str(parse_network(name.removeprefix(_NETWORK)))
    data = {
        "name": f"network-{network.replace('.', '-')}",
        "title": f"{network_title(network)}, layer by layer",
        "table": {"kind": "layers", "network": network},
        "plot": {"kind": "drawing", "networks": [network], "shows": "costs"},
    }
    return Document(data, name, None)


def parse_experiment(
    document: Document,
    changes: Iterable[str] = (),
    choices: Choices | None = None,
    source: str | None = None,
    *,
    checked: bool = True,
) -> Experiment:
    """Validate a parsed file as an experiment or a run's configuration; see `load_experiment`.

    `source` is its name on the command line.
    """
    data = document.data
    if not isinstance(data, dict):
        raise ConfigError(f"{document.name}: should be a mapping with name, title, runs ...")
    if "run" in data and "runs" not in data:
        data = _experiment_of(run_of(document))
        document = Document(data, document.name, None)
    fixes_iterations = _mentions_iterations(data)
    document = replace(document, changes=tuple(changes))
    data = with_assignments(data, document.changes)
    experiment: Experiment = _validated(Experiment, data, document, ())
    if not document.changes:  # which may leave a preset's networks out
        _check_presets(experiment, document)
    if source is not None:
        experiment = experiment.loaded_from(source, fixes_iterations)
    loaded = experiment
    paths = [change.partition("=")[0].strip() for change in document.changes]
    if choices:
        if choices.preset and choices.preset != experiment.preset and fixes_iterations:
            raise ConfigError(
                f"{document.name} fixes recipe.iterations itself (preset {experiment.preset}); "
                f"remove it there or leave out --preset {choices.preset}"
            )
        refuse_chosen(paths, experiment, choices)
        experiment = experiment.choose(choices)
    refuse_overruled(paths, loaded, experiment, document.name)
    for index, entry in enumerate(experiment.runs if checked else ()):
        _check_runs(experiment, entry, index, document)
    total = sum(len(entry.networks) * len(entry.seeds) for entry in experiment.runs)
    if total > MOST_RUNS:
        raise ConfigError(f"{document.name}: {total:,} runs, more than {MOST_RUNS:,}")
    return experiment


def run_of(document: Document) -> Run:
    """The run that a parsed `config.yaml` describes.

    Raises:
        ConfigError: it is not valid.
    """
    data = document.data if isinstance(document.data, dict) else {}
    run: Run | None = None
    if "run" in data:
        run = _validated(Run, data["run"], document, ("run",))
    if run is None or set(data) != {"run", "format"} or data["format"] != FORMAT:
        raise ConfigError(f"{document.name}: not a run's configuration of format {FORMAT}")
    return run


def _mentions_iterations(data: dict[str, Any]) -> bool:
    """Whether an experiment that is not validated yet sets the number of iterations."""
    entries = data.get("runs")
    holders = [data, *(entries if isinstance(entries, list) else [])]
    recipes = [h.get("recipe") for h in holders if isinstance(h, dict)]
    return any(isinstance(r, dict) and "iterations" in r for r in recipes)


def _experiment_of(run: Run) -> dict[str, Any]:
    """An experiment of one run."""
    shows: dict[str, Any] = {
        "table": {"kind": "errors"},
        "plot": {"kind": "curves", "panels": [{"networks": [run.network]}]},
    }
    if run.recipe.detection:
        paper = "table8" if run.dataset.startswith("coco") else "table7"
        shows = {
            "measure": ["average-precision", "detections"],
            "table": {"kind": "detection", "paper": paper},
            "plot": {"kind": "detections"},
        }
        if lacks_test_images(run.dataset):
            shows = {}
    if run.recipe.photographs:
        shows["table"] = {"kind": "views", "views": "centre"}
        shows["plot"] |= {"error_axis": [20, 60], "train_lines": "thin"}
    return {
        "name": f"run-{run.hash}",
        "title": f"{run.network} on {run.dataset}, seed {run.seed}",
        "preset": run.preset if run.preset in PRESETS else "paper",
        "dataset": run.dataset,
        "precision": run.precision,
        "recipe": run.recipe.model_dump(mode="json"),
        "runs": [{"networks": [run.network], "seeds": [run.seed]}],
        **shows,
    }


def _check_presets(experiment: Experiment, document: Document) -> None:
    """Raise ConfigError for a network that a preset selects and no run has."""
    for preset, selection in experiment.presets.items():
        for network in selection.networks or () if experiment.runs else ():
            if network not in experiment.networks:
                place = ("presets", preset, "networks")
                told = f"{'.'.join(place)}: {network} is not among the runs"
                raise ConfigError(f"{document.place(place)}: {told}")


def _check_runs(experiment: Experiment, entry: RunsEntry, index: int, document: Document) -> None:
    """Validate the runs of one entry of `runs`; errors name the field that is wrong."""
    of_preset = ("presets", experiment.preset)
    selection = experiment.presets.get(experiment.preset, Selection())
    recipes: dict[Location, dict[str, Any]] = {("runs", index): entry.recipe}
    recipes |= {(): experiment.recipe, of_preset: selection.recipe}
    pretrained: dict[Location, Pretraining | None] = {("pretraining",): experiment.pretraining}
    pretrained[*of_preset, "pretraining"] = selection.pretraining
    of_backbones = {place: made.recipe for place, made in pretrained.items() if made}
    for network in entry.networks:
        with _naming(document, recipes):
            recipe = experiment.resolved_recipe(entry, network)
        with _naming(document, of_backbones):
            experiment.backbone_run(recipe, network, 0)
        with _naming(document, recipes):
            experiment.runs_for(entry, network, 0)
        _check_measurements(experiment, network, document)


@contextmanager
def _naming(document: Document, recipes: Mapping[Location, Mapping[str, Any]]) -> Iterator[None]:
    """Turn a run's ValidationError into a ConfigError that names the field.

    `recipes` are by the place that has the field `recipe`, the one that goes before others first. A
    field is looked for in them in order; if none has it, it is the first one's. Of fields that do
    not go together, the first recipe that sets any is named, or the first place if none does.
    """
    try:
        yield
    except ValidationError as error:
        location, _ = first_problem(error)
        first = next(iter(recipes), ())
        if location:
            holder = next((p for p, recipe in recipes.items() if location[0] in recipe), first)
            place = (*holder, "recipe")
        elif document.changes:  # any of them may be the reason
            place = ()
        elif error.title == "Recipe":
            place = next(((*p, "recipe") for p, recipe in recipes.items() if recipe), first)
        else:
            place = first
        raise _config_error(error, document, place) from error


def _check_measurements(experiment: Experiment, network: str, document: Document) -> None:
    """Raise ConfigError for a measurement that does not fit a network's family."""
    name = parse_network(network)
    for index, measurement in enumerate(experiment.measure):
        place = document.place(("measure", index))
        if measurement == "gradients" and name.compared:
            raise ConfigError(f"{place}: measure: gradients is not of {network}")
        if name.family not in MEASUREMENTS[measurement].families:
            families = MEASUREMENTS[measurement].families
            whose = " and ".join(OWNERS[name] for name in families)
            raise ConfigError(f"{place}: measure: {measurement} is of {whose}, not of {network}")


def _validated(model: Any, data: Any, document: Document, prefix: Location) -> Any:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _config_error(error, document, prefix) from error


def _config_error(error: ValidationError, document: Document, prefix: Location) -> ConfigError:
    """The first problem of a validation as one line, with file, line and field."""
    where, message = first_problem(error)
    location = prefix + _without_kinds(where)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    field = ".".join(plain(str(part), 60) for part in location[:12])
    text = f"{field}: {plain(message, 300)}" if field else plain(message, 300)
    hint = _meant(str(location[-1])) if message == UNKNOWN_KEY else ""
    return ConfigError(f"{document.place(location)}: {text}{hint}{more}")


def _meant(key: str) -> str:
    """` (did you mean recipe.learning_rate?)`, if a field is called nearly as an unknown key."""
    import difflib

    paths = {name: name for name in Experiment.model_fields}
    paths |= {name: f"recipe.{name}" for name in Recipe.model_fields}
    close = difflib.get_close_matches(key, paths, n=1, cutoff=0.8)
    return f" (did you mean {paths[close[0]]}?)" if close else ""


def _without_kinds(location: Location) -> Location:
    """A validation's location without the kinds of tables and plots, which pydantic inserts."""
    return tuple(
        part for i, part in enumerate(location) if not i or location[i - 1] not in ("table", "plot")
    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` is seeds 0, 1 and 2; `0,4,7` is those, and `3,` is seed 3 alone.

    Raises:
        ConfigError: neither.
    """
    parts = [part.strip() for part in text.strip().removesuffix(",").split(",")]
    if not all(re.fullmatch("[0-9]{1,11}", part) for part in parts):
        raise ConfigError(f"--seeds {text[:40]!r}: should be a count (3) or a list (0,4,7 or 3,)")
    numbers = tuple(int(part) for part in parts)
    if len(parts) == 1 and "," not in text:
        if not 1 <= numbers[0] <= MOST_SEEDS:
            raise ConfigError(f"--seeds {text}: a count from 1 to {MOST_SEEDS}")
        return tuple(range(numbers[0]))
    if len(set(numbers)) != len(numbers) or max(numbers) > LARGEST_SEED:
        raise ConfigError(f"--seeds {text[:40]}: different numbers up to {LARGEST_SEED}")
    return numbers
