"""What is measured on trained networks."""

from resnet_repro.analysis.responses import measure_responses, response_layers

__all__ = ["measure_responses", "response_layers"]
