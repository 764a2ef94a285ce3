"""Where the photographs of a data set are, and in which form they are brought."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.spec.dataset_names import DATASETS, dataset_title

__all__ = ["PhotoSource", "Progress", "refuse_occupied"]

Progress = Callable[[str], None]


class PhotoSource:
    """`folder:NAME`, photographs of the user's own; other data sets override what differs."""

    description = "photographs of your own"
    downloadable = False
    official_counts: tuple[int, int, int] | None = None  # classes, training, validation images

    def __init__(self, name: str, folder: Path | None = None) -> None:
        """`folder` is where the command line says that it is; else it is in the data folder."""
        self.name, self.folder = name, folder

    @property
    def short(self) -> str:
        """Its own folder in the data folder."""
        return self.name.removeprefix("folder:")

    def find(self, data_dir: Path) -> Path | None:
        """The folder with train and val, or None."""
        path = self.folder or data_dir / self.short
        return path if path.is_dir() else None

    def find_packed(self, data_dir: Path) -> Path | None:
        """What in `data_dir` is still to be unpacked."""
        return None

    def missing(self, data_dir: Path) -> DataError:
        """What to raise when there is neither."""
        if self.name not in DATASETS:
            return DataError(
                f"no folder {self.folder or data_dir / self.short}: {self.name} is looked for"
                " there; on the command line `--dataset folder:PATH` says where it is"
            )
        how = f"bring a copy with `resnet-repro data prepare {self.name} --from PATH`"
        if self.downloadable:
            how += f", or download it with `resnet-repro data prepare {self.name} --download`"
        return DataError(
            f"no {dataset_title(self.name)} in {data_dir}: {how}\n"
            "no data at hand? `--dataset synthetic` (or `--preset demo`) needs none"
        )

    def locate(self, copy: Path) -> tuple[Path, bool]:
        """What matters in a copy that was brought: (a folder or an archive, whether to unpack)."""
        return copy, False

    def unpacked(
        self, packed: Path, data_dir: Path, progress: Progress
    ) -> AbstractContextManager[tuple[Path, bool]]:
        """Unpack in `data_dir`: (the folder with train and val, whether it is the official one).

        The folder is removed in the end unless it has been moved away. Raises DataError when it is
        not what it should be.
        """
        raise NotImplementedError

    def download(self, data_dir: Path, size: str, progress: Progress) -> tuple[Path, Path | None]:
        """(The folder in `data_dir`, the archive to make it of unless it is there already)."""
        raise NotImplementedError

    def source(self, root: Path) -> str:
        """`Identity.source` of what is at `root`: says nothing about the machine."""
        return "folder"


def refuse_occupied(target: Path) -> None:
    """Raise DataError where something is already that is not an empty folder."""
    if target.is_symlink() or (
        target.exists() and not (target.is_dir() and not any(target.iterdir()))
    ):
        raise DataError(f"{target} is in the way: move it elsewhere, or prepare without --from")
