"""What fields of a recipe are made of: checked numbers, and where each value comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Count", "FrozenModel", "Real", "field"]

Kind = Literal["paper", "assumption", "deviation"]


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


Count = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


def field(default: Any, kind: Kind, reason: str, **limits: Any) -> Any:
    """A field with its default, whether the paper states that value, and why it is what it is."""
    return Field(default, description=reason, json_schema_extra={"kind": kind}, **limits)


class FrozenModel(BaseModel):
    """Base of the recipe and its parts: nothing can be changed, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
