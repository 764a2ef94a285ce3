"""Training speed on this machine, beside a textbook loop and the hardware's limit; `doctor`."""
