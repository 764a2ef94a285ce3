"""What the paper says: its printed numbers and its claims, as data with their places."""

from resnet_repro.paper.claims import (
    MEASURED_BY,
    BandRule,
    Claim,
    CloseRule,
    GapRule,
    LimitRule,
    OrderRule,
    Quantity,
    Rule,
    SameRule,
    load_claims,
)
from resnet_repro.paper.facts import CifarResult, Facts, ImageNetResult, PrintedError, load_facts
from resnet_repro.paper.others import ReportedError, Reproduction, load_others, reported_range

__all__ = [
    "MEASURED_BY",
    "BandRule",
    "CifarResult",
    "Claim",
    "CloseRule",
    "Facts",
    "GapRule",
    "ImageNetResult",
    "LimitRule",
    "OrderRule",
    "PrintedError",
    "Quantity",
    "ReportedError",
    "Reproduction",
    "Rule",
    "SameRule",
    "load_claims",
    "load_facts",
    "load_others",
    "reported_range",
]
