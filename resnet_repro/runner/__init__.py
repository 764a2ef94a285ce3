"""Trains the runs that experiments need, and measures what is asked of the trained networks."""
