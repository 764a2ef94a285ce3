"""What travels to a borrowed machine and back: wheels, the commit, CIFAR-10, runs.

Everything goes in loads below 35 MiB and comes back in a few files of at most 15 MiB, each with its
SHA-256. Used by `gpu_session.py`; needs only the standard library until it comes to images.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MANIFEST, COMMIT = "manifest.json", "commit.json"
PART, MOST, FILES = 15 << 20, 60 << 20, 8  # bytes of a file and of all, and files, that come back
WHEELS = ["pydantic"]  # with what it needs; the rest is beside PyTorch on most GPU machines
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
LOADS = (
    ("data_batch_1", "data_batch_2"),
    ("data_batch_3", "data_batch_4"),
    ("data_batch_5", "test"),
)
TOLERANCE = 0.1  # percentage points between a run's test error and that of its weights at home
SIDE, COLUMNS = 32, 100  # pixels of an image; images in a row of a mosaic (WebP: 16,383 pixels)


class TransferError(Exception):
    """Something did not arrive whole, or does not belong here; ends in one line."""


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


# Code: wheels that a bare machine lacks, and which commit this is.


def fetch_wheels(folder: Path, python: str = "3.12") -> None:
    """Download the wheels for x86-64 Linux and write down the commit."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.whl")):
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        pip = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", *platforms]
        version = ["--python-version", python, "--implementation", "cp"]
        subprocess.run([*pip, *version, "-d", str(folder), *WHEELS], check=True)
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], encoding="utf-8").strip()
    status = [*git, "status", "--porcelain", "--", "resnet_repro", "experiments"]
    changed = bool(subprocess.check_output(status, encoding="utf-8").strip())
    record = {"commit": commit + "+changed" * changed, "sources": sources_digest()}
    (folder / COMMIT).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def sources_digest() -> str:
    """SHA-256 over the code and the experiments, by which a copy is known to be of a commit."""
    found = sorted(
        path
        for folder in ("resnet_repro", "experiments")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".csv") and path.is_file()
    )
    lines = (f"{p.relative_to(ROOT).as_posix()} {sha256(p.read_bytes())}\n" for p in found)
    return sha256("".join(lines).encode())


def known_commit(wheels: Path) -> str | None:
    """The commit that `fetch_wheels` wrote down, if these are the sources it saw."""
    try:
        record = json.loads((wheels / COMMIT).read_text(encoding="utf-8"))
        return str(record["commit"]) if record["sources"] == sources_digest() else None
    except (OSError, ValueError, KeyError):
        return None


