"""Experiments and runs: typed, validated, from YAML and back.

An experiment is an item of the paper (one YAML file); it resolves to runs. A run is one training:
network, dataset, recipe, precision and seed. Its id is readable and ends in a short hash of all of
that, so the same run wanted by two experiments is one run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from resnet_repro.errors import ConfigError, nearest
from resnet_repro.names import parse_network
from resnet_repro.recipe import (
    PRESETS,
    Preset,
    Recipe,
    differences,
    merge,
    preset_label,
    preset_recipe,
)
from resnet_repro.yaml_io import Document, parse_yaml, read_yaml, write_yaml

__all__ = [
    "Choices",
    "CostTable",
    "CurvePanel",
    "CurvesPlot",
    "DatasetName",
    "ErrorTable",
    "Experiment",
    "Precision",
    "ResponsesPlot",
    "Run",
    "RunGroup",
    "load_experiment",
    "parse_experiment",
    "parse_seeds",
    "shipped_experiments",
]

DatasetName = Literal["cifar10", "synthetic"]
Precision = Literal["auto", "fp32", "bf16"]
MOST_SEEDS = 1_000
MOST_RUNS = 10_000
LARGEST_SEED = 2**31 - 1
FORMAT = 1  # of config.yaml

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Text = Annotated[str, Field(max_length=500)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _canonical_network(text: str) -> str:
    try:
        return str(parse_network(text))
    except ConfigError as error:
        raise ValueError(str(error)) from error


class Run(_Frozen):
    """One training: everything that decides its outcome."""

    network: str
    dataset: DatasetName
    recipe: Recipe
    seed: Seed
    precision: Precision = "auto"

    _network = field_validator("network")(_canonical_network)

    @model_validator(mode="after")
    def _families_match(self) -> Self:
        name = parse_network(self.network)
        if name.family != "cifar":
            raise ValueError(
                f"network: {self.network} is an ImageNet network, {self.dataset} has 32x32 images"
            )
        return self

    @property
    def preset(self) -> str:
        """`paper`, `short`, `demo`, or `custom` when the recipe is none of these."""
        return preset_label(self.recipe, self.network)

    @property
    def hash(self) -> str:
        """Eight hex digits of the configuration's SHA-256."""
        content: dict[str, Any] = {
            "network": self.network,
            "dataset": self.dataset,
            "seed": self.seed,
            "recipe": differences(self.recipe, Recipe()),
        }
        if self.precision != "auto":
            content["precision"] = self.precision
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def id(self) -> str:
        """`plain-20-cifar10-paper-s0-3f9c2a71`."""
        return f"{self.network}-{self.dataset}-{self.preset}-s{self.seed}-{self.hash}"

    def to_yaml(self) -> str:
        """The contents of `config.yaml`; `resnet-repro run` on it repeats the run."""
        return write_yaml({"format": FORMAT, "run": self.model_dump(mode="json")})


class CurvePanel(_Frozen):
    """One panel of a figure of training curves."""

    title: Text = ""
    networks: tuple[str, ...] = Field(min_length=1, max_length=50)
    curves: tuple[Literal["train", "test"], ...] = ("train", "test")

    @field_validator("networks")
    @classmethod
    def _canonical(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_canonical_network(n) for n in networks)


class CurvesPlot(_Frozen):
    """Errors against iterations (Fig. 1, Fig. 6)."""

    kind: Literal["curves"] = "curves"
    panels: tuple[CurvePanel, ...] = Field(min_length=1, max_length=12)
    error_axis: tuple[float, float] = (0.0, 20.0)


class ResponsesPlot(_Frozen):
    """Standard deviations of layer responses, in order and sorted (Fig. 7)."""

    kind: Literal["responses"] = "responses"


class ErrorTable(_Frozen):
    """Final errors beside the paper's (Table 6); `literature` adds the paper's other rows."""

    kind: Literal["errors"] = "errors"
    literature: bool = False


class CostTable(_Frozen):
    """Parameters and multiply-adds beside the paper's (Table 1); needs no training."""

    kind: Literal["cost"] = "cost"
    networks: tuple[str, ...] = Field(min_length=1, max_length=200)

    @field_validator("networks")
    @classmethod
    def _canonical(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_canonical_network(n) for n in networks)


