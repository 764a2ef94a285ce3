"""Training runs in other processes: side by side on this machine, with Ray or with Slurm.

`Runner.run_all` trains runs one after another in this process; `training.train_at` gives the same
results elsewhere. Each run is trained by a process of its own (`worker`, or a task of an array job)
and its progress is read from the results folder (`pool.Watcher`). torch, ray and submitit are
imported only when they are needed.
"""
