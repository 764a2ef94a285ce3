"""Training one run, in one process or several, and all that it takes to continue it exactly."""