class RunGroup(_Frozen):
    """Networks that share seeds and changes to the recipe."""

    networks: tuple[str, ...] = Field(min_length=1, max_length=200)
    seeds: tuple[Seed, ...] = (0,)
    recipe: dict[str, Any] = {}

    @field_validator("networks")
    @classmethod
    def _canonical(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_canonical_network(n) for n in networks)

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_list(cls, seeds: Any) -> Any:
        if isinstance(seeds, int) and not isinstance(seeds, bool):
            if not 1 <= seeds <= MOST_SEEDS:
                raise ValueError(f"should be a number from 1 to {MOST_SEEDS}, or a list")
            return tuple(range(seeds))
        return seeds

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(seeds) > MOST_SEEDS or len(set(seeds)) != len(seeds):
            raise ValueError(f"should be 1 to {MOST_SEEDS} different numbers")
        return seeds


class Selection(_Frozen):
    """What a preset trains of an experiment, where that is less than everything."""

    networks: tuple[str, ...] | None = None
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] | None = None


@dataclass(frozen=True)
class Choices:
    """What the command line says about an experiment; None leaves it as it is."""

    preset: Preset | None = None
    dataset: DatasetName | None = None
    precision: Precision | None = None
    networks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None


class Experiment(_Frozen):
    """A named item of the paper: the runs it needs and what it tabulates, draws and measures."""

    name: Slug
    title: Text
    reference: Text = ""
    preset: Preset = "paper"
    dataset: DatasetName = "cifar10"
    precision: Precision = "auto"
    recipe: dict[str, Any] = {}
    runs: tuple[RunGroup, ...] = Field((), max_length=200)
    presets: dict[Preset, Selection] = {}
    measure: tuple[Literal["responses"], ...] = ()
    table: Annotated[ErrorTable | CostTable, Field(discriminator="kind")] | None = None
    plot: Annotated[CurvesPlot | ResponsesPlot, Field(discriminator="kind")] | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that the experiment names, once, in order."""
        return tuple(dict.fromkeys(n for group in self.runs for n in group.networks))

    def choose(self, choices: Choices) -> Experiment:
        """The experiment with the command line's choices laid over its own.

        The demo preset goes with the synthetic data set unless another is named.

        Raises:
            ConfigError: a network that the experiment doesn't have.
        """
        chosen = choices.preset or self.preset
        networks, seeds = choices.networks, choices.seeds
        selection = self.presets.get(chosen, Selection())
        wanted = tuple(networks) if networks else selection.networks
        if seeds is None and selection.seeds:
            seeds = range(selection.seeds)
        if wanted:
            wanted = tuple(str(parse_network(n)) for n in wanted)
            for network in wanted:
                if self.runs and network not in self.networks:
                    raise ConfigError(
                        f"{self.name} has no network {network}: "
                        f"{nearest(network, list(self.networks))}"
                    )
        groups = []
        for group in self.runs:
            kept = tuple(n for n in group.networks if not wanted or n in wanted)
            if kept:
                update = {"networks": kept, "seeds": tuple(seeds) if seeds else group.seeds}
                groups.append(group.model_copy(update=update))
        demo = chosen == "demo" and self.preset != "demo"
        return self.model_copy(
            update={
                "preset": chosen,
                "dataset": choices.dataset or ("synthetic" if demo else self.dataset),
                "precision": choices.precision or self.precision,
                "runs": tuple(groups),
                "presets": {},
            }
        )

    def resolved_recipe(self, group: RunGroup, network: str) -> Recipe:
        """The preset's recipe for a network with the experiment's and the group's changes."""
        base = preset_recipe(self.preset, network).model_dump(mode="json")
        return Recipe.model_validate(merge(merge(base, self.recipe), group.recipe))

    def resolve(self) -> tuple[Run, ...]:
        """The runs, each once, in order.

        Raises:
            pydantic.ValidationError: a recipe is impossible (`load_experiment` has checked that).
        """
        runs: dict[str, Run] = {}
        for group in self.runs:
            for network in group.networks:
                recipe = self.resolved_recipe(group, network)
                for seed in group.seeds:
                    run = Run(
                        network=network,
                        dataset=self.dataset,
                        recipe=recipe,
                        seed=seed,
                        precision=self.precision,
                    )
                    runs.setdefault(run.id, run)
        return tuple(runs.values())

    def to_yaml(self) -> str:
        """The fully resolved experiment as YAML that `run` accepts in place of a name."""
        content = self.model_dump(mode="json", exclude={"recipe", "presets", "runs"})
        content = {key: value for key, value in content.items() if value not in (None, [], "")}
        groups = [
            {
                "networks": [network],
                "seeds": list(group.seeds),
                "recipe": self.resolved_recipe(group, network).model_dump(mode="json"),
            }
            for group in self.runs
            for network in group.networks
        ]
        if groups:
            common = {
                key: value
                for key, value in groups[0]["recipe"].items()  # type: ignore[attr-defined]
                if all(g["recipe"][key] == value for g in groups)  # type: ignore[index]
            }
            for group in groups:
                own = {k: v for k, v in group.pop("recipe").items() if k not in common}  # type: ignore[attr-defined]
                if own:
                    group["recipe"] = own
            content |= {"recipe": common, "runs": groups}
        return write_yaml(content)


