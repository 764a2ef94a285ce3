"""Trains the runs of experiments and makes the measurements on the trained networks."""
