"""What the command `resnet-repro` starts, and `python -m resnet_repro`."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line; a Ctrl-C while it is imported ends the process without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # not where the parent has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from resnet_repro import cli

    signal.signal(signal.SIGINT, handler)
    cli.main()


if __name__ == "__main__":
    main()
