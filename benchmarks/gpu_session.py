"""A kit for a GPU that is borrowed for half an hour: bare machine, no network, ten minutes a call.

    python3 benchmarks/gpu_session.py STAGE [OPTIONS] [-- OPTIONS OF resnet-repro run]

At home, with network:
    wheels      fetch the packages that the other machine lacks, and write down the commit
    data-pack   CIFAR-10 as lossless pictures, in three loads below 35 MiB
On the machine with the GPU:
    data        rebuild CIFAR-10 from the loads that are there, and prepare it once all are
    check       doctor, the limits of the card, the tests that need a GPU
    bench       speeds beside a textbook loop and without the graph; profile; several runs at once
    train       train what is missing, smallest networks first, and pack it
    pack        pack what `train` left (`check`, `bench` and `train` end with it)
At home again:
    unpack      check what came back, take it into the results folder, write CSVs and the report

docs/gpu.md says what to do with it. Everything lies in `.gpu/`, which git ignores: carry `wheels`,
`data-1` to `data-3` and `carry` there; bring home `packed`, which is the folder $OUT where that is
set.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).parent))
import gpu_transfer as transfer
from gpu_transfer import ROOT, TransferError

USED_UP, INTERRUPTED = 75, 130
RESERVE = 75.0  # seconds of a call that training leaves to measuring and packing
PATIENCE = 25.0  # seconds that a command gets to save and end
NO_TIME = "0.001s"  # to write the CSVs and train nothing
COMPARED = "resnet-20,resnet-56,resnet-110"
OTHERS = "plain-20,plain-56,resnet-32,resnet-44,resnet-1202"
GPU_TESTS = [f"tests/{folder}" for folder in ("training", "measure", "reliability")]
RUNS = [str(ROOT / "benchmarks" / "gpu.yaml"), "gradients", "fig7"]


@dataclass
class Session:
    """Where the kit's things are, and until when a call may last."""

    kit: Path
    results: Path
    out: Path
    device: str
    quick: bool
    limit: float  # seconds of this call
    rest: list[str]  # options for `resnet-repro run`
    names: list[str]
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the call's limit."""
        return self.limit - (time.monotonic() - self.began)

    @property
    def notes(self) -> Path:
        """What is measured besides runs: it comes home with them."""
        return self.kit / "notes"

    def python(self, *words: object, note: str = "", until: float = 15.0, **extra: str) -> int:
        """Run Python on `words` in the checkout; returns its exit code.

        It is asked to save and end when less than `until` seconds are left, or when a signal comes.

        Args:
            words: the arguments; note: a file of `notes` that gets what is printed as well;
            extra: environment variables.
        """
        if self.left < until:
            print(f"no time left for: {' '.join(map(str, words[:3]))}", flush=True)
            return USED_UP
        wanted = subprocess.PIPE if note else None
        child = subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            env=transfer.environment(self.kit) | extra,
            stdout=wanted,
            stderr=subprocess.STDOUT if note else None,
        )
        copier = _copy_output(child.stdout, self.notes / note) if child.stdout else None
        try:
            child.wait(max(self.left - until, 1.0))
        except subprocess.TimeoutExpired:
            _end(child)
        except KeyboardInterrupt:
            _end(child)
            raise
        finally:
            if copier:
                copier.join(PATIENCE)
        return child.returncode

    def repro(self, *words: object, note: str = "", until: float = 15.0, **extra: str) -> int:
        """Run `resnet-repro` on `words`."""
        return self.python("-m", "resnet_repro", *words, note=note, until=until, **extra)

    def answer(self, *words: object) -> str:
        """What `resnet-repro` prints.

        Raises:
            TransferError: it fails.
        """
        done = subprocess.run(
            [sys.executable, "-m", "resnet_repro", *map(str, words)],
            cwd=ROOT,
            env=transfer.environment(self.kit),
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        if done.returncode not in (0, USED_UP):
            raise TransferError(f"resnet-repro {' '.join(map(str, words[:2]))} failed")
        return done.stdout


def _end(child: subprocess.Popen[bytes]) -> None:
    """Have a command save and end; it is killed where it does not."""
    child.terminate()
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _copy_output(stream: IO[bytes], note: Path) -> threading.Thread:
    """Print what comes from `stream`, and append it to a file."""

    def copy() -> None:
        with note.open("ab") as file:
            for line in stream:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
                file.write(line)

    note.parent.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def wheels(session: Session) -> int:
    """Fetch what a bare machine lacks."""
    transfer.fetch_wheels(session.kit / "wheels")
    return 0


def data_pack(session: Session) -> int:
    """Pack the prepared CIFAR-10 of the data folder."""
    sys.path.insert(0, str(ROOT))
    from resnet_repro.data.datasets import load

    folder = os.environ.get("RESNET_REPRO_DATA") or ROOT / "data"
    dataset: Any = load("cifar10", Path(folder))
    for number, load_names in enumerate(transfer.LOADS, start=1):
        target = session.kit / f"data-{number}"
        shutil.rmtree(target, ignore_errors=True)
        for name in load_names:
            images, labels = dataset.test_images, dataset.test_labels
            if name != "test":
                first = 10_000 * (int(name[-1]) - 1)
                images = dataset.train_images[first : first + 10_000]
                labels = dataset.train_labels[first : first + 10_000]
            transfer.pack_data(images, labels, name, target)
        size = sum(path.stat().st_size for path in target.iterdir())
        print(f"{target}: {size / 2**20:.1f} MiB", flush=True)
    return 0


def data(session: Session) -> int:
    """Rebuild CIFAR-10; 75 where a load is still missing."""
    raw = session.kit / "raw" / "cifar-10-batches-bin"
    for folder in sorted(session.kit.glob("data-[0-9]")):
        transfer.unpack_data(folder, raw)
    names = [name for part in transfer.LOADS for name in part]
    missing = [name for name in names if not (raw / transfer.bin_name(name)).exists()]
    if missing:
        print(f"still missing: {', '.join(missing)}; carry the other loads and call this again")
        return USED_UP
    return session.repro("data", "prepare", "cifar10", "--from", raw)


def check(session: Session) -> int:
    """Is this GPU, with this software, what the code expects?"""
    one = ["--networks", "resnet-8" if session.quick else "resnet-20", "--no-textbook"]
    fast = [*one, "--rounds", "1", "--seconds", "0.5", "--dataset", "synthetic"]
    device, scratch = ["--device", session.device], session.kit / "scratch"
    codes = [
        session.repro("doctor", *device, note="check.txt"),
        session.repro("bench", *fast, *device, "--results", scratch, note="check.txt"),
        session.python("-m", "pytest", "-m", "gpu", "-rs", *GPU_TESTS, note="check.txt"),
    ]
    return next(filter(None, codes), 0)


def bench(session: Session) -> int:
    """Everything that is to be known about speed, the most important first."""
    device = ["--device", session.device, "--dataset", "synthetic"]
    compared, others, rounds = COMPARED, OTHERS, ("3", "3")
    if session.quick:
        compared, others, rounds = "resnet-8", "plain-8", ("1", "0.2")
    turns = [*device, "--rounds", rounds[0], "--seconds", rounds[1]]
    eager = ["--no-textbook", "--results", session.notes / "eager"]
    probe = ["benchmarks/gpu_probe.py", "--device", session.device]
    ours = ["--results", session.notes / "bench"]
    codes = [
        session.repro("bench", "--networks", compared, *turns, *ours, note="bench.txt"),
        session.repro(
            "bench", "--networks", compared, *turns, *eager,
            note="bench-eager.txt", RESNET_REPRO_GRAPH="0",
        ),
        session.python(*probe, "processes", compared.split(",")[0], note="processes.txt"),
        session.python(*probe, "profile", compared.split(",")[0], note="profile.txt"),
        session.repro(
            "bench", "--networks", others, "--no-textbook", *turns, *ours, note="bench.txt"
        ),
    ]  # fmt: skip
    # Whatever comes of it: the machine may lack what torch's compiler needs.
    compiled = ["--compile", "--no-textbook", *turns, *ours]
    session.repro("bench", "--networks", compared, *compiled, note="bench.txt")
    return next(filter(None, codes), 0)


def train(session: Session) -> int:
    """Train what is missing within the call's limit; 75 where work is left."""
    carried = session.kit / "carry"
    if (carried / transfer.MANIFEST).exists():
        print(f"continuing {len(transfer.bring(carried, session.results))} runs", flush=True)
    transfer.adopt_finished(ROOT / "results", session.results)
    budget = f"{max(session.left - RESERVE, 1):.0f}s"
    chosen = session.rest if "--preset" in session.rest else ["--preset", "paper", *session.rest]
    return session.repro(
        "run", *session.names, *chosen, "--device", session.device, "--results", session.results,
        "--time-budget", budget, "--checkpoint-every", "20s",
    )  # fmt: skip


def pack(session: Session) -> int:
    """Pack the runs that have a checkpoint, and the notes; prints what there is."""
    runs = [run for run in transfer.runs_in(session.results) if transfer.checkpoint_of(run)]
    manifest = transfer.pack(runs, session.notes, session.out)
    rows = [["run", "state", "iteration", "test %", "images/s", "packed"]]
    for run, known in manifest["runs"].items():
        error, speed = known["final_test_error"], known["images_per_second"]
        rows.append(
            [
                run,
                known["state"],
                f"{known['iteration']}/{known['iterations']}",
                "" if error is None else f"{error:.2f}",
                "" if speed is None else f"{speed:,.0f}",
                "whole" if known["checkpoint"] else "WITHOUT its checkpoint",
            ]
        )
    print(transfer.table(rows))
    parts = len(manifest["parts"])
    print(f"{session.out}: {parts} parts, {manifest['bytes'] / 2**20:.1f} MiB", flush=True)
    return 0


def unpack(session: Session) -> int:
    """Check what came back, take it into the results folder and bring that up to date."""
    results = session.results
    packed = Path(session.names[0]) if session.names else session.out
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=results) as scratch:
        fresh = Path(scratch)
        transfer.extract(packed, fresh)
        transfer.check_runs(fresh, session.answer)
        taken = transfer.merge(fresh, results)
        if (fresh / "notes").is_dir():
            shutil.copytree(fresh / "notes", session.notes, dirs_exist_ok=True)
            print(f"what was measured besides: {session.notes}")
    carry = session.kit / "carry"
    ids = {*transfer.packed_runs(packed), *transfer.packed_runs(carry)}
    known = [results / "runs" / run for run in sorted(ids)]
    unfinished = [r for r in known if transfer.checkpoint_of(r) and not transfer.progress_of(r)[0]]
    transfer.pack(unfinished, None, carry)
    print(f"{len(taken)} runs taken, {len(unfinished)} to be continued", flush=True)
    came = [transfer.summary_of(results / "runs" / run) for run in taken]
    for preset in {summary["preset"] for summary in came}:
        _update(session, preset, {summary["dataset"] for summary in came})
    session.answer("report", "--results", results)
    return session.repro("report", "--check", "--results", results)


