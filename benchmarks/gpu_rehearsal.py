"""Rehearse a session on a borrowed GPU on this CPU: killed at random, continued, brought home.

    PYTHON_OF_THE_OTHER_MACHINE benchmarks/gpu_rehearsal.py [--seed 1]

Every call of `gpu_session.py` is made in a copy of the committed files without `.git`, without
network where `unshare` can take it away, by the Python that runs this, with the wheels of `.gpu/`.
Two small networks are trained: once in peace, and once by calls that are killed (SIGKILL) or asked
to end (SIGTERM) at random moments, each pair on a new machine that has only what is carried. Ends
with 0 where both give the same curves and everything that travelled is within the limits.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from gpu_transfer import ROOT, adopt_finished, install_wheels

FILES_BACK, BYTES_BACK, BYTES_THERE = 8, 16 << 20, 64 << 20  # number; of a file; of a load
PATIENCE = 3600  # seconds for `check` and `bench`, which are for a GPU, on a busy processor
SESSIONS = 8  # after which a training that is killed twice in each should have ended
EXPERIMENT = """
name: rehearsal
title: Two small networks
dataset: synthetic
preset: demo
precision: fp32
recipe: {iterations: 60, batch_size: 64, milestones: [40], evaluate_every: 10}
runs: [{networks: [resnet-8, plain-8]}]
table: {kind: errors}
"""


class Rehearsal:
    """The home, and machines that come and go, in one scratch folder."""

    def __init__(self, scratch: Path, seed: int) -> None:
        self.scratch, self.random = scratch, random.Random(seed)
        self.experiment = scratch / "rehearsal.yaml"
        self.experiment.write_text(EXPERIMENT, encoding="utf-8")
        self.home, self.results = self.copy("home"), scratch / "results"
        wheels = ROOT / ".gpu" / "wheels"
        if not wheels.exists():
            raise SystemExit("no .gpu/wheels: `gpu_session.py wheels` fetches them")
        shutil.copytree(wheels, self.home / ".gpu" / "wheels")
        install_wheels(wheels, self.home / ".gpu" / "site")  # at home everything is installed

    def copy(self, name: str) -> Path:
        """The committed files, as they arrive on another machine."""
        target = self.scratch / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", "HEAD"], check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "x", "-C", str(target)], check=True, input=archive.stdout)
        return target

    def machine(self, name: str) -> Path:
        """A new machine with what is carried to it: wheels, and runs to go on with.

        What is finished comes with the checkout, as runs do that were committed.
        """
        target = self.copy(name)
        adopt_finished(self.results, target / "results")
        for load in ("wheels", "carry"):
            if (self.home / ".gpu" / load).exists():
                shutil.copytree(self.home / ".gpu" / load, target / ".gpu" / load)
        within(target / ".gpu", BYTES_THERE)
        return target

    def call(
        self, place: Path, *words: object, end: signal.Signals | None = None, after: float = 0.0
    ) -> int:
        """A call of the kit, which gets a signal after so many seconds; returns its exit code."""
        known = {"RESNET_REPRO_DATA": str(self.scratch / "data"), "OMP_NUM_THREADS": "1"}
        kept = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "OUT")}
        kit = [sys.executable, "benchmarks/gpu_session.py", *map(str, words)]
        process = subprocess.Popen(
            [*without_network(), *kit], cwd=place, env=kept | known, start_new_session=True
        )
        if end is not None:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                print(f"-- {end.name} after {after:.1f} s", flush=True)
                # What ends the call ends all of it; a request is for the kit, which passes it on.
                deliver = os.killpg if end is signal.SIGKILL else os.kill
                deliver(process.pid, end)
        code = process.wait()
        print(f"-- {words[0]}: exit code {code}", flush=True)
        return code

    def train(self, place: Path, end: signal.Signals | None = None, after: float = 0.0) -> int:
        """Train what is missing on a machine."""
        words = ["train", self.experiment, "--device", "cpu", "--", "--preset", "demo"]
        return self.call(place, *words, end=end, after=after)

    def unpack(self, place: Path) -> int:
        """Bring home what a machine packed."""
        packed = place / ".gpu" / "packed"
        files = list(packed.iterdir())
        if len(files) > FILES_BACK:
            raise SystemExit(f"{packed}: {len(files)} files are more than come back")
        for file in files:
            within(file, BYTES_BACK)
        return self.call(self.home, "unpack", packed, "--results", self.results)

    def curves(self, results: Path) -> dict[str, list[str]]:
        """Each run's curve without its clock."""
        found = sorted(results.glob("runs/*-8-synthetic-*/curve.csv"))
        lines = {path.parent.name: path.read_text(encoding="utf-8").splitlines() for path in found}
        return {run: [line.rpartition(",")[0] for line in curve] for run, curve in lines.items()}


def within(path: Path, most: int) -> None:
    """Refuse what is larger than may travel."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    if (size := sum(file.stat().st_size for file in files)) > most:
        raise SystemExit(f"{path}: {size / 2**20:.1f} MiB are more than can be carried")


def without_network() -> list[str]:
    """How to run a command without network, where this system lets us."""
    command = ["unshare", "-n"]
    if shutil.which("unshare"):
        tried = subprocess.run([*command, "true"], stderr=subprocess.DEVNULL)
        if tried.returncode == 0:
            return command
    print("-- with network: unshare -n is not permitted here", flush=True)
    return []


def rehearse(scratch: Path, seed: int) -> bool:
    """All stages; whether the curves are the same."""
    stage = Rehearsal(scratch, seed)
    whole = stage.machine("whole")
    began = time.monotonic()
    if stage.train(whole):
        raise SystemExit("the training in peace failed")
    needed = time.monotonic() - began
    print(f"-- in peace: {needed:.0f} s", flush=True)

    def moment() -> float:
        return stage.random.uniform(0.15, 0.6) * needed

    for name in ("check", "bench"):
        words = (name, "--device", "cpu", "--quick", "--limit", PATIENCE)
        stage.call(whole, *words, end=signal.SIGTERM, after=moment())
        if stage.call(whole, *words):
            raise SystemExit(f"{name} failed")
    for session in range(SESSIONS):
        place = stage.machine(f"machine-{session}")
        stage.train(place, signal.SIGKILL, moment())
        code = stage.train(place, signal.SIGTERM, moment())
        stage.call(place, "pack")  # SIGTERM may come before the kit can take it
        if stage.unpack(place):
            raise SystemExit("unpack failed")
        shutil.rmtree(place)
        if code == 0:
            break
    ours, theirs = stage.curves(stage.results), stage.curves(whole / ".gpu" / "results")
    for run, curve in theirs.items():
        found = ours.get(run, [])
        so_far = found == curve[: len(found)]
        word = ("the same" if found == curve else "NOT FINISHED") if so_far else "ANOTHER CURVE"
        print(f"{run}: {word}: {curve[-1]}")
    return len(theirs) == 2 and ours == theirs


def main() -> int:
    """Parse the command line and rehearse."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which calls end")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpu-rehearsal-") as scratch:
        return 0 if rehearse(Path(scratch), chosen.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
