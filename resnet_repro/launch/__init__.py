"""Training runs elsewhere than one after another in this process.

`Runner.run_all` trains runs one after another; `launcher.train_at` trains them side by side on this
machine, on a Ray cluster, or as a Slurm array job, with the same results. Each run is trained by a
process of its own (`worker`, or a task of the array job), and the results folder says how far it is
(`watch`). Light to import: torch, ray and submitit are loaded when they are needed.
"""
