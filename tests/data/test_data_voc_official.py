"""VOC's official lists: archives that are brought or fetched, joined, checked and refused."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest
from made_up_boxes import Object, write_image, write_voc
from packing import pack
from torchvision.datasets import voc

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data import datasets
from resnet_repro.data.archives import Archive
from resnet_repro.data.boxes import voc_sources
from resnet_repro.data.boxes.boxes import BoxDataset

CAT: Object = ("cat", (1, 1, 40, 30), 0)
BUS: Object = ("bus", (3, 3, 20, 20), 1)


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """A small VOCdevkit with both years."""
    root = tmp_path / "brought" / "VOCdevkit"
    write_voc(root / "VOC2007", {"trainval": {"000005": [CAT, BUS]}, "test": {"000001": [BUS]}})
    write_voc(
        root / "VOC2012",
        {
            "train": {"2008_1": [CAT]},
            "val": {"2008_2": [CAT]},
            "trainval": {"2008_1": [CAT], "2008_2": [CAT]},
        },
    )
    return root


@pytest.fixture
def served(devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three official archives, served from a folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    known: dict[str, list[Archive]] = {"VOC2007": [], "VOC2012": []}
    for key, year, files in (
        ("2007", "VOC2007", ("000005", "trainval")),
        ("2007-test", "VOC2007", ("000001", "test")),
        ("2012", "VOC2012", ("2008", "train", "val", "trainval")),
    ):
        path = folder / f"{key}.tar"
        with tarfile.open(path, "w") as tar:
            for file in sorted((devkit / year).rglob("*")):
                listed = file.stem in files or file.suffix != ".txt"
                if file.is_file() and listed and file.stem.startswith(files):
                    tar.add(file, f"VOCdevkit/{file.relative_to(devkit)}")
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        known[year].append(Archive(path.as_uri(), md5))
    monkeypatch.setattr(voc_sources, "_ARCHIVES", known)
    return folder


def prepare(
    name: str, data: Path, source: Path | None = None, download: bool = False
) -> BoxDataset:
    prepared = datasets.prepare(name, data, source, download=download)
    assert isinstance(prepared, BoxDataset)
    assert datasets.load(name, data).identity == prepared.identity
    return prepared


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("voc07", ["000005"], ["000001"]),
        ("voc07+12", ["000005", "2008_1", "2008_2"], ["000001"]),
        ("voc07++12", ["000005", "000001", "2008_1", "2008_2"], []),
        ("voc12", ["2008_1"], ["2008_2"]),
    ],
)
def test_lists_are_those_of_the_paper(
    name: str, train: list[str], test: list[str], devkit: Path, tmp_path: Path
) -> None:
    """A folder with the kit, or the kit itself, is linked to."""
    for number, source in enumerate((devkit, devkit.parent)):
        dataset = prepare(name, tmp_path / f"data{number}", source)
        assert (list(dataset.train.ids), list(dataset.test.ids)) == (train, test)
        assert len(dataset.classes) == 20
        assert not dataset.identity.official
        assert "unofficial copy" in dataset.identity.note
        assert "the official one has" in dataset.identity.note
        assert (tmp_path / f"data{number}" / "VOCdevkit").resolve() == devkit
    if not test:
        with pytest.raises(DataError, match=r"voc07\+\+12 has nothing to test on here: no boxes"):
            dataset.need_images("test", "no boxes")
        assert "evaluation server" in dataset.identity.note


def test_the_official_archives_are_those_that_torchvision_lists() -> None:
    """It does not say that it will go on listing them, so they are written down here as well."""
    listed = getattr(voc, "DATASET_YEAR_DICT", None)
    if listed is None:
        pytest.skip("this torchvision has them elsewhere")
    theirs = [
        # Releases for torch 2.11 have the server's earlier name.
        (
            listed[key]["url"].replace("http://host.robots", "https://thor.robots"),
            listed[key]["md5"],
        )
        for key in ("2007", "2007-test", "2012")
    ]
    assert [tuple(a) for archives in voc_sources._ARCHIVES.values() for a in archives] == theirs


def test_the_official_archives_are_fetched_and_joined(served: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    dataset = prepare("voc07+12", data, download=True)
    assert dataset.identity.official
    assert dataset.identity.note == ""
    assert len(dataset.train) == 3
    assert dataset.train.target(0).labels.tolist() == [8, 6]  # cat and bus, of VOC's twenty
    assert {path.name for path in (data / "VOCdevkit").iterdir()} == {"VOC2007", "VOC2012"}
    assert {path.name for path in data.iterdir() if path.name.startswith(".")} == {".boxes"}
    assert datasets.verify("voc07+12", data).identity == dataset.identity
    again = prepare("voc07+12", data, download=True)  # nothing to fetch
    assert again.identity == dataset.identity


def test_half_of_a_year_does_not_count_as_the_year(served: Path, tmp_path: Path) -> None:
    """The archive for training alone, unpacked by hand."""
    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(served / "2007.tar") as tar:
        tar.extractall(data, filter="data")
    with pytest.raises(DataError, match=r"no VOC2007 test in .*VOCdevkit: bring a copy"):
        datasets.load("voc07", data)
    with pytest.raises(DataError, match="in the way: without VOC2007 test it is not whole; move"):
        datasets.prepare("voc07", data, download=True)
    assert [path.name for path in data.iterdir()] == ["VOCdevkit"], "nothing was fetched"


@pytest.mark.parametrize("damage", ["none", "changed", "longer", "gone", "archive gone"])
def test_a_year_is_added_to_one_that_is_there(served: Path, tmp_path: Path, damage: str) -> None:
    """Together they are official if the first still is what its archives unpack to."""
    data = tmp_path / "data"
    assert prepare("voc07", data, download=True).identity.official
    assert not (data / "VOCdevkit" / "VOC2012").exists()
    image = data / "VOCdevkit" / "VOC2007" / "JPEGImages" / "000001.jpg"
    if damage == "changed":
        write_image(image, 40, 30, seed=9)
    elif damage == "longer":
        image.write_bytes(image.read_bytes() + b"x")
    elif damage == "gone":
        (data / "VOCdevkit" / "VOC2007" / "Annotations" / "000005.xml").unlink()
        with pytest.raises(DataError, match=r"Annotations/000005\.xml is missing"):
            prepare("voc07+12", data, download=True)
        return
    elif damage == "archive gone":
        (data / "2007-test.tar").unlink()
    dataset = prepare("voc07+12", data, download=True)
    assert len(dataset.train) == 3
    assert dataset.identity.official == (damage == "none")
    assert (data / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2008_1.jpg").is_file()
    assert not (data / "VOCdevkit" / "VOC2007").is_symlink()
    # Of what is there already the same is found out.
    assert prepare("voc07++12", data).identity.official == (damage == "none")


@pytest.mark.parametrize("brought", ["both years", "the other year", "none"])
def test_a_year_is_linked_from_an_unpacked_copy(
    served: Path, devkit: Path, tmp_path: Path, brought: str
) -> None:
    data = tmp_path / "data"
    prepare("voc07", data, served)
    if brought == "the other year":
        shutil.rmtree(devkit / "VOC2007")
    elif brought == "none":
        shutil.rmtree(devkit / "VOC2012")
        with pytest.raises(DataError, match=r"no VOC2012 in .*: bring a copy"):
            prepare("voc07+12", data, devkit)
        return
    dataset = prepare("voc07+12", data, devkit)
    assert (len(dataset.train), dataset.identity.official) == (3, False)
    assert (data / "VOCdevkit" / "VOC2012").readlink() == devkit / "VOC2012"
    assert not (data / "VOCdevkit" / "VOC2007").is_symlink()
    (data / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "test.txt").unlink()
    if brought == "both years":
        with pytest.raises(DataError, match=r"VOC2007 is in the way: move it elsewhere$"):
            prepare("voc07+12", data, devkit.parent)


def test_nothing_is_fetched_into_a_link(served: Path, devkit: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare("voc07", data, devkit)
    shutil.rmtree(devkit / "VOC2012")
    with pytest.raises(DataError, match="VOCdevkit is a link: remove it"):
        prepare("voc07+12", data, download=True)
    assert {path.name for path in data.iterdir()} == {"VOCdevkit", ".boxes"}


def test_archives_are_brought_in_a_folder_or_lie_in_the_data_folder(
    served: Path, tmp_path: Path
) -> None:
    assert prepare("voc07", tmp_path / "data", served).identity.official
    assert prepare("voc12", served).identity.official
    assert (served / "VOCdevkit" / "VOC2012").is_dir()
    assert prepare("voc07+12", served).identity.official  # the other year beside it


def test_archives_that_lie_there_are_said_to_be_still_packed(served: Path) -> None:
    def note(name: str) -> str:
        return next(one.note for one in datasets.describe(served) if one.name == name)

    assert "still packed: `resnet-repro data prepare voc12" in note("voc12")
    with pytest.raises(DataError, match="voc07 is still packed: `resnet-repro data prepare voc07"):
        datasets.load("voc07", served)
    (served / "2007-test.tar").unlink()  # what is left is not the whole year
    assert note("voc07") == ""
    with pytest.raises(DataError, match="no VOC2007 in"):
        prepare("voc07", served)


def test_an_archive_of_ones_own_is_unofficial(served: Path, tmp_path: Path) -> None:
    archive = pack(tmp_path / "brought" / "VOCdevkit", tmp_path / "mine.tar")
    assert not prepare("voc07", tmp_path / "data", archive).identity.official


def test_what_cannot_be_used_is_refused_and_leaves_nothing(
    served: Path, devkit: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with pytest.raises(DataError, match=r"no VOC2007 test in .*VOCdevkit"):
        prepare("voc07", data, served / "2007.tar")
    with pytest.raises(DataError, match=r"no VOC2007 in .*data prepare voc07 --from PATH.*\n"):
        prepare("voc07", data, served / "2012.tar")
    (tmp_path / "no.tar").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a tar archive"):
        prepare("voc07", data, tmp_path / "no.tar")
    with pytest.raises(DataError, match="does not exist"):
        prepare("voc07", data, tmp_path / "nowhere")
    assert not any(data.iterdir())
    with pytest.raises(DataError, match=r"no VOC2007 and VOC2012 in .*\n.*--preset demo"):
        datasets.load("voc07+12", data)
    with pytest.raises(ConfigError, match="not both"):
        datasets.prepare("voc07", data, devkit, download=True)
    prepare("voc07", data, devkit)
    with pytest.raises(DataError, match="is a link: remove it"):
        prepare("voc07", data, served / "2007.tar")
    (data / "VOCdevkit").unlink()
    prepare("voc12", data, served)
    with pytest.raises(DataError, match="VOC2012 is in the way: move it elsewhere"):
        prepare("voc12", data, served / "2012.tar")


def test_a_download_that_is_not_the_official_archive_is_refused(
    served: Path, tmp_path: Path
) -> None:
    (served / "2007.tar").write_bytes(b"something else")
    with pytest.raises(DataError, match="is not the official archive"):
        prepare("voc07", tmp_path / "data", download=True)
    assert not any((tmp_path / "data").iterdir())
