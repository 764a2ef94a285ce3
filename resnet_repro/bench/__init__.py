"""Training speed on this machine, beside a textbook loop and the hardware's limit."""

from resnet_repro.bench.files import LOADER, bench_csv, loader_csv
from resnet_repro.bench.loader import LoaderMeasurement, measure_loader
from resnet_repro.bench.measure import Measurement, measure_network

__all__ = [
    "LOADER",
    "LoaderMeasurement",
    "Measurement",
    "bench_csv",
    "loader_csv",
    "measure_loader",
    "measure_network",
]
