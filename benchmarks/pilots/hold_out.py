"""A folder of training photographs alone: every fifth of each class becomes the validation part.

python benchmarks/pilots/hold_out.py IMAGENETTE TARGET

Photographs are taken in the order of their names, so that everybody gets the same two parts, and
are linked, not copied, where the file system allows it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

EVERY = 5


def main(source: Path, target: Path) -> None:
    """Make `target/train` and `target/val` of `source/train`."""
    for folder in sorted((source / "train").iterdir()):
        for number, photo in enumerate(sorted(folder.iterdir())):
            part = "val" if number % EVERY == EVERY - 1 else "train"
            copy = target / part / folder.name / photo.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(photo, copy)
            except OSError:
                shutil.copyfile(photo, copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
