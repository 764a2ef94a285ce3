"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from resnet_repro.base.errors import ConfigError, plain

__all__ = ["user_folder", "user_path"]


def user_path(text: str | Path) -> Path:
    """A path with a leading `~` or `~USER` replaced by the home folder.

    Raises:
        ConfigError: there is no such user, or no home folder is known.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{plain(str(text), 200)}: what ~ stands for is not known here; write the whole path"
        ) from error


def user_folder(text: str | Path) -> Path:
    """`user_path` for a folder, which need not exist yet.

    Raises:
        ConfigError: as `user_path`, or the path is not a folder.
    """
    path = user_path(text)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{plain(str(path), 200)} is a file, where a folder is needed")
    if path.is_symlink() and not path.exists():
        raise ConfigError(f"{plain(str(path), 200)} is a link that leads nowhere")
    return path