def install_wheels(wheels: Path, site: Path) -> None:
    """Unpack the carried wheels into `site`, once, without a network."""
    if site.is_dir():
        return
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
    fresh = site.with_name(f"{site.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    subprocess.run([*pip, "--target", str(fresh), *map(str, wheels.glob("*.whl"))], check=True)
    fresh.rename(site)


# Data: the images of each official file as one lossless picture.


def pack_data(images: Any, labels: Any, name: str, folder: Path) -> None:
    """Write uint8 images [N, 3, 32, 32] and labels [N] as `name.webp` and `name.labels`."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = len(images) // COLUMNS
    tiles = images.reshape(rows, COLUMNS, 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
    mosaic = np.ascontiguousarray(tiles.reshape(rows * SIDE, COLUMNS * SIDE, 3))
    Image.fromarray(mosaic).save(folder / f"{name}.webp", lossless=True, method=4, quality=80)
    (folder / f"{name}.labels").write_bytes(labels.astype(np.uint8).tobytes())
    manifest = folder / MANIFEST
    sums = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
    sums[name] = sha256(_records(images, labels))
    manifest.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def unpack_data(folder: Path, raw: Path) -> None:
    """Rebuild the files of the binary version that `pack_data` put into `folder`.

    Raises:
        TransferError: a file is not, byte for byte, what was packed.
    """
    import numpy as np
    from PIL import Image

    raw.mkdir(parents=True, exist_ok=True)
    for name, expected in json.loads((folder / MANIFEST).read_text(encoding="utf-8")).items():
        target = raw / bin_name(name)
        if target.exists() and sha256(target.read_bytes()) == expected:
            continue
        with Image.open(folder / f"{name}.webp") as picture:
            mosaic = np.asarray(picture.convert("RGB"))
        labels = np.frombuffer((folder / f"{name}.labels").read_bytes(), np.uint8)
        tiles = mosaic.reshape(-1, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 4, 1, 3)
        content = _records(tiles.reshape(-1, 3, SIDE, SIDE), labels)
        if sha256(content) != expected:
            raise TransferError(f"{name}: rebuilt from {folder}, it is not what was packed")
        part = target.with_suffix(".part")
        part.write_bytes(content)
        part.replace(target)


def bin_name(name: str) -> str:
    """What the binary version calls a file."""
    return "test_batch.bin" if name == "test" else f"{name}.bin"


def _records(images: Any, labels: Any) -> bytes:
    """The binary version's bytes: for each image its label, then red, green and blue rows."""
    import numpy as np

    columns = (labels.astype(np.uint8)[:, None], images.reshape(len(images), -1))
    return bytes(np.concatenate(columns, axis=1).tobytes())


# Runs: there and back.


def summary_of(run: Path) -> dict[str, Any]:
    """A run's `summary.json`; empty where there is none to be read."""
    try:
        content = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def progress_of(run: Path) -> tuple[bool, int]:
    """How far a run is, to be compared: whether it is done, and its iteration."""
    summary = summary_of(run)
    return summary.get("state") == "done", int(summary.get("iteration", -1))


def runs_in(folder: Path) -> list[Path]:
    """The run folders in a results folder, by name."""
    return sorted(p for p in folder.glob("runs/*") if p.is_dir() and p.name[0] != ".")


def checkpoint_of(run: Path) -> Path | None:
    """The newest checkpoint, whatever a crash left of its three generations."""
    names = ("checkpoint.new", "checkpoint", "checkpoint.previous")
    return next((run / name for name in names if (run / name).is_file()), None)


def pack(runs: Sequence[Path], notes: Path | None, out: Path) -> dict[str, Any]:
    """Write runs and notes to `out`, in few files; returns the manifest.

    Unfinished runs come first, for they are lost without their checkpoint; then the newest ones.
    A checkpoint that does not fit any more stays behind, and the manifest says so.
    """
    order = sorted(runs, key=lambda run: (progress_of(run)[0], -run.stat().st_mtime))
    stream, listed = io.BytesIO(), {}
    with tarfile.open(fileobj=stream, mode="w") as archive:
        if notes and notes.is_dir():
            archive.add(notes, "notes")
        for run in order:
            for path in sorted(run.glob("[!.]*")):
                if path.is_file() and not path.name.startswith(("checkpoint", "scores-")):
                    archive.add(path, f"runs/{run.name}/{path.name}")
        for run in order:
            found = checkpoint_of(run)
            fits = found and stream.tell() + found.stat().st_size + (1 << 16) <= MOST
            if found and fits:
                archive.add(found, f"runs/{run.name}/checkpoint")
            keys = ("state", "iteration", "iterations", "final_test_error", "images_per_second")
            summary = summary_of(run)
            listed[run.name] = {key: summary.get(key) for key in keys} | {"checkpoint": bool(fits)}
    content = stream.getvalue()
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("runs-*.part"), *out.glob(MANIFEST)):
        old.unlink()
    pieces = [content[start : start + PART] for start in range(0, len(content), PART)]
    if len(pieces) >= FILES:
        raise TransferError(f"{len(pieces)} files of results are more than come back")
    names = [f"runs-{number}.part" for number in range(len(pieces))]
    for name, piece in zip(names, pieces, strict=True):
        (out / name).write_bytes(piece)
    sums = {name: sha256(piece) for name, piece in zip(names, pieces, strict=True)}
    manifest = {"parts": sums, "bytes": len(content), "runs": listed}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def packed_runs(packed: Path) -> list[str]:
    """The ids of the runs that `pack` wrote there; none where it wrote nothing."""
    try:
        return list(json.loads((packed / MANIFEST).read_text(encoding="utf-8"))["runs"])
    except (OSError, ValueError, KeyError):
        return []


