"""`python -m resnet_repro`."""

from resnet_repro.cli import main

main()
