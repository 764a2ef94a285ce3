"""The base of all validated data: configuration, facts, stored results."""

from __future__ import annotations

from collections.abc import Container

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

__all__ = ["UNKNOWN_KEY", "Frozen", "first_problem", "member_of"]


UNKNOWN_KEY = "unknown key"
_PLAINLY = {  # what pydantic says in Python's words
    "extra_forbidden": UNKNOWN_KEY,
    "tuple_type": "should be a list, as in [1, 2]",
    "list_type": "should be a list, as in [1, 2]",
    "dict_type": "should be a mapping (key: value)",
    "model_type": "should be a mapping (key: value)",
    "model_attributes_type": "should be a mapping (key: value)",
    "invalid_key": "keys should be text",
}


class Frozen(BaseModel):
    """An immutable record; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        defer_build=True,  # until one is validated: no command uses all of them
    )


def member_of(known: Container[str], problem: str) -> AfterValidator:
    """A validator of names that stand in a table; `problem` says what another one, `{}`, is."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(problem.format(name))
        return name

    return AfterValidator(check)


def first_problem(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """(where, what) of the first problem of a validation."""
    first = error.errors(include_url=False, include_input=False)[0]
    message = _PLAINLY.get(first["type"], first["msg"])
    return first["loc"], message.removeprefix("Value error, ")
