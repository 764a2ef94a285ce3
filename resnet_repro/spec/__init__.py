"""Configuration as validated data: names, recipes, presets, runs, experiments.

An experiment is an item of the paper (one YAML file); it resolves to runs. A run is one training:
network, dataset, recipe, precision and seed. Its id is readable and ends in a short hash of all of
that, so the same run wanted by two experiments is one run.

Each recipe field says whether its default is the paper's (`paper`), is not stated there
(`assumption`) or differs from it (`deviation`), and why. The defaults are the paper's CIFAR-10
protocol and never change: a run's id is derived from the differences from them.
"""
