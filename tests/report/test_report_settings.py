"""A figure is the same picture whatever the user's own matplotlib settings are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STYLE = b"axes.facecolor: red\nlines.linewidth: 9\nfont.size: 40\nsavefig.bbox: tight\n"
MISTAKES = b"backend: nonsense\nno such line\naxes.grid: perhaps\n"
NOT_UTF_8 = b"axes.facecolor: caf\xe9\n"
PROBE = """
import hashlib
from pathlib import Path
from resnet_repro.report.figures.figures import draw
from resnet_repro.report.results import Results
from resnet_repro.spec.loading import load_experiment
from resnet_repro.store.store import Store
picture = next(draw(load_experiment("depth"), Results(Store(Path("nowhere"))))).content
print(hashlib.sha256(picture).hexdigest())
"""


def picture(folder: Path, **settings: str) -> str:
    """The checksum of a figure drawn in a folder by a process with these settings."""
    names = ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR", "PYTHONWARNDEFAULTENCODING")
    known = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=folder,
        env={**known, **settings},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    return picture(tmp_path_factory.mktemp("usual"))


def test_a_backend_that_is_not_there(usual: str, tmp_path: Path) -> None:
    assert picture(tmp_path, MPLBACKEND="module://matplotlib_inline.backend_inline") == usual


def test_own_settings_and_styles(usual: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "stylelib").mkdir(parents=True)
    for folder in (tmp_path, own):
        (folder / "matplotlibrc").write_bytes(STYLE + b"text.usetex: True\n")
    for name, style in (("a", STYLE), ("b", MISTAKES), ("c", NOT_UTF_8)):
        (own / "stylelib" / f"{name}.mplstyle").write_bytes(style)
    assert picture(tmp_path, MPLCONFIGDIR=str(own), MATPLOTLIBRC=str(own)) == usual


def test_no_place_of_its_own(usual: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert picture(tmp_path, MPLCONFIGDIR=str(tmp_path / "file" / "folder")) == usual


def test_a_literal_tilde_makes_no_folder(usual: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert picture(tmp_path, MPLCONFIGDIR="~/settings", HOME=str(home)) == usual
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert (home / "settings").is_dir()
