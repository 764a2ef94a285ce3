"""What is measured on networks: layer responses (Fig. 7), signals and gradients (section 4.1)."""

from resnet_repro.analysis.gradients import LayerGradient, measure_gradients
from resnet_repro.analysis.responses import measure_responses, response_layers

__all__ = [
    "LayerGradient",
    "measure_gradients",
    "measure_responses",
    "response_layers",
]
