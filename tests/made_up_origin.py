"""What made-up numbers say of where they come from."""

from __future__ import annotations

from resnet_repro.store.models import Origin

ORIGIN = Origin(
    code="0.1.0",
    dirty=False,
    command="resnet-repro run table2",
    device="cpu",
    hardware="a machine",
    precision="fp32",
    threads=2,
    versions={"torch": "2.11.0"},
)
