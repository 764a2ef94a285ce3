"""Asking git about this checkout, which need not be one, nor belong to this user."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def git(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What `git WORDS` answers; skips the test where there is no git, or no repository."""
    command = ["git", "-c", "safe.directory=*", *words]
    try:
        answer = subprocess.run(command, cwd=repository, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if answer.returncode == 128:
        pytest.skip("not a git checkout")
    return answer
