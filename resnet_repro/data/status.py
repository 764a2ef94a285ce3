"""What can be said about a data set without opening it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DatasetStatus"]


@dataclass(frozen=True)
class DatasetStatus:
    """One line of `data list`."""

    name: str
    description: str
    prepared: bool
    official: bool  # False as long as it is not prepared
    images: int  # training and test together; 0 as long as it is not prepared
    source: str  # where the contents came from; empty as long as it is not prepared
    note: str  # why it is unofficial or unusable, or what would be prepared; may be empty

    @classmethod
    def absent(cls, name: str, description: str, note: str) -> DatasetStatus:
        """Of a data set that is not prepared."""
        return cls(
            name, description, prepared=False, official=False, images=0, source="", note=note
        )
