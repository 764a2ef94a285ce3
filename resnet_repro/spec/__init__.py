"""What is to be done, as typed, validated data: names, recipes, presets, runs, experiments.

An experiment is an item of the paper (one YAML file); it resolves to runs. A run is one training:
network, dataset, recipe, precision and seed. Its id is readable and ends in a short hash of all of
that, so the same run wanted by two experiments is one run.

Each recipe field says whether the paper states its value (`paper`), leaves it open (`assumption`)
or has it otherwise (`deviation`), and why we chose ours. The defaults are the paper's CIFAR-10
protocol and never change: a run's id is derived from what differs from them.
"""
