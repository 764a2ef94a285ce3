"""What the command `resnet-repro` starts, and `python -m resnet_repro`."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line; a Ctrl-C while it is imported ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from resnet_repro import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    main()
