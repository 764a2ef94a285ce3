"""What a training comes to, for comparing two of them bit for bit."""

from __future__ import annotations

import csv
import json
from typing import Any

from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training.checkpoint import unpack


def outcome(folder: RunFolder) -> dict[str, Any]:
    """Everything of a training that must not depend on where and in how many sessions it was."""
    with folder.curve.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    state = unpack(folder.checkpoint.read_bytes())
    tensors = {**state["network"], **{f"momentum {i}": m for i, m in enumerate(state["momentum"])}}
    weights = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    kept = ("state", "iteration", "final_train_loss", "final_test_error", "best_test_iteration")
    return {"curve": rows, "weights": weights} | {key: summary[key] for key in kept}
