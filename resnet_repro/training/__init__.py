"""Training one run on one device, and everything needed to stop and continue it exactly."""

from resnet_repro.training.checkpoint import CheckpointError, pack, unpack
from resnet_repro.training.device import Backend, choose_backend, hardware_name
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.trainer import (
    DivergenceError,
    Hooks,
    Point,
    Trainer,
    build_for,
    check_fits,
)

__all__ = [
    "Backend",
    "CheckpointError",
    "DivergenceError",
    "Hooks",
    "Point",
    "Trainer",
    "build_for",
    "check_fits",
    "choose_backend",
    "evaluate",
    "hardware_name",
    "pack",
    "unpack",
]
