"""Groups: runs of the same protocol on the same data, which may share a table cell.

A group is everything that affects a result except the network and the seed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, get_args

from resnet_repro.paper.papers import FAMILIES, PAPER_RECIPES, PAPERS, THE_PAPER, papers_on
from resnet_repro.paper.recipes import differences_in_words, nearest_preset
from resnet_repro.spec.dataset_names import DATASETS, data_title, dataset_slug
from resnet_repro.spec.network_names import Family, parse_network
from resnet_repro.spec.presets import Preset, preset_recipe, presets_of
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import DatasetName, Precision, Run
from resnet_repro.store.models import Summary
from resnet_repro.store.stored_run import StoredRun

__all__ = [
    "BegunRun",
    "Group",
    "group_of",
    "has_begun",
    "slugs",
    "trains_norm",
]

# By how near it is to the paper's protocol. Digests in file names are of these: a preset that came
# later stands between two that were there.
_RANKS: dict[Preset, float] = {"paper": 0, "quarter": 0.5, "short": 1, "demo": 2}


@dataclass(frozen=True)
class Group:
    """A protocol and a data set. Results of different groups never share a table cell.

    Whether a run was asked for in its precision or `auto` chose it makes no difference.
    """

    family: Family
    base: Preset  # the preset that the recipe is closest to
    changes: tuple[str, ...]  # differences from it: "batch_size=64"
    iterations: int
    # Pixels of the network's input (of a detector's, the shorter side); None for 32x32 images.
    side: int | None
    dataset: DatasetName
    official: bool  # whether the data are verified to be the official ones
    sha256: str  # of the data
    precision: str  # as used: fp32 or bf16
    # Images that each batch normalisation saw, if several processes or a micro-batch made them
    # fewer than the batch.
    bn_images: int | None = None
    pretraining: str = ""  # of a detector, what its classification weights come from
    compared: str = ""  # a classification network of other authors, which has its own recipe
    # The checksum's first digits, where a group of other data would otherwise read the same.
    copy: str = field(default="", compare=False)

    @property
    def preset(self) -> str:
        """The preset's name; `custom` if it is changed in another way than by a later paper."""
        return "custom" if self.changes and self._later_paper is None else self.base

    @property
    def _later_paper(self) -> str | None:
        """The later paper whose changes to the preset are this group's, if there is one."""
        known = (name for name, paper in PAPERS.items() if paper.changes == self.changes)
        return next(known, None) if self.changes else None

    @property
    def papers(self) -> tuple[str, ...]:
        """The papers whose whole protocol this is, on their data (official copy or not)."""
        pretrained = self.pretraining in ("", f"{FAMILIES['imagenet'].dataset}-paper")
        if self.base != "paper" or not pretrained or self.compared or self.fewer_in_norm:
            return ()
        here = papers_on(self.family, self.dataset)
        return tuple(name for name in here if self.trained_as_in(name))

    def trained_as_in(self, paper: str) -> bool:
        """Whether this differs from its preset in just what a paper's recipe does."""
        return PAPERS[paper].changes == self.changes

    @property
    def on_paper_data(self) -> bool:
        """Whether the data set is one on which the paper trains this family."""
        return THE_PAPER in papers_on(self.family, self.dataset)

    @property
    def faithful(self) -> bool:
        """Whether this is the paper's protocol on the paper's data set (official copy or not)."""
        return THE_PAPER in self.papers

    @property
    def reduced(self) -> bool:
        """Whether less was spent than the paper did, or other or smaller images were used."""
        smaller = self.side is not None and self.side < FAMILIES[self.family].size
        fewer = self.iterations < self._paper_recipe.iterations
        return fewer or smaller or not papers_on(self.family, self.dataset)

    @property
    def data(self) -> str:
        """The data set as a reader knows it: `CIFAR-10 (unofficial copy)`."""
        return data_title(self.dataset, self.official)

    @property
    def preset_title(self) -> str:
        """`short preset`, or `short preset of He et al. 2016` where that paper's is followed."""
        paper = self._later_paper
        return f"{self.base} preset of {paper}" if paper else f"{self.base} preset"

    @property
    def protocol(self) -> str:
        """The preset with its size: `short preset (6,400 of 64,000 iterations)`."""
        text, departures = self.preset_title, self._own_departures
        if self._later_paper:
            departures = [*PAPERS[self._later_paper].in_words, *departures]
        if self.preset == "custom":
            text += f" changed to {', '.join([*self.changes, *departures])}"
            departures = []
        elif self.preset != "paper":
            length = f"{self.iterations:,} of {self._paper_recipe.iterations:,} iterations"
            departures = [length, *departures]
        if departures:
            text += f" ({', '.join(departures)})"
        if self.bn_images is not None:
            text += f", BN over {self.bn_images} images"
        if self.fewer_in_norm:
            text += f" instead of {FAMILIES[self.family].bn_images}"
        if self.pretraining:
            text += f", from weights of {self.pretraining}"
        elif self.family == "detection":
            text += ", from scratch"
        return text

    @property
    def fewer_in_norm(self) -> bool:
        """Whether batch normalisation saw fewer images than on each of the paper's GPUs."""
        return self.bn_images is not None and self.bn_images < FAMILIES[self.family].bn_images

    @property
    def _own_departures(self) -> list[str]:
        """Smaller inputs, another rate, decay or start, unless they are among the changes."""
        texts = []
        size, sizes = FAMILIES[self.family].size, FAMILIES[self.family].sizes
        changed = {change.partition("=")[0] for change in self.changes}
        if self.side not in (None, size) and not changed & {"image_size", "detection.shorter_side"}:
            texts.append(f"{sizes} of {self.side} instead of {size} pixels")
        preset, paper = self._preset_recipe, self._paper_recipe
        for name, title in (("learning_rate", "rate"), ("weight_decay", "weight decay")):
            ours, theirs = getattr(preset, name), getattr(paper, name)
            if ours != theirs and name not in changed:
                texts.append(f"{title} {ours:g} instead of {theirs:g}")
        if preset.warmup and not paper.warmup and "warmup" not in changed:
            start = f"{preset.warmup.length} iterations at {preset.warmup.learning_rate:g} first"
            texts.append(f"{start} but for ResNet-110 and 1202")  # which have their own
        return texts

    @property
    def caption(self) -> str:
        """Protocol, data and precision in one phrase, marked if they are not the paper's."""
        text = f"{self.protocol}, {self.data}, {self.precision}"
        text += f", data {self.copy}" if self.copy else ""
        if self.papers:
            return text
        return f"{'REDUCED' if self.reduced else 'NOT THE PAPER’S PROTOCOL'}: {text}"

    @property
    def preset_changes(self) -> tuple[str, ...]:
        """All differences between the `preset_title` and the paper's, without other `changes`."""
        later = self.changes if self._later_paper else ()
        changed = {change.partition("=")[0] for change in later}
        own = differences_in_words(self._preset_recipe, self._paper_recipe)
        return *(text for text in own if text.partition("=")[0] not in changed), *later

    @property
    def interval(self) -> int:
        """After how many iterations its preset adds a point to the curve."""
        return self._preset_recipe.evaluate_every

    @property
    def _preset_recipe(self) -> Recipe:
        network = self.compared or FAMILIES[self.family].network
        return preset_recipe(self.base, network, self.dataset)

    @property
    def _paper_recipe(self) -> Recipe:
        """What the paper has on this data set, or else on that of its family."""
        if self.on_paper_data:
            return preset_recipe("paper", FAMILIES[self.family].network, self.dataset)
        return PAPER_RECIPES[self.family]

    @property
    def scale(self) -> Preset:
        """The preset by whose length this counts: its own, if the iterations come to as many.

        With fewer it is the longest preset that they reach, `short` at least: `demo` is another
        protocol, whatever its length.
        """
        network = FAMILIES[self.family].network
        reached = [
            preset
            for preset in presets_of(network)
            if _RANKS[self.base] <= _RANKS[preset] < _RANKS["short"]
            and preset_recipe(preset, network, self.dataset).iterations <= self.iterations
        ]
        return reached[0] if reached else max(self.base, "short", key=_RANKS.__getitem__)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts the most faithful group first.

        Those on the paper's data, then by length, then those without changes.
        """
        length = _RANKS[self.scale], self.preset == "custom" or self.fewer_in_norm
        last = self.pretraining, _RANKS[self.base]  # the former is not in every `_identity`
        return (not self.on_paper_data, *length, *self._identity[2:], *last)

    @property
    def _identity(self) -> tuple[Any, ...]:
        """What `digest` is of."""
        return (
            not self.on_paper_data,
            _RANKS[self.base],
            len(self.changes),
            not self.official,
            self.changes,
            self.precision,
            self.sha256,
            self.family,
            self.dataset,
            self.bn_images or 0,
            *filter(None, (self.pretraining, self.compared)),
        )

    @property
    def digest(self) -> str:
        """Six hex digits that tell this group from similar ones."""
        return hashlib.sha256(repr(self._identity).encode()).hexdigest()[:6]


class BegunRun(StoredRun):
    """A stored run with nothing missing: the type of those for which `has_begun` is true."""

    run: Run
    summary: Summary


def has_begun(stored: StoredRun) -> TypeGuard[BegunRun]:
    """Whether a run's training has begun and its files can be used."""
    return stored.problem is None and stored.run is not None and stored.summary is not None


