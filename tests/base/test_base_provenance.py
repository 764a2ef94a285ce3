"""Which commit made a number: what a copy without `.git` is told, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from git_checkout import git

import resnet_repro

ASKED = "from resnet_repro.base.provenance import code_version; print(*code_version())"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's lowest floor in a folder that no repository is around."""
    package = Path(resnet_repro.__file__).parent
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(package / "base", folder / package.name / "base")
    shutil.copyfile(package / "__init__.py", folder / package.name / "__init__.py")
    return folder


@pytest.mark.parametrize(
    ("commit", "version"),
    [
        (None, "0.1.0 None"),
        ("0123456789ab", "0.1.0+g0123456789ab False"),
        ("0123456789abcdef0123456789abcdef01234567", "0.1.0+g0123456789ab False"),
        ("0123456789ab+changed", "0.1.0+g0123456789ab True"),
        ("/home/somebody/resnet", "0.1.0 None"),
        ("0123", "0.1.0 None"),
    ],
)
def test_a_copy_without_git_is_told_its_commit(
    copy: Path, commit: str | None, version: str
) -> None:
    environment = dict(os.environ, PYTHONPATH=str(copy))
    environment |= {"RESNET_REPRO_COMMIT": commit} if commit is not None else {}
    answer = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=copy, env=environment,
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == version.replace("0.1.0", resnet_repro.__version__)


def test_a_checkout_of_another_users_has_a_commit(copy: Path, tmp_path: Path) -> None:
    """As in a container, where git distrusts what is mounted."""
    shutil.copytree(copy, tmp_path / "code")
    somebody = ["-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "resnet_repro"], [*somebody, "commit", "-qm", "all"]):
        assert git(tmp_path / "code", *words).returncode == 0
    told = {"PYTHONPATH": str(tmp_path / "code"), "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=tmp_path, env=os.environ | told,
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert "+g" in answer.stdout


def test_a_process_is_of_the_commit_that_it_began_with(copy: Path) -> None:
    told = {"PYTHONPATH": str(copy), "RESNET_REPRO_COMMIT": "0123456789ab"}
    later = f"{ASKED}; import os; os.environ.clear(); print(*code_version())"
    answer = subprocess.run(
        [sys.executable, "-c", later], cwd=copy, env=os.environ | told,
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    first, second = answer.stdout.splitlines()
    assert second == first
    assert "+g0123456789ab" in first


def test_the_git_of_another_commit_is_not_asked_where_it_is_hidden(copy: Path) -> None:
    (copy / ".git").mkdir(exist_ok=True)
    told = {"PYTHONPATH": str(copy), "RESNET_REPRO_COMMIT": "0123456789ab", "GIT_DIR": os.devnull}
    answer = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=copy, env=os.environ | told,
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert "+g0123456789ab False" in answer.stdout


def test_another_repository_that_git_is_led_to_is_not_the_codes(copy: Path, tmp_path: Path) -> None:
    """As in a hook of another repository's, whose variables its processes have."""
    code, other = tmp_path / "code", tmp_path / "other"
    shutil.copytree(copy, code, ignore=shutil.ignore_patterns(".git"))
    for repository in (code, other):
        repository.mkdir(exist_ok=True)
        (repository / "own").write_text(repository.name, encoding="utf-8")
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "all")):
            git(repository, "-c", "user.name=n", "-c", "user.email=n@example.org", *words)
    commit = git(code, "rev-parse", "--short=12", "HEAD").stdout.strip()
    led = {"GIT_DIR": other / ".git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / "index"}
    answer = subprocess.run(
        [sys.executable, "-c", ASKED], cwd=code,
        env=os.environ | {"PYTHONPATH": str(code)} | {n: str(path) for n, path in led.items()},
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert answer.stdout.strip().endswith(f"+g{commit} False")
