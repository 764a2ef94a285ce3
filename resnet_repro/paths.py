"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from resnet_repro.errors import ConfigError, plain

__all__ = ["user_path"]


def user_path(text: str | Path) -> Path:
    """A path whose leading `~` or `~USER` is the home folder, also where no shell has seen it.

    Raises:
        ConfigError: there is no such user, or no home folder is known.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{plain(str(text), 200)}: what ~ stands for is not known here; write the whole path"
        ) from error
