"""`data prepare`, `verify` and `list` for photographs, through the command line."""

from __future__ import annotations

import errno
import json
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import filelock
import pytest
from made_up_photos import WritePhotos, pack_imagenet, serve_imagenette
from packing import pack
from torchvision.datasets import Imagenette
from torchvision.datasets import imagenet as torchvision_imagenet

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data import datasets, folder_index
from resnet_repro.data.photos import imagenette
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.spec.dataset_names import DATASETS

Command = Callable[..., tuple[int, str, str]]
CLASSES = ("n01440764", "n02102040")


@pytest.fixture
def command(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `resnet-repro data ARGUMENTS` on `tmp_path/data`: (exit code, stdout, stderr)."""
    monkeypatch.setenv("RESNET_REPRO_DATA", "data")
    return partial(command, "data")


def listed(command: Command) -> dict[str, dict[str, object]]:
    code, out, _ = command("list", "--json")
    assert code == 0
    return {status["name"]: status for status in json.loads(out)}


def test_nothing_there(command: Command) -> None:
    statuses = listed(command)
    assert list(statuses) == list(DATASETS)
    for name in ("imagenet", "imagenette"):
        assert not statuses[name]["prepared"]
        code, out, err = command("verify", name)
        assert (code, out) == (3, "")
        assert f"data prepare {name} --from PATH" in err
        assert "--preset demo" in err
        assert len(err.splitlines()) == 2
    code, _, err = command("verify", "folder:birds")
    assert code == 3
    assert "no folder data/birds" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "taken", "another"),
    [("others", "others", "data"), ("data", "data", "others"), ("", "data", "others")],
)
def test_advice_is_about_the_folder_in_use(
    command: Command, monkeypatch: pytest.MonkeyPatch, variable: str, taken: str, another: str
) -> None:
    monkeypatch.setenv("RESNET_REPRO_DATA", variable)
    for folder, option in ((taken, ""), (another, f" --data-dir {another}")):
        _, _, err = command("verify", "cifar10", "--data-dir", folder)
        assert f"`resnet-repro data prepare cifar10 --download{option}`" in err


def test_imagenette_in_the_data_folder(
    command: Command, write_photos: WritePhotos, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_photos(CLASSES, name="data/imagenette2-160")
    note = listed(command)["imagenette"]["note"]
    assert "imagenette2-160 when first used" in str(note)
    code, out, _ = command("prepare", "imagenette")
    assert code == 0
    assert out.startswith("imagenette: unofficial, 6 training and 4 validation images\nsha256 ")
    assert "imagenette2-160" in out
    status = listed(command)["imagenette"]
    assert (status["prepared"], status["official"], status["images"]) == (True, False, 10)
    write_photos(CLASSES, name="data/imagenette2", train=4)  # of several, the best is taken
    assert len(datasets.load("imagenette", tmp_path / "data").train) == 8  # type: ignore[union-attr]
    code, out, _ = command("prepare", "imagenette", "--download", "--size", "160")
    assert (code, "8 training" in out) == (0, True)
    assert "imagenette2 is there already" in caplog.text, "it is used before the smaller one"


def test_a_download_that_would_not_be_used_is_refused(
    command: Command, write_photos: WritePhotos, tmp_path: Path
) -> None:
    brought = write_photos(CLASSES, name="elsewhere/imagenette2-160")
    assert command("prepare", "imagenette", "--from", str(brought))[0] == 0
    download = ("prepare", "imagenette", "--download", "--size", "full", "--quiet")
    code, _, err = command(*download)
    told = "data/imagenette is used before imagenette2: move it elsewhere"
    assert (code, err) == (3, f"resnet-repro: {told}\n")
    (tmp_path / "data" / "imagenette").unlink()
    shutil.copytree(brought, tmp_path / "data" / brought.name)  # used, since it has train
    shutil.copytree(brought / "val", tmp_path / "data" / "imagenette2" / "val")
    code, _, err = command(*download)
    assert (code, "data/imagenette2 is in the way: move it elsewhere\n" in err) == (3, True)


@pytest.mark.parametrize("name", ["imagenette", "imagenet", "folder:birds"])
def test_a_folder_that_is_brought_is_linked_to(
    command: Command,
    write_photos: WritePhotos,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    folder = write_photos(CLASSES, name="elsewhere/copy")
    code, out, _ = command("prepare", name, "--from", str(folder))
    assert (code, out.splitlines()[0]) == (
        0,
        f"{name}: unofficial, 6 training and 4 validation images",
    )
    assert "decoding 10 images" in caplog.text
    link = tmp_path / "data" / name.removeprefix("folder:")
    assert link.resolve() == folder.resolve()
    assert listed(command)[name]["prepared"]
    assert command("verify", name)[0] == 0
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "val" / "n01440764" / "val-n01440764-0.png").unlink()
    assert command("prepare", name, "--from", str(tmp_path / "other"))[0] == 0
    assert listed(command)[name]["images"] == 9
    link.unlink()
    write_photos(CLASSES, name=f"data/{link.name}")
    code, _, err = command("prepare", name, "--from", str(folder))
    assert code == 3
    assert "in the way" in err


def test_folder_by_its_path(command: Command, write_photos: WritePhotos, tmp_path: Path) -> None:
    folder = write_photos(CLASSES, name="elsewhere/birds")
    code, out, _ = command("prepare", f"folder:{folder}")
    assert code == 0
    assert out.startswith("folder:birds: unofficial, 6 training")
    assert str(tmp_path) not in out
    code, _, err = command("prepare", "folder:birds")  # by its name it belongs into the data folder
    assert code == 3
    assert "`--dataset folder:PATH` says where it is" in err


@pytest.mark.parametrize("name", ["birds", "folder:else where/birds"])
def test_the_commands_in_messages_work(
    command: Command,
    write_photos: WritePhotos,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    folder = write_photos(CLASSES, name="else where/birds" if ":" in name else "my data/birds")
    name = name if ":" in name else f"folder:{name}"

    def told(*arguments: str) -> list[str]:
        """The command that is told, without `resnet-repro data`."""
        caplog.clear()
        said = command(*arguments)[2] + caplog.text
        return shlex.split(re.findall("`resnet-repro data (.*)`", said)[0])

    with monkeypatch.context() as patch:
        patch.setattr(folder_index, "CONTENTS_LIMIT", 0)
        verify = told("prepare", name, "--data-dir", "my data")
        assert command(*verify)[0] == 0
    shutil.copy(image := next(folder.rglob("*.png")), image.with_name("new.png"))
    assert command(*verify)[0] == 3
    assert command(*told(*verify))[0] == 0
    assert command(*verify)[0] == 0


def test_bad_folders_end_in_one_line(command: Command, write_photos: WritePhotos) -> None:
    folder = write_photos(("cat",))
    (folder / "val" / "dog").mkdir()
    for verb in ("prepare", "verify"):
        code, out, err = command(verb, f"folder:{folder}", "--quiet")
        assert (code, out) == (3, "")
        assert err == f"resnet-repro: {folder}/train has only one class, cat: two are needed\n"


def test_broken_images_are_all_named(
    command: Command, write_photos: WritePhotos, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_photos(("cat", "dog"))
    for name in ("train/cat/train-cat-1.png", "val/dog/val-dog-0.png"):
        (folder / name).write_bytes(b"oh no")
    code, _, err = command("verify", f"folder:{folder}")
    assert code == 3
    last = err.splitlines()[-1]
    assert "2 images are broken" in last
    assert last.endswith("train/cat/train-cat-1.png: not an image, or damaged")
    assert "broken: val/dog/val-dog-0.png: not an image, or damaged" in caplog.text


def test_verify_notices_changes(
    command: Command, write_photos: WritePhotos, tmp_path: Path
) -> None:
    folder = write_photos(CLASSES, name="data/birds")
    assert command("prepare", "folder:birds")[0] == 0
    target = folder / "train" / CLASSES[0] / f"train-{CLASSES[0]}-0.png"
    shutil.copy(folder / "train" / CLASSES[1] / f"train-{CLASSES[1]}-0.png", target)
    assert len(datasets.load("folder:birds", tmp_path / "data").train) == 6  # type: ignore[union-attr]
    code, _, err = command("verify", "folder:birds")
    assert code == 3
    assert "has changed since it was first used" in err
    assert command("prepare", "folder:birds")[0] == 0
    assert command("verify", "folder:birds")[0] == 0


def test_download(
    command: Command,
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve_imagenette(write_photos(CLASSES), monkeypatch)
    code, out, _ = command("prepare", "imagenette", "--download", "--size", "320")
    assert code == 0
    assert out.startswith("imagenette: official, 6 training and 4 validation images\n")
    assert len(out.splitlines()) == 2  # nothing to note
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        ".photographs",
        "imagenette2-320",
        "imagenette2-320.tgz",
    }
    for _ in range(2):  # it stays official, prepared again or verified, as long as it is the same
        assert listed(command)["imagenette"]["official"]
        assert command("verify", "imagenette")[1].startswith("imagenette: official")
        assert command("prepare", "imagenette", "--download", "--size", "320px")[0] == 0
    (tmp_path / "data" / "imagenette2-320" / "val" / CLASSES[0] / "new.png").touch()
    identity = datasets.load("imagenette", tmp_path / "data").identity
    assert not identity.official
    assert "unofficial" in identity.note


def test_nothing_is_fetched_where_it_could_not_be_put(
    command: Command, write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_imagenette(write_photos(CLASSES), monkeypatch)
    (tmp_path / "data" / "imagenette2-320" / "thesis").mkdir(parents=True)
    code, _, err = command("prepare", "imagenette", "--download", "--size", "320", "--quiet")
    assert (code, "imagenette2-320 is in the way: move it elsewhere\n" in err) == (3, True)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["imagenette2-320"]


def test_the_official_archives_are_those_that_torchvision_lists() -> None:
    """It lists them under a private name, so they are written down here as well."""
    listed = getattr(Imagenette, "_ARCHIVES", None)
    if listed is None:
        pytest.skip("this torchvision has them elsewhere")
    theirs = {size.removesuffix("px"): tuple(archive) for size, archive in listed.items()}
    assert {size: tuple(archive) for size, archive in imagenette._ARCHIVES.items()} == theirs


def test_download_of_something_else(
    command: Command, write_photos: WritePhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_imagenette(write_photos(CLASSES), monkeypatch, official=False)
    code, _, err = command("prepare", "imagenette", "--download", "--size", "320", "--quiet")
    assert code == 3
    assert "is not the official archive" in err
    assert not listed(command)["imagenette"]["prepared"]


@pytest.mark.parametrize("place", ["from", "data"])
def test_archive_of_imagenette(
    command: Command,
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    archive = serve_imagenette(write_photos(CLASSES), monkeypatch)
    if place == "data":
        (tmp_path / "data").mkdir()
        archive = archive.rename(tmp_path / "data" / archive.name)
        assert "still packed" in str(listed(command)["imagenette"]["note"])
        code, _, err = command("verify", "imagenette")
        assert (code, len(err.splitlines())) == (3, 1)
        code, out, _ = command("prepare", "imagenette")
    else:
        code, out, _ = command("prepare", "imagenette", "--from", str(archive))
    assert code == 0
    assert out.startswith("imagenette: official")
    code, _, err = command("prepare", "imagenette", "--from", str(archive))
    assert code == 3
    assert "in the way" in err


def test_archive_of_something_else(command: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("cats and dogs", encoding="utf-8")
    with tarfile.open(tmp_path / "thesis.tar", "w") as tar:
        tar.add(tmp_path / "thesis.txt", "thesis.txt")
    for name in ("thesis.txt", "thesis.tar"):
        code, _, err = command("prepare", "imagenette", "--from", name, "--quiet")
        assert (code, len(err.splitlines())) == (3, 1)
        assert name in err
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize("place", ["tars", "data", "data/imagenet"])
def test_official_tars_of_imagenet(
    command: Command,
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    folder = write_photos(CLASSES, suffix="JPEG", name="small")
    pack_imagenet(folder, tmp_path / place, monkeypatch)
    if place == "tars":
        code, out, _ = command("prepare", "imagenet", "--from", str(tmp_path / place))
    else:
        assert "still packed" in str(listed(command)["imagenet"]["note"])
        code, out, _ = command("prepare", "imagenet")
    assert code == 0
    assert "checking and unpacking ILSVRC2012_img_train.tar" in caplog.text
    assert out.startswith("imagenet: official, 6 training and 4 validation images")
    dataset = datasets.load("imagenet", tmp_path / "data")
    assert isinstance(dataset, PhotoDataset)
    assert dataset.classes == CLASSES
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert not [p for p in (tmp_path / "data").iterdir() if "unpacking" in p.name and p.is_dir()]


@pytest.mark.parametrize("how", ["link", "mounted"])
def test_official_tars_are_unpacked_on_the_disk_where_their_photographs_will_be(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = write_photos(CLASSES, suffix="JPEG", name="small")
    (data := tmp_path / "data").mkdir()
    if how == "link":
        pack_imagenet(folder, disk := tmp_path / "disk", monkeypatch)
        (data / "imagenet").symlink_to(disk)
    else:
        pack_imagenet(folder, tmp_path / "tars", monkeypatch)
        (disk := data / "imagenet").mkdir()
        (disk / ".imagenet-unpacking" / "imagenet").mkdir(parents=True)  # of a killed process
    rename = Path.rename

    def within_a_disk(path: Path, target: Path) -> Path:
        ends = [p.parent.resolve().is_relative_to(disk.resolve()) for p in (path, Path(target))]
        if ends[0] != ends[1]:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", within_a_disk)
    datasets.prepare("imagenet", data, None if how == "link" else tmp_path / "tars")
    assert len(datasets.load("imagenet", data).train) == 6  # type: ignore[union-attr]
    assert {path.name for path in disk.iterdir() if path.is_dir()} == {"train", "val"}


def test_tars_that_are_not_the_official_ones(
    command: Command,
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack_imagenet(
        write_photos(CLASSES, suffix="JPEG", name="small"), tmp_path / "tars", monkeypatch
    )
    with (tmp_path / "tars" / "ILSVRC2012_img_train.tar").open("ab") as file:
        file.write(b"\0" * 512)
    code, _, err = command("prepare", "imagenet", "--from", "tars", "--quiet")
    told = "ILSVRC2012_img_train.tar in tars is not the official archive (MD5)"
    assert (code, err) == (3, f"resnet-repro: {told}\n")
    assert not (tmp_path / "data" / "imagenet").exists()


def test_an_archive_that_would_not_be_used_is_refused(
    write_photos: WritePhotos, tmp_path: Path
) -> None:
    pack(write_photos(CLASSES, name="imagenette2-160"), tmp_path / "imagenette2-160.tgz")
    write_photos(CLASSES, name="data/imagenette2-320")
    with pytest.raises(DataError, match="imagenette2-320 is used before imagenette2-160: move"):
        datasets.prepare("imagenette", tmp_path / "data", tmp_path / "imagenette2-160.tgz")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["imagenette2-320"]


def test_a_moved_data_folder_keeps_what_is_known_of_its_copies(
    command: Command, write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_imagenette(write_photos(CLASSES), monkeypatch)
    prepared = datasets.prepare("imagenette", tmp_path / "data", download=True, size="320")
    before = prepared.identity
    assert before.official
    moved = (tmp_path / "data").rename(tmp_path / "moved")
    assert datasets.load("imagenette", moved).identity == before
    shutil.copytree(moved / "imagenette2-320", tmp_path / "same names and sizes")
    monkeypatch.setattr(folder_index, "CONTENTS_LIMIT", 0)  # and no more is compared
    datasets.prepare("imagenette", tmp_path / "new", moved / "imagenette2-320.tgz")
    other = datasets.prepare("imagenette", tmp_path / "new", tmp_path / "same names and sizes")
    assert not other.identity.official


def test_options_that_make_no_sense(command: Command, tmp_path: Path) -> None:
    for name in ("imagenet", "folder:birds"):
        code, _, err = command("prepare", name, "--download")
        assert code == 2
        assert "cannot be downloaded" in err
    assert command("prepare", "imagenette", "--download", "--size", "640")[0] == 2
    for argv in (["cifar10", "--download"], ["imagenette", "--from", "x"]):  # none to choose from
        code, _, err = command("prepare", *argv, "--size", "320")
        assert (code, "only imagenette --download" in err) == (2, True)
    assert command("prepare", "imagenette", "--download", "--from", "x")[0] == 2
    assert command("prepare", "imagenette", "--from", "nowhere")[0] == 3
    with pytest.raises(ConfigError, match="letters, digits"):
        datasets.load("folder:no/path", tmp_path)


def test_folders_in_the_data_folder_are_listed(
    command: Command, write_photos: WritePhotos, tmp_path: Path
) -> None:
    write_photos(name="data/birds")
    write_photos(name="data/no name")  # which cannot be one of a data set
    (tmp_path / "data" / "papers").mkdir()
    assert list(listed(command))[:6] == [
        "cifar10",
        "cifar100",
        "imagenet",
        "imagenette",
        "folder:birds",
        "synthetic",
    ]


def test_leftover_of_a_killed_unpacking_makes_way(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_imagenet(
        write_photos(CLASSES, suffix="JPEG", name="small"), tmp_path / "data", monkeypatch
    )
    leftover = tmp_path / "data" / ".imagenet-unpacking" / "train" / "n01440764"
    leftover.mkdir(parents=True)
    (leftover / "half.JPEG").touch()
    dataset = datasets.prepare("imagenet", tmp_path / "data")
    assert isinstance(dataset, PhotoDataset)
    assert len(dataset.train) == 6
    with pytest.raises(DataError, match="in the way"):
        datasets.prepare("imagenet", tmp_path / "data", tmp_path / "data")


def test_two_do_not_unpack_imagenet_at_once(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    pack_imagenet(write_photos(CLASSES, suffix="JPEG", name="small"), data, monkeypatch)
    with (
        filelock.FileLock(data / ".imagenet-unpacking.lock"),
        pytest.raises(DataError, match="another process is unpacking ImageNet"),
    ):
        datasets.prepare("imagenet", data)
    datasets.prepare("imagenet", data)


def test_two_unpack_imagenet_at_once_where_files_cannot_be_locked(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first to end puts it in its place; the other one disturbs neither."""
    data = tmp_path / "data"
    pack_imagenet(write_photos(CLASSES, suffix="JPEG", name="small"), data, monkeypatch)

    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    parse, others = torchvision_imagenet.parse_train_archive, []

    def another_comes_meanwhile(folder: Path) -> None:
        monkeypatch.setattr(torchvision_imagenet, "parse_train_archive", parse)
        others.append(datasets.prepare("imagenet", data))
        parse(folder)

    monkeypatch.setattr(filelock, "FileLock", no_locks)
    monkeypatch.setattr(torchvision_imagenet, "parse_train_archive", another_comes_meanwhile)
    with pytest.raises(DataError, match="in the way"):
        datasets.prepare("imagenet", data)
    assert datasets.verify("imagenet", data).identity == others[0].identity
    assert not list(data.glob(".unpacked-*"))
