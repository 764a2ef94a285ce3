"""Training the runs of an experiment elsewhere than one after another in this process.

`Runner.run_all` trains runs one after another; every launcher here has the same method and gives
the same results: side by side in worker processes of this machine, on a Ray cluster, or as a Slurm
array job. Light to import: torch, ray and submitit are loaded when a launcher is made.
"""
