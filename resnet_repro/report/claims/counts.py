"""The counts for claims about costs (`paper/exact.py`), from the networks' outlines."""

from __future__ import annotations

from resnet_repro.networks.outline import Outline, outline

__all__ = ["counts"]


def counts(counted: str, network: str) -> tuple[int, ...]:
    """Something of `COUNTED` in a network: one number, or one for each layer.

    Raises:
        ConfigError: no such network, or a detector.
        ValueError: nothing that is counted.
    """
    whole = outline(network)
    match counted:
        case "parameters":
            return (whole.parameters,)
        case "multiply_adds":
            return (whole.multiply_adds,)
        case "layer_multiply_adds":
            layers = (layer for layer in whole.layers if layer.kernel == 3 and layer.kind == "conv")
            return tuple(each.multiply_adds for each in layers if each.inputs == each.outputs)
        case "block_weights":
            return (_block_weights(whole),)
        case "projections":
            return (sum(bool(shortcut.layers) for shortcut in whole.shortcuts),)
    raise ValueError(f"{counted} is nothing that is counted")


def _block_weights(whole: Outline) -> int:
    """Of the first block that keeps its dimensions, with its projection if it has one."""
    block = next(shortcut for shortcut in whole.shortcuts if not shortcut.resized)
    layers = (*whole.layers[block.first : block.last + 1], *block.layers)
    return sum(layer.weights for layer in layers)