def experiments_folder() -> Path:
    """Where the shipped experiments lie: in the package (wheel), or beside it (checkout)."""
    package = Path(__file__).resolve().parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def shipped_experiments() -> list[str]:
    """The names of the experiments that come with the package, tables first."""
    names = [path.stem for path in experiments_folder().glob("*.yaml")]
    return sorted(names, key=lambda n: (not n.startswith("table"), n))


def load_experiment(
    name: str, changes: Iterable[str] = (), choices: Choices | None = None
) -> Experiment:
    """Load a shipped experiment by name, or a user's file (also a run's `config.yaml`) by path.

    `changes` are `--set` assignments such as `recipe.batch_size=64`.

    Raises:
        ConfigError: no such experiment, invalid YAML, unknown keys, impossible values.
    """
    known = shipped_experiments()
    if name in known:
        document = read_yaml(experiments_folder() / f"{name}.yaml")
        document = Document(document.data, f"{name}.yaml", document.node)
    elif name.endswith((".yaml", ".yml")) or Path(name).is_file():
        if not Path(name).is_file():
            raise ConfigError(f"no such file: {name}")
        document = read_yaml(Path(name))
    else:
        raise ConfigError(f"unknown experiment {name[:80]!r}: {nearest(name, known)}")
    return parse_experiment(document, changes, choices or Choices())


def parse_experiment(
    document: Document, changes: Iterable[str] = (), choices: Choices | None = None
) -> Experiment:
    """Validate a parsed file as an experiment, or as one run's configuration; see above."""
    data = document.data
    if not isinstance(data, dict):
        raise ConfigError(f"{document.name}: should be a mapping with name, title, runs ...")
    if "run" in data and "runs" not in data:
        run = _validated(Run, data.get("run"), document, ("run",))
        extra = set(data) - {"run", "format"}
        if extra or data.get("format") != FORMAT:
            raise ConfigError(f"{document.name}: not a run's configuration of format {FORMAT}")
        data = _experiment_of(run)
        document = Document(data, document.name, None)
    fixes_iterations = _mentions_iterations(data)
    for assignment in changes:
        data = _assign(data, assignment)
    experiment: Experiment = _validated(Experiment, data, document, ())
    if choices:
        if choices.preset and choices.preset != experiment.preset and fixes_iterations:
            raise ConfigError(
                f"{document.name} fixes recipe.iterations itself (preset {experiment.preset}); "
                f"remove it there or leave out --preset {choices.preset}"
            )
        experiment = experiment.choose(choices)
    for index, group in enumerate(experiment.runs):
        _check_recipe(experiment, group, index, document)
    total = sum(len(g.networks) * len(g.seeds) for g in experiment.runs)
    if total > MOST_RUNS:
        raise ConfigError(f"{document.name}: {total:,} runs, more than {MOST_RUNS:,}")
    return experiment


