"""Training one run, in one process or several, and all that it takes to continue it exactly."""

from resnet_repro.training.backend import Backend, Resolved
from resnet_repro.training.building import build_for, initial_network
from resnet_repro.training.checkpoint import CheckpointError, pack, unpack
from resnet_repro.training.curve import Point
from resnet_repro.training.device import (
    AutoPrecision,
    auto_precision,
    choose_backend,
    hardware_name,
)
from resnet_repro.training.evaluate import EvaluationStopped, evaluate
from resnet_repro.training.feed import Batch, Feed, check_fits
from resnet_repro.training.feeds import make_feed
from resnet_repro.training.processes import ALONE, Processes, process_group
from resnet_repro.training.subject import Subject
from resnet_repro.training.trainer import DivergenceError, Hooks, Trainer

__all__ = [
    "ALONE",
    "AutoPrecision",
    "Backend",
    "Batch",
    "CheckpointError",
    "DivergenceError",
    "EvaluationStopped",
    "Feed",
    "Hooks",
    "Point",
    "Processes",
    "Resolved",
    "Subject",
    "Trainer",
    "auto_precision",
    "build_for",
    "check_fits",
    "choose_backend",
    "evaluate",
    "hardware_name",
    "initial_network",
    "make_feed",
    "pack",
    "process_group",
    "unpack",
]
