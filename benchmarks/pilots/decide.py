"""What the pilots decide by the rules of README.md, from the runs that are finished.

python benchmarks/pilots/decide.py benchmarks/pilots/results

Reads held-out errors (CIFAR-10), running training errors (photographs) and average precision over
held-out training images (detectors), never a test error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from resnet_repro.measure.average_precision import mean_over_classes
from resnet_repro.store.store import Store

EARNED = 0.3  # percentage points by which a first epoch at 0.01 has to be better
EARNED_BY_RATE = 1.0  # points of average precision by which a higher rate has to be better
EARNED_BY_SIZE = 1.0  # the same of another size of images
SIZED_FROM = "resnet-18-a-folder-imagenette-held-out-custom-s0-d7dec93a"  # weights of that pilot
RATED, RATES = "faster-rcnn-plain-18", 4  # the detector of that pilot; rates tried at least
SHORT, LENGTHS = 6_400, (3_000, 6_000)  # iterations, of CIFAR-10 and of photographs


def finished(folder: Path) -> pd.DataFrame:
    """One row a finished run: what varied, and its last measured errors in percent."""
    rows = []
    for stored in Store(folder).all_runs():
        run, summary = stored.run, stored.summary
        if run is None or summary is None or summary.state != "done":
            continue
        rows.append(
            {
                "network": run.network,
                "dataset": run.dataset,
                "start": "0.01 first" if run.recipe.warmup else "as the paper",
                "classifier": run.recipe.classifier_init,
                "iterations": run.recipe.iterations,
                "seed": run.seed,
                "train": summary.final_train_error,
                "held out": summary.final_validation_error  # or all that is tested
                if run.recipe.validation_images
                else summary.final_test_error,
                "rate": run.recipe.learning_rate,
                "detector": run.recipe.detection is not None,
                "side": run.recipe.detection and run.recipe.detection.shorter_side,
                "from": run.recipe.starts_from,
                "precision": mean_over_classes(
                    [row.ap_area for row in stored.rows("average_precision")]
                ),
            }
        )
    if not rows:
        raise SystemExit(f"{folder}: no finished run")
    return pd.DataFrame(rows)


def decide_short(runs: pd.DataFrame) -> str:
    """Whether `short` starts at 0.01 on CIFAR-10."""
    errors = runs.pivot_table(index="seed", columns="network", values="held out").dropna()
    if len(errors) < 2 or len(errors.columns) < 2:
        return "undecided: two seeds of both networks are needed"
    shows = (errors["resnet-56"] < errors["resnet-20"]).all()
    return "0.01 first" if shows else "16,000 iterations are to be tried"


def decide_start(runs: pd.DataFrame) -> str:
    """How a preset of 16,000 iterations starts on CIFAR-10."""
    means = runs.pivot_table(index="start", columns="network", values="held out")
    seeds = runs.groupby(["start", "network"]).size()
    if len(seeds) < 4 or seeds.min() < 2:
        return "undecided: both networks are needed both ways, with two seeds each"
    shows = means["resnet-56"] < means["resnet-20"]
    if not shows.any():
        return "neither shows depth: 16,000 iterations are too few"
    if not shows.all():
        return str(shows.idxmax())
    gain = means.loc["as the paper", "resnet-56"] - means.loc["0.01 first", "resnet-56"]
    return "0.01 first" if gain > EARNED else "as the paper"


def decide_length(runs: pd.DataFrame) -> str:
    """How many iterations the preset trains on photographs."""
    errors = runs.pivot_table(index="network", columns="iterations", values="train")
    if not {"resnet-18-a", "resnet-34-a"} <= set(errors.index):
        return "undecided: both networks are needed"
    for length in LENGTHS:
        if length not in errors or errors[length].isna().any():
            return f"{length:,} iterations are to be tried"
        if errors[length]["resnet-34-a"] < errors[length]["resnet-18-a"]:
            return f"{length:,} iterations"
    return f"at none of these lengths: {LENGTHS[-1]:,} iterations, no verdict on depth"


def decide_rate(detectors: pd.DataFrame) -> str:
    """The learning rate of the preset of detectors."""
    found = detectors.dropna(subset="precision").set_index("rate").precision.sort_index()
    if len(found) < RATES:
        return f"undecided: {RATES} rates are needed"
    enough = found.index[found >= found.max() - EARNED_BY_RATE]
    highest = found.index[-1]
    return f"{2 * highest:g} is to be tried" if enough[0] == highest else f"{enough[0]:g}"


def decide_size(detectors: pd.DataFrame) -> str:
    """The shorter side of the images of the preset of detectors."""
    found = detectors.dropna(subset="precision").set_index("side").precision
    if not {128, 224} <= set(found.index):
        return "undecided: both sizes are needed"
    return "128" if found[128] > found[224] + EARNED_BY_SIZE else "224"


def main(folder: Path) -> None:
    """Print the means and what they decide."""
    every = finished(folder)
    detectors, runs = every[every["detector"]], every[~every["detector"]]
    cifar = runs[runs["dataset"] == "cifar10"]
    photographs = runs[runs["dataset"] != "cifar10"]
    by = ["dataset", "network", "start", "classifier", "iterations"]
    means = runs.groupby(by)[["train", "held out"]].agg(["mean", "std", "count"])
    print(means.round(2).to_string())
    own = cifar[cifar["classifier"] == "he-fan-in"]
    short, longer = own[own["iterations"] == SHORT], own[own["iterations"] != SHORT]
    print("short:", decide_short(short) if len(short) else "no run yet")
    print("start:", decide_start(longer) if len(longer) else "no run yet")
    print("length:", decide_length(photographs) if len(photographs) else "no run yet")
    print(detectors[["network", "rate", "side", "precision"]].sort_values("rate").round(3))
    rated = detectors[detectors["network"] == RATED]
    print("rate of detectors:", decide_rate(rated) if len(rated) else "no run yet")
    sized = detectors[detectors["from"] == SIZED_FROM]
    print("size of detectors' images:", decide_size(sized) if len(sized) else "no run yet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
