"""Training speed on this machine, beside a textbook loop and the hardware's limit."""

from resnet_repro.bench.measure import Measurement, bench_csv, measure_network

__all__ = ["Measurement", "bench_csv", "measure_network"]
