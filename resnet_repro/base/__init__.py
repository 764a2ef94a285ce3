"""What everything uses: errors, safe files, the stop flag, machine, provenance, durations."""
