"""The rules of claims in words, as they were fixed before there were results."""

from __future__ import annotations

from resnet_repro.paper import (
    BandRule,
    CloseRule,
    GapRule,
    LimitRule,
    OrderRule,
    Quantity,
    Rule,
    SameRule,
)
from resnet_repro.report.quantities import UNITS
from resnet_repro.report.results import network_title

__all__ = ["rule_in_words"]

TITLES: dict[Quantity, str] = {
    "final_test_error": "final test error",
    "final_train_error": "final training error",
    "mean_response": "mean std of the 3x3 layers' responses",
    "weakest_signal": "smallest std of any layer's output, at any moment",
    "gradient_vanishing": "last layer's gradient norm over the smallest, at the worst moment",
    "gradient_spread": "largest gradient norm over the smallest, median while training",
    "initial_gradient_spread": "largest gradient norm over the smallest, at initialisation",
    "ten_crop_error": "top-1 error, 10-crop",
    "multi_scale_error": "top-1 error, multi-scale",
    "early_error": "mean training error in the first quarter of the iterations",
}


def rule_in_words(rule: Rule) -> str:
    """`final test error: plain-20 < plain-56 (single seeds: margin 0.3)`."""
    match rule:
        case OrderRule():
            text = "; ".join(" < ".join(map(network_title, chain)) for chain in rule.chains)
        case GapRule():
            wide, narrow = rule.wider, rule.narrower
            text = f"{_minus(wide)} > {_minus(narrow)}, and at least {rule.margin:g}"
        case LimitRule():
            each = " and ".join(map(network_title, rule.each))
            unit = UNITS.get(rule.quantity, "")
            text = f"{each} {rule.side} {rule.limit:g}{unit}"
        case BandRule():
            text = f"{network_title(rule.network)} within {rule.band:g} of {rule.value:g}"
        case CloseRule():
            text = f"{' and '.join(map(network_title, rule.pair))} within {rule.band:g}"
        case SameRule():
            title = network_title(rule.network)
            changes = ", ".join(rule.changes)
            text = f"{title} with {changes} within {rule.band:g} of {title} without"
    return f"{TITLES[rule.quantity]}: {text} (single seeds: margin {rule.margin:g})"


def _minus(pair: tuple[str, str]) -> str:
    return f"({network_title(pair[1])} minus {network_title(pair[0])})"
