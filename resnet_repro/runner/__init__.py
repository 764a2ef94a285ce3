"""Trains the runs that experiments need, and measures what is asked of the trained networks."""

from resnet_repro.runner.following import follow
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.runner.runner import Runner

__all__ = ["Options", "Outcome", "Progress", "Runner", "follow"]