def _mentions_iterations(data: dict[str, Any]) -> bool:
    """Whether a (not yet validated) experiment says how many iterations to train."""
    groups = data.get("runs")
    holders = [data, *(groups if isinstance(groups, list) else [])]
    recipes = [h.get("recipe") for h in holders if isinstance(h, dict)]
    return any(isinstance(r, dict) and "iterations" in r for r in recipes)


def _experiment_of(run: Run) -> dict[str, Any]:
    """The experiment that consists of one run."""
    return {
        "name": f"run-{run.hash}",
        "title": f"{run.network} on {run.dataset}, seed {run.seed}",
        "preset": run.preset if run.preset in PRESETS else "paper",
        "dataset": run.dataset,
        "precision": run.precision,
        "recipe": run.recipe.model_dump(mode="json"),
        "runs": [{"networks": [run.network], "seeds": [run.seed]}],
        "table": {"kind": "errors"},
        "plot": {"kind": "curves", "panels": [{"networks": [run.network]}]},
    }


def _check_recipe(experiment: Experiment, group: RunGroup, index: int, document: Document) -> None:
    """Validate one group's recipe, blaming the file's field that carries the mistake."""
    for network in group.networks:
        try:
            recipe = experiment.resolved_recipe(group, network)
            Run(network=network, dataset=experiment.dataset, recipe=recipe, seed=0)
        except ValidationError as error:
            first = error.errors()[0]
            field = first["loc"][0] if first["loc"] else None
            own: tuple[str | int, ...] = ("recipe",)
            if field is None:
                own = ("runs", index)
            elif field in group.recipe:
                own = ("runs", index, "recipe")
            raise _config_error(error, document, own) from error


def _validated(model: Any, data: Any, document: Document, prefix: tuple[str | int, ...]) -> Any:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _config_error(error, document, prefix) from error


def _config_error(
    error: ValidationError, document: Document, prefix: tuple[str | int, ...]
) -> ConfigError:
    """One line for the first problem of a validation, with file, line and field."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    location = prefix + tuple(p for p in first["loc"] if p not in ("errors", "cost", "curves"))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    field = ".".join(str(part)[:60] for part in location)
    where = f"{field}: " if field else ""
    return ConfigError(f"{document.place(location)}: {where}{message}{more}")


def _assign(data: dict[str, Any], assignment: str) -> dict[str, Any]:
    """Apply one `--set path.to.field=value`; the value is YAML."""
    path, sign, text = assignment.partition("=")
    parts = path.strip().split(".")
    if not sign or not all(parts):
        raise ConfigError(f"--set {assignment[:80]}: should look like recipe.batch_size=64")
    value = parse_yaml(text, f"--set {path}").data

    def put(node: Any, rest: list[str]) -> Any:
        if not rest:
            return value
        head, tail = rest[0], rest[1:]
        if isinstance(node, list):
            if not head.isdecimal() or int(head) >= len(node):
                raise ConfigError(f"--set {path}: there is no item {head} (0 to {len(node) - 1})")
            return [put(v, tail) if i == int(head) else v for i, v in enumerate(node)]
        if node is not None and not isinstance(node, dict):
            raise ConfigError(f"--set {path}: {head} is not inside a mapping")
        node = node or {}
        return {**node, head: put(node.get(head), tail)}

    changed: dict[str, Any] = put(data, parts)
    return changed


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` is seeds 0, 1 and 2; `0,4,7` is those.

    Raises:
        ConfigError: neither.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 12 for part in parts):
        raise ConfigError(f"--seeds {text[:40]!r}: should be a count (3) or a list (0,4,7)")
    numbers = tuple(int(part) for part in parts)
    if len(parts) == 1 and "," not in text:
        if not 1 <= numbers[0] <= MOST_SEEDS:
            raise ConfigError(f"--seeds {text}: a count from 1 to {MOST_SEEDS}")
        return tuple(range(numbers[0]))
    if len(set(numbers)) != len(numbers) or max(numbers) > LARGEST_SEED:
        raise ConfigError(f"--seeds {text[:40]}: different numbers up to {LARGEST_SEED}")
    return numbers