def group_of(stored: BegunRun) -> Group:
    """The group of a stored run."""
    run = stored.run
    recipe, made = run.recipe, stored.summary.provenance
    name = parse_network(run.network)
    base, changes = nearest_preset(recipe, run.network, run.dataset)
    compared = name.label if name.family == "imagenet" else ""
    fewer = made.bn_images != recipe.batch_size and trains_norm(run)
    return Group(
        family=name.family,
        base=base,
        changes=changes,
        iterations=recipe.iterations,
        side=recipe.side,
        dataset=run.dataset,
        official=made.dataset.get("official") is True,
        sha256=str(made.dataset.get("sha256", "")),
        precision=made.precision,
        bn_images=made.bn_images if fewer else None,
        pretraining=_pretraining(run),
        compared=compared,
    )


def trains_norm(run: Run) -> bool:
    """Whether a run trains batch normalisation: VGG-16 has none, and most detectors' is frozen.

    Of runs that do not, earlier versions recorded nevertheless how many images it sees.
    """
    settings = run.recipe.detection
    frozen = settings is not None and settings.batch_norm == "frozen"
    return not (frozen or parse_network(run.network).compared)


def _pretraining(run: Run) -> str:
    """What a detector's classification weights come from: `imagenette-short`, or a file.

    Of a run it is data set and preset, so that detectors whose networks were trained alike are of
    one group. A recipe that no preset has is told from others by the run's hash, and a preset that
    has changed since from today's.
    """
    backbone = run.recipe.detection.backbone if run.recipe.detection else None
    if backbone is None or backbone.run is None:
        return str(backbone or "")
    kept = re.fullmatch(r"(.+)-([a-z]+)-s(\d+)-([0-9a-f]{8})", backbone.run)
    if kept is None:
        return backbone.run
    network, preset = parse_network(run.network).backbone, kept[2]
    dataset = kept[1].removeprefix(f"{network}-")
    name = f"{dataset}-{preset}"
    if preset == "custom":
        return f"{name}-{kept[4]}"
    if preset not in presets_of(network) or dataset not in DATASETS:
        return name
    today = Run(
        network=network,
        dataset=dataset,
        recipe=preset_recipe(preset, network, dataset),
        seed=int(kept[3]),
    )
    hashes = {today.model_copy(update={"precision": p}).hash for p in get_args(Precision)}
    return name if kept[4] in hashes else f"another {name} than today's"


def slugs(groups: Sequence[Group]) -> dict[Group, str]:
    """A short name for each group, for file names: `short-cifar10`."""
    names: dict[Group, str] = {}
    for group in sorted(set(groups), key=lambda g: g.order):
        name = f"{group.preset}-{dataset_slug(group.dataset)}"
        clashes = group.changes or name in names.values()
        names[group] = f"{name}-{group.digest}" if clashes else name
    return names
