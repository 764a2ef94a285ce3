"""A YAML file with an experiment that trains in a second."""

from __future__ import annotations


def tiny_experiment(
    dataset: str, iterations: int, every: int, seeds: int | list[int] = 1, measure: str = "[]"
) -> str:
    """A run of ResNet-8 for every seed."""
    return f"""\
name: tiny
title: A tiny experiment
dataset: {dataset}
precision: fp32
recipe: {{iterations: {iterations}, batch_size: 8, milestones: [], evaluate_every: {every}}}
runs:
  - networks: [resnet-8]
    seeds: {seeds}
measure: {measure}
table: {{kind: errors}}
plot: {{kind: curves, panels: [{{networks: [resnet-8]}}]}}
"""
