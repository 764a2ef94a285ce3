"""The rules of claims in words, as they were fixed before there were results."""

from __future__ import annotations

from resnet_repro.paper.claims import (
    BandRule,
    CloseRule,
    CostRule,
    EnsembleRule,
    GapRule,
    LimitRule,
    OrderRule,
    Quantity,
    Rule,
    SameRule,
    ThroughoutRule,
    TrendRule,
)
from resnet_repro.report.claims.quantities import UNITS
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
    "signal_vanishing": (
        "last layer's output-gradient norm over the smallest, at the worst moment"
    ),
    "signal_spread": "largest output-gradient norm over the smallest, median while training",
    "initial_signal_spread": "largest output-gradient norm over the smallest, at initialisation",
    "ten_crop_error": "top-1 error, 10-crop",
    "multi_scale_error": "top-1 error, multi-scale",
    "early_error": "mean training error in the first quarter of the iterations",
    "epochs_to_start": "epochs until the training error is below 90%",
    "train_error_along": "training error along the way, seed by seed",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "ensemble_top5_error": "top-5 error of the ensemble",
}


def rule_in_words(rule: Rule) -> str:
    """`final test error: plain-20 < plain-56 (margin 0.3)`."""
    match rule:
        case OrderRule():
            text = "; ".join(" < ".join(map(network_title, chain)) for chain in rule.chains)
            if rule.at_least is not None:
                text += f", by at least {rule.at_least:g}"
            if rule.at_most is not None:
                text += f", each step at most {rule.at_most:g}"
        case TrendRule():
            text = f"rises along {', '.join(map(network_title, rule.chain))}, as a linear trend"
        case ThroughoutRule():
            low, high = map(network_title, rule.pair)
            text = (
                f"{high} above {low} at {rule.share:g} percent of the curve's points or more, "
                "the first 5 percent of the iterations left out"
            )
        case CostRule():
            others = ", ".join(f"{name} ({count:g})" for name, count in rule.below.items())
            return f"{TITLES[rule.quantity]}: {network_title(rule.network)} below {others}"
        case EnsembleRule():
            text = f"within {rule.band:g} of {rule.value:g}"
        case GapRule():
            wide, narrow = rule.wider, rule.narrower
            text = f"{_minus(wide)} > {_minus(narrow)}, and more than {rule.margin:g}"
        case LimitRule():
            each = " and ".join(map(network_title, rule.each))
            unit = UNITS.get(rule.quantity, "")
            text = f"{each} {rule.side} {rule.limit:g}{unit}"
            if rule.changes:
                text += f" with {', '.join(rule.changes)}"
        case BandRule():
            text = f"{network_title(rule.network)} within {rule.band:g} of {rule.value:g}"
        case CloseRule():
            text = f"{' and '.join(map(network_title, rule.pair))} within {rule.band:g}"
            if rule.value:
                text = f"{_minus(rule.pair)} within {rule.band:g} of {rule.value:g}"
        case SameRule():
            title = network_title(rule.network)
            changes = ", ".join(rule.changes)
            text = f"{title} with {changes} within {rule.band:g} of {title} without"
    return f"{TITLES[rule.quantity]}: {text} (margin {rule.margin:g})"


def _minus(pair: tuple[str, str]) -> str:
    return f"({network_title(pair[1])} minus {network_title(pair[0])})"
