"""What the paper says: its printed numbers and its claims, as data with their places."""

from resnet_repro.paper.claims import (
    BandRule,
    Claim,
    GapRule,
    LimitRule,
    OrderRule,
    Quantity,
    Rule,
    SameRule,
    load_claims,
)
from resnet_repro.paper.facts import CifarResult, Facts, ImageNetResult, PrintedError, load_facts

__all__ = [
    "BandRule",
    "CifarResult",
    "Claim",
    "Facts",
    "GapRule",
    "ImageNetResult",
    "LimitRule",
    "OrderRule",
    "PrintedError",
    "Quantity",
    "Rule",
    "SameRule",
    "load_claims",
    "load_facts",
]
