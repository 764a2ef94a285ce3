"""The test error of a finished run on CIFAR-10, counted without a line of resnet_repro.

    python benchmarks/second_opinion.py results/runs/RUN FOLDER

FOLDER holds CIFAR-10's binary version. For plain-N and resnet-N with option A. In fp32, from the
raw bytes, with section 4.2's network written out once more: what is wrong in the package's own
reading, network or counting would show as another number. A run in bf16 differs by a few images.
Where the loss around the run was measured, or on the line to another one whose checkpoint is in the
same results folder, some points of that are computed once more as well.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

RECORD, BATCH = 3073, 500  # bytes: a label and 3 x 32 x 32 pixels; images at a time
ZIP = b"PK\x03\x04"  # how torch's part of a checkpoint begins, behind a line of its own


def images_and_labels(folder: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(images as N x 3 x 32 x 32 bytes, labels)."""
    parts = [np.fromfile(folder / f"{name}.bin", np.uint8) for name in names]
    records = np.concatenate(parts).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def trained(run: Path) -> dict[str, torch.Tensor]:
    """The tensors of the network in the checkpoint of a run's folder."""
    content = (run / "checkpoint").read_bytes()
    inside = io.BytesIO(content[content.index(ZIP) :])
    weights = weights_in(torch.load(inside, map_location="cpu", weights_only=True))
    assert weights is not None, "no network in this checkpoint"
    return weights


def weights_in(content: Any) -> dict[str, torch.Tensor] | None:
    """The tensors of the network, wherever they lie in a checkpoint's content."""
    if not isinstance(content, dict):
        return None
    if "conv1.weight" in content:
        return content
    found = (weights_in(value) for value in content.values())
    return next((weights for weights in found if weights is not None), None)


def scores(w: dict[str, torch.Tensor], x: torch.Tensor, blocks: int, residual: bool) -> Any:
    """The network of section 4.2: 6n + 2 layers, n blocks a stage."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)

    x = F.relu(norm(F.conv2d(x, w["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = F.conv2d(F.relu(norm(y, f"{name}.bn1")), w[f"{name}.conv2.weight"], padding=1)
            y = norm(y, f"{name}.bn2")
            if residual and stride == 1:
                y = y + x
            elif residual:  # every other pixel, and zeros for the new channels
                y = y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))
            x = F.relu(y)
    return F.linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])


def loss_and_error(
    w: dict[str, torch.Tensor], images: np.ndarray, labels: np.ndarray, network: str
) -> tuple[float, float]:
    """(Mean cross-entropy, error in percent) on images with the mean subtracted."""
    kind, depth = network.split("-")
    with torch.inference_mode():
        parts = torch.from_numpy(images).split(BATCH)
        found = torch.cat([scores(w, x, (int(depth) - 2) // 6, kind == "resnet") for x in parts])
    targets = torch.from_numpy(labels.astype(np.int64))
    wrong = (found.argmax(1) != targets).double().mean().item()
    return F.cross_entropy(found, targets).item(), 100 * wrong


def balanced(labels: np.ndarray, count: int) -> np.ndarray:
    """The training images of a grid: as many of each class, drawn with seed 0, in order."""
    generator, turn = torch.Generator().manual_seed(0), np.empty(len(labels), np.int64)
    for label in range(10):
        (members,) = np.nonzero(labels == label)
        turn[members] = torch.randperm(len(members), generator=generator).numpy()
    return np.sort(np.argsort(turn * 10 + labels)[:count])


def direction(w: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A random direction, each filter of which has the norm of the network's (Li et al. 2018)."""
    steps = {}
    for name, weight in w.items():
        if weight.dim() > 1:
            drawn = torch.randn(weight.shape, generator=generator)
            norm, own = (t.flatten(1).norm(dim=1) for t in (drawn, weight.float()))
            steps[name] = drawn * (own / norm).view(-1, *[1] * (weight.dim() - 1))
    return steps


def stream_of(row: dict[str, str]) -> torch.Generator:
    """What the directions of a point are drawn from; earlier files name no stream."""
    seed = int(row["directions"])
    if stream := row.get("stream"):
        digest = hashlib.sha256(f"{stream}/{seed}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


def compare_surface(
    rows: list[dict[str, str]], w: dict[str, torch.Tensor], train: tuple[Any, Any, Any], name: str
) -> None:
    """Print points of a grid beside those computed here; `train` is images, labels and mean."""
    seed, count = rows[0]["directions"], int(rows[0]["images"])
    x, labels = sample_of(train, count)
    generator = stream_of(rows[0])
    first, second = direction(w, generator), direction(w, generator)
    grid = [row for row in rows if row["directions"] == seed and int(row["images"]) == count]
    chosen = {id(row): row for row in (grid[len(grid) // 2], *grid[:: -(-len(grid) // 8)])}
    for row in chosen.values():
        a, b = float(row["alpha"]), float(row["beta"])
        moved = {k: v + a * first[k] + b * second[k] if k in first else v for k, v in w.items()}
        print_point(f"({a:+.2f}, {b:+.2f})", loss_and_error(moved, x, labels, name), row)


def compare_path(
    rows: list[dict[str, str]],
    ends: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]],
    train: tuple[Any, Any, Any],
    name: str,
) -> None:
    """Print points of the line between two runs' weights, BN's statistics among them."""
    x, labels = sample_of(train, int(rows[0]["images"]))
    for row in rows[:: -(-len(rows) // 9)]:
        t, moved = float(row["position"]), {}
        for key, value in ends[0].items():
            between = (1 - t) * value + t * ends[1][key]
            moved[key] = between.clamp(min=0) if key.endswith("running_var") else between
        print_point(f"at {t:+.2f}", loss_and_error(moved, x, labels, name), row)


def sample_of(train: tuple[Any, Any, Any], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(so many training images with the mean subtracted, their labels)."""
    images, labels, mean = train
    which = balanced(labels, count)
    return (images[which] - mean).astype(np.float32), labels[which]


def print_point(where: str, here: tuple[float, float], row: dict[str, str]) -> None:
    """Print loss and error as computed here beside those of a row of a CSV."""
    own = f"{float(row['loss']):.4g} and {float(row['error']):.2f}% by resnet-repro"
    print(f"{where}: loss {here[0]:.4g} and error {here[1]:.2f}% here, {own}")


def main() -> None:
    """Print the error, and points of the loss around the weights, beside the run's own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a finished run's folder, with its checkpoint")
    parser.add_argument("folder", type=Path, help="cifar-10-batches-bin")
    given = parser.parse_args()
    summary = json.loads((given.run / "summary.json").read_text(encoding="utf-8"))
    name = summary["network"]
    weights = trained(given.run)
    train, of_train = images_and_labels(given.folder, [f"data_batch_{n}" for n in range(1, 6)])
    test, labels = images_and_labels(given.folder, ["test_batch"])
    mean = train.mean(axis=0, dtype=np.float64)
    _, error = loss_and_error(weights, (test - mean).astype(np.float32), labels, name)
    print(f"{name}: {error:.2f}% here, {summary['final_test_error']}% by resnet-repro")
    known = train, of_train, mean
    if rows := rows_of(given.run / "surface.csv"):
        compare_surface(rows, weights, known, name)
    if rows := rows_of(given.run / "path.csv"):
        compare_path(rows, (weights, trained(given.run.parent / rows[0]["to"])), known, name)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; none where it is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
