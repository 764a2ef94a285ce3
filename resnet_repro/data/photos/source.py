"""Where a data set's photographs are, and how copies of it are packed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.dataset import Notify
from resnet_repro.spec.dataset_names import DATASETS, dataset_title

__all__ = ["PhotoSource"]


class PhotoSource:
    """`folder:NAME`, a user's own photographs; other data sets override what differs."""

    description = "photographs of your own"
    downloadable = False
    official_counts: tuple[int, int, int] | None = None  # classes, training, validation images

    def __init__(self, name: str, folder: Path | None = None) -> None:
        """`folder` is where the command line says it is; by default it is in the data folder."""
        self.name, self.folder = name, folder

    @property
    def short(self) -> str:
        """The name of its folder in the data folder."""
        return self.name.removeprefix("folder:")

    def find(self, data_dir: Path) -> Path | None:
        """The folder with train and val; None if there is none."""
        path = self.folder or data_dir / self.short
        return path if path.is_dir() else None

    def find_packed(self, data_dir: Path) -> Path | None:
        """An archive, or a folder of archives, in `data_dir` that is still to be unpacked."""
        return None

    def missing(self, data_dir: Path) -> DataError:
        """The error if there is neither a folder nor an archive."""
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
        """(The folder or archive within a user's copy, whether to unpack it)."""
        return copy, False

    def unpacked(
        self, packed: Path, data_dir: Path, progress: Notify
    ) -> AbstractContextManager[tuple[Path, bool]]:
        """Unpack in `data_dir`: (the folder with train and val, whether it is the official one).

        The folder is removed at the end unless it was moved. Raises DataError if the archive is not
        one of this data set.
        """
        raise NotImplementedError

    def download(self, data_dir: Path, size: str, progress: Notify) -> tuple[Path, Path | None]:
        """(The folder in `data_dir`, the downloaded archive; None if the folder exists already)."""
        raise NotImplementedError

    def source(self, root: Path) -> str:
        """`Identity.source` of the folder `root`; without paths of the machine."""
        return "folder"