def _update(session: Session, preset: str, datasets: set[str]) -> None:
    """Measure what a stop has left unmeasured, and write the CSVs of experiments with results.

    Only of those on these data sets: others need not be here.
    """
    to = ["--preset", preset, "--results", session.results]
    lines = json.loads(session.answer("list", "--json", *to[2:]))
    here = [e for e in lines if datasets.issuperset(e["dataset"].split(", "))]
    names = [e["experiment"] for e in here if e["preset"] == preset and e["runs_done"]]
    if "fig7" in names:  # one seed each: of finished networks nothing is trained
        runs = json.loads(session.answer("status", "fig7", "--json", *to))
        done = [transfer.summary_of(session.results / "runs" / r["run"])
                for r in runs if r["state"] == "done"]  # fmt: skip
        networks = ",".join(sorted(summary["network"] for summary in done))
        session.answer("run", "fig7", "--networks", networks, *to)
    if names:
        session.answer("run", *names, "--time-budget", NO_TIME, "--quiet", *to)


STAGES = {
    "wheels": wheels, "data-pack": data_pack, "data": data, "check": check,
    "bench": bench, "train": train, "pack": pack, "unpack": unpack,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run a stage; returns its exit code, as `resnet-repro` means it."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    own, rest = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("names", nargs="*", help="train: experiments; unpack: the folder")
    parser.add_argument("--device", default="cuda", help="cpu to rehearse")
    parser.add_argument("--quick", action="store_true", help="bench and check: tiny, to rehearse")
    parser.add_argument("--limit", type=float, default=570.0, help="seconds of this call")
    parser.add_argument("--kit", type=Path, default=ROOT / ".gpu")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(own)
    kit, at_home = chosen.kit.resolve(), chosen.stage == "unpack"
    results = chosen.results or (ROOT / "results" if at_home else kit / "results")
    out = chosen.out or Path(os.environ.get("OUT") or kit / "packed")
    session = Session(
        kit, results.resolve(), out.resolve(), chosen.device, chosen.quick, chosen.limit, rest,
        chosen.names or list(RUNS if chosen.stage == "train" else []),
    )  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if chosen.stage in ("data", "check", "bench", "train"):
            os.environ.setdefault("RESNET_REPRO_DATA", str(kit / "data"))
            if any((kit / "wheels").glob("*.whl")):
                transfer.install_wheels(kit / "wheels", kit / "site")
        try:
            return STAGES[chosen.stage](session)
        finally:
            if chosen.stage in ("check", "bench", "train"):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                pack(session)
    except KeyboardInterrupt:
        return INTERRUPTED
    except TransferError as error:
        print(f"gpu_session: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