def extract(packed: Path, target: Path) -> None:
    """Unpack what `pack` wrote into `target`: `runs/` and `notes/`.

    Raises:
        TransferError: a part is missing or damaged.
    """
    try:
        manifest = json.loads((packed / MANIFEST).read_text(encoding="utf-8"))
        pieces = {name: (packed / name).read_bytes() for name in manifest["parts"]}
    except (OSError, ValueError, KeyError) as error:
        raise TransferError(f"{packed}: not all of a packed session is here ({error})") from error
    for name, piece in pieces.items():
        if sha256(piece) != manifest["parts"][name]:
            raise TransferError(f"{packed / name}: damaged on its way, copy it again")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces.values()))) as archive:
        archive.extractall(target, filter="data")


def merge(source: Path, results: Path) -> list[str]:
    """Move runs of `source` into `results` where they are further than what is there.

    Both are on one file system: each run is moved as a whole. Returns the ids of those taken.

    Raises:
        TransferError: a run that would be replaced is being trained.
    """
    import filelock

    (results / "runs").mkdir(parents=True, exist_ok=True)
    taken = []
    for run in runs_in(source):
        target = results / "runs" / run.name
        if progress_of(run) <= progress_of(target):
            continue
        if not progress_of(run)[0] and checkpoint_of(target) and not checkpoint_of(run):
            continue  # too large to be packed: what is here can go on, and that could not
        if target.exists():
            try:
                with filelock.FileLock(target / ".lock", timeout=0):
                    target.rename(source / f"replaced-{run.name}")
            except filelock.Timeout as error:
                raise TransferError(f"{target} is being trained: stop that first") from error
        run.rename(target)
        taken.append(run.name)
    return taken


def bring(packed: Path, results: Path) -> list[str]:
    """Take over the runs that are further in `packed` than in `results`; returns their ids."""
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=results) as scratch:
        extract(packed, Path(scratch))
        return merge(Path(scratch), results)


def check_runs(folder: Path, answer: Callable[..., str]) -> None:
    """Refuse runs that are damaged, of other data, or whose weights do not give their error.

    Args:
        folder: a results folder; answer: calls `resnet-repro` and returns what it prints.

    Raises:
        TransferError: says which.
    """
    lines = json.loads(answer("status", "--json", "--results", folder))
    for line in lines:
        if line["problem"] and not line["problem"].startswith("failed: "):  # it diverged
            raise TransferError(f"{line['run']}: {line['problem']}")
    for run in runs_in(folder):
        known = summary_of(run)["provenance"]["dataset"]
        if known["sha256"] not in answer("data", "verify", known["name"]):
            raise TransferError(f"{run.name}: {known['name']} was another copy than here")
    done = [run for run in runs_in(folder) if progress_of(run)[0] and checkpoint_of(run)]
    if not done:
        print("nothing finished: no weights to test", flush=True)
        return
    run = min(done, key=lambda one: (one / "checkpoint").stat().st_size)
    words = ("evaluate", run.name, "--results", folder, "--device", "cpu", "--json", "--quiet")
    tested = json.loads(answer(*words))["evaluations"][0]
    error, stored = tested["top1_error"], summary_of(run)["final_test_error"]
    print(f"{run.name}: test error {stored:.2f}, on this CPU {error:.2f}", flush=True)
    allowed = max(TOLERANCE, 100 * 3 / tested["images"])  # of the few generated images three
    if abs(error - stored) > allowed:
        raise TransferError(f"{run.name}: more than {allowed} points apart; nothing was taken")


def adopt_finished(committed: Path, results: Path) -> None:
    """Copy finished runs of another results folder, so that nobody trains them again."""
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=results) as scratch:
        for run in runs_in(committed):
            if progress_of(run)[0]:
                leave = shutil.ignore_patterns("checkpoint*", ".*")
                shutil.copytree(run, Path(scratch) / "runs" / run.name, ignore=leave)
        merge(Path(scratch), results)


def environment(kit: Path) -> dict[str, str]:
    """The environment of every command: this checkout, the kit's packages, its commit.

    A copy may have come with the `.git` of an older commit, which git must not be asked about.
    """
    paths = [str(ROOT), *([str(kit / "site")] if (kit / "site").is_dir() else [])]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    commit = known_commit(kit / "wheels")
    known = {"RESNET_REPRO_COMMIT": commit, "GIT_DIR": os.devnull} if commit else {}
    return os.environ | known | {"PYTHONPATH": os.pathsep.join(paths)}


def table(rows: Sequence[Sequence[object]]) -> str:
    """Cells in columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)
