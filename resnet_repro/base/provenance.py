"""Versions of the code and the libraries behind a result; no names or paths of the machine."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from resnet_repro import __version__

__all__ = ["code_version", "utc_now", "versions"]

# Variable with the commit of a copy without `.git`: 12 or more digits, then `+changed` if modified.
COMMIT = "RESNET_REPRO_COMMIT"
# Variables, as git's hooks have, that lead git to another repository; /dev/null hides the own one.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


def utc_now() -> str:
    """The time in UTC to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.cache  # what this process runs, whatever becomes of the files meanwhile
def code_version() -> tuple[str, bool | None]:
    """(version with commit, whether files differ from the commit; None if unknown).

    The commit is read from git or, where git cannot say, from the variable `COMMIT`.
    """
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists():
        try:
            commit = _git(root, "rev-parse", "--short=12", "HEAD").strip()
            changed = _git(root, "status", "--porcelain", "--", "resnet_repro", "experiments")
        except (OSError, subprocess.SubprocessError):
            pass
        else:
            return f"{__version__}+g{commit}", bool(changed.strip())
    said = re.fullmatch(r"([0-9a-f]{12})[0-9a-f]*(\+changed)?", os.environ.get(COMMIT, ""))
    return (f"{__version__}+g{said[1]}", bool(said[2])) if said else (__version__, None)


def _git(root: Path, *arguments: str) -> str:
    # Git trusts a repository that is named to it; one that it finds has to be this user's own,
    # which a checkout in a container is not.
    named = {"GIT_DIR": str(root / ".git"), "GIT_WORK_TREE": str(root)}
    others = {n: v for n, v in os.environ.items() if n not in _ELSEWHERE or v == os.devnull}
    result = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *arguments],
        env=named | others,
        capture_output=True,
        encoding="utf-8",
        timeout=20,
        check=True,
    )
    return result.stdout


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that affect results."""
    found = {"python": platform.python_version(), "system": platform.system()}
    for package in ("torch", "torchvision", "numpy"):
        module = sys.modules.get(package)
        found[package] = getattr(module, "__version__", None) or metadata.version(package)
    return found
