"""`--precision auto` is the faster one: measured once for a machine, and the same for all."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import Quiet

from resnet_repro.base.stop import StopFlag
from resnet_repro.launch import side_by_side
from resnet_repro.launch.side_by_side import train_side_by_side
from resnet_repro.launch.worker import Ended, Order
from resnet_repro.runner import together
from resnet_repro.runner.options import Options
from resnet_repro.runner.runner import Runner
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.run import Resolved, Run
from resnet_repro.store.store import Store
from resnet_repro.training import device as device_module
from resnet_repro.training import precision_speed
from resnet_repro.training.device import auto_precision, choose_backend

CPU = torch.device("cpu")
INTEL = {"fp32": 575.0, "bf16": 362.0}  # as ResNet-20 was measured on two processors
EPYC = {"fp32": 349.0, "bf16": 565.0}
RECIPE = {"iterations": 4, "milestones": [], "batch_size": 4, "evaluate_every": 4}


class Measuring:
    """In place of the measurement: gives what it is set to, and counts."""

    def __init__(self) -> None:
        self.result: dict[str, float] | Exception = dict(EPYC)
        self.times, self.seconds = 0, 0.0

    def __call__(self) -> dict[str, float]:
        self.times += 1
        time.sleep(self.seconds)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measuring:
    """A processor with instructions for bf16, nothing known of it, and an empty cache folder."""
    made = Measuring()
    monkeypatch.setattr(precision_speed, "measure_rates", made)
    monkeypatch.setattr(device_module, "cpu_features", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setenv("RESNET_REPRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(precision_speed, "_known", {})
    return made


@pytest.fixture
def another_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what this process knows, as one that has just started."""
    return lambda: monkeypatch.setattr(precision_speed, "_known", {})


def answer_file(folder: Path) -> Path:
    (path,) = folder.glob("precision-*.json")
    return path


@pytest.mark.parametrize(
    ("speeds", "precision"),
    [(EPYC, "bf16"), (INTEL, "fp32"), ({"fp32": 100.0, "bf16": 103.0}, "fp32")],
)
def test_auto_is_the_faster_one(
    measuring: Measuring, speeds: dict[str, float], precision: str
) -> None:
    measuring.result = speeds
    assert choose_backend("cpu", "auto").precision == precision
    assert {choose_backend("cpu", p).precision for p in ("fp32", "bf16")} == {"fp32", "bf16"}
    text = str(auto_precision(CPU))
    assert text.startswith(f"auto is {precision}: ")
    assert all(f"{speed:.0f}" in text for speed in speeds.values())


def test_nothing_is_measured_where_there_is_no_choice(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring.result = AssertionError("measured")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    assert auto_precision(torch.device("cuda")).precision == "bf16"
    assert auto_precision(torch.device("mps")).precision == "fp32"
    monkeypatch.setattr(device_module, "cpu_features", lambda: frozenset({"avx512f"}))
    assert auto_precision(CPU).precision == "fp32"
    assert choose_backend("cpu", "bf16").precision == "bf16"


def test_a_processor_that_cannot_train_in_bf16_trains_in_fp32(
    measuring: Measuring, tmp_path: Path
) -> None:
    measuring.result = RuntimeError("mkldnn_bf16_convolution: not supported here")
    assert choose_backend("cpu", "auto").precision == "fp32"
    assert not list((tmp_path / "cache").glob("*.json"))


def test_the_measurement_is_of_training_and_disturbs_nothing() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        speeds = precision_speed.measure_rates()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(speeds) == {"fp32", "bf16"}
    assert min(speeds.values()) > 0


def test_the_fastest_iteration_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = 0.0
    spent = {"fp32": iter([9.0, 2.0, 4.0, 8.0, 9.0]), "bf16": iter([7.0, 5.0, 1.0, 9.0, 9.0])}

    def step_of(precision: str) -> Callable[[], None]:
        def step() -> None:
            nonlocal clock
            order.append(precision)
            clock += next(spent[precision])

        return step

    monkeypatch.setattr(precision_speed, "_training_step", step_of)
    monkeypatch.setattr(precision_speed.time, "thread_time", lambda: clock)
    assert precision_speed.measure_rates() == {
        "fp32": precision_speed.BATCH / 2,
        "bf16": precision_speed.BATCH / 1,
    }
    assert order == ["fp32", "bf16"] * precision_speed.ROUNDS, "in turns"


def test_it_is_measured_once_for_a_machine(
    measuring: Measuring,
    another_process: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert choose_backend("cpu", "auto") == choose_backend("cpu", "auto")
    another_process()
    assert choose_backend("cpu", "auto").precision == "bf16"
    assert measuring.times == 1
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".json", ".lock"}

    measuring.result = INTEL
    assert auto_precision(CPU, anew=True).precision == "fp32"
    assert choose_backend("cpu", "auto").precision == "fp32"
    another_process()
    assert choose_backend("cpu", "auto").precision == "fp32"
    assert measuring.times == 2

    monkeypatch.setattr(precision_speed, "processor_name", lambda: "Another processor")
    choose_backend("cpu", "auto")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    choose_backend("cpu", "auto")
    monkeypatch.setattr(torch, "__version__", "99.0")
    choose_backend("cpu", "auto")
    assert measuring.times == 5, "whatever it depends on"


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04", b"[" * 200_000, b"null", "place"])
def test_a_damaged_or_foreign_answer_is_measured_anew(
    measuring: Measuring,
    another_process: Callable[[], None],
    tmp_path: Path,
    content: bytes | str,
) -> None:
    choose_backend("cpu", "auto")
    path = answer_file(tmp_path / "cache")
    if isinstance(content, str):
        content = path.read_bytes().replace(b'"limits": ""', b'"limits": "another machine"')
    path.write_bytes(content)
    another_process()
    measuring.result = INTEL
    assert choose_backend("cpu", "auto").precision == "fp32"
    another_process()
    assert choose_backend("cpu", "auto").precision == "fp32"
    assert measuring.times == 2, "the new answer is kept in its place"


@pytest.mark.parametrize("speed", ["Infinity", "NaN", "-5", "0", '"fast"'])
def test_speeds_that_cannot_be_are_not_believed(
    measuring: Measuring, another_process: Callable[[], None], tmp_path: Path, speed: str
) -> None:
    choose_backend("cpu", "auto")
    path = answer_file(tmp_path / "cache")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("565.0", speed), encoding="utf-8")
    another_process()
    assert choose_backend("cpu", "auto").precision == "bf16"
    assert measuring.times == 2


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_left_alone(
    measuring: Measuring, another_process: Callable[[], None], tmp_path: Path, kind: str
) -> None:
    choose_backend("cpu", "auto")
    path = answer_file(tmp_path / "cache")
    path.unlink()
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    another_process()
    assert choose_backend("cpu", "auto").precision == "bf16"
    assert not list((tmp_path / "cache").glob("*.part"))


def test_where_nothing_can_be_kept_it_is_measured_by_each_process(
    measuring: Measuring,
    another_process: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RESNET_REPRO_CACHE", str(tmp_path / "file" / "in a file"))
    for _ in range(2):
        assert choose_backend("cpu", "auto").precision == "bf16"
    assert measuring.times == 1, "a process knows what it has measured"
    another_process()
    assert choose_backend("cpu", "auto").precision == "bf16"
    assert measuring.times == 2


def test_without_a_home_nothing_is_kept(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RESNET_REPRO_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert precision_speed.cache_folder() is None
    assert choose_backend("cpu", "auto").precision == "bf16"
    assert not list(tmp_path.iterdir()), "no home is made either"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("unknown")))
    assert precision_speed.cache_folder() is None


def test_where_the_answer_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RESNET_REPRO_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert precision_speed.cache_folder() == tmp_path / ".cache" / "resnet-repro"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert precision_speed.cache_folder() == tmp_path / ".cache" / "resnet-repro"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert precision_speed.cache_folder() == tmp_path / "xdg" / "resnet-repro"
    monkeypatch.setenv("RESNET_REPRO_CACHE", str(tmp_path / "own"))
    assert precision_speed.cache_folder() == tmp_path / "own"


def test_one_measures_while_the_others_wait_for_its_answer(measuring: Measuring) -> None:
    measuring.seconds = 0.3
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(choose_backend("cpu", "auto").precision))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["bf16"] * 4
    assert measuring.times == 1


def made_run(**more: Any) -> Run:
    fields = {"network": "resnet-8", "dataset": "synthetic", "seed": 0, "recipe": RECIPE}
    return Run.model_validate(fields | more)


def test_a_run_goes_on_in_the_precision_that_it_was_begun_in(
    measuring: Measuring, small: Any, tmp_path: Path, another_process: Callable[[], None]
) -> None:
    run, store = made_run(), Store(tmp_path / "results")
    assert run.precision == "auto"

    def train(told: Any) -> Any:
        runner = Runner(store, Options(data_dir=tmp_path, device="cpu"), told, told)
        runner.sources.datasets["synthetic"] = small
        return runner.run_all([run])[run.id]

    def first() -> None:
        """Stop when the first iteration is made."""
        for asked in range(1, 60):
            assert train(Quiet(asked)) == "stopped"
            summary = store.get(run).summary
            if summary and summary.iteration:
                assert summary.provenance.precision == "bf16"
                return
        raise AssertionError("never got on")

    first()
    another_process()
    measuring.result = INTEL
    assert auto_precision(CPU, anew=True).precision == "fp32"
    told = Quiet()
    assert train(told) == "done"
    assert f"{run.id} was begun in bf16 and continues in bf16" in told.notes
    summary = store.get(run).summary
    assert summary is not None
    assert summary.iteration == RECIPE["iterations"]
    assert summary.provenance.precision == "bf16"
    assert {session.precision for session in summary.provenance.trained_by} == {"bf16"}


def test_the_first_of_several_processes_decides(
    measuring: Measuring, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring.result = AssertionError("another process than the first one measures")
    told: Any = Quiet()
    sources = Sources(Options(data_dir=tmp_path, device="cpu"), told)
    sources.datasets["synthetic"] = small
    trained: list[Resolved] = []
    train = together.Trainer.train

    def watched(self: Any, hooks: Any) -> bool:
        trained.append(self.backend.precision)
        return train(self, hooks)

    monkeypatch.setattr(together.Trainer, "train", watched)
    for precision in ("fp32", "bf16"):
        together.TrainTask(made_run(), precision, None).work(sources)
    assert trained == ["fp32", "bf16"]


@pytest.mark.parametrize(("asked", "answer"), [("auto", "bf16"), ("fp32", None)])
def test_who_starts_jobs_decides_for_all_of_them(
    measuring: Measuring,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    asked: str,
    answer: str | None,
) -> None:
    class Process:
        def __init__(self, order: str, *_: Any, **__: Any) -> None:
            given.append(Order.from_json(order).options.auto_precision)

        def poll(self) -> Ended:
            return Ended(0)

        def close(self) -> None: ...

    given: list[str | None] = []
    monkeypatch.setattr(side_by_side, "RunProcess", Process)
    told: Any = Quiet()
    options = Options(data_dir=tmp_path, device="cpu")
    runs = [made_run(precision=asked, seed=seed) for seed in (0, 1)]
    train_side_by_side(2, Runner(Store(tmp_path), options, told, told), runs)
    assert given == [answer] * 2
    assert measuring.times == (asked == "auto")


def test_a_worker_does_as_it_was_told(measuring: Measuring, tmp_path: Path) -> None:
    measuring.result = AssertionError("a worker measures")
    options = Options(data_dir=tmp_path, device="cpu", auto_precision="bf16")
    order = Order(run=made_run(), results=tmp_path, options=options)
    read = Order.from_json(order.to_json())
    assert read.run.precision == "auto", "what was asked for stays as it is"
    sources = Sources(read.options, StopFlag())
    assert sources.backend("auto").precision == "bf16"
    assert sources.backend("fp32").precision == "fp32", "as the run asks"
    told_fp32 = Sources(replace(options, auto_precision="fp32"), StopFlag())
    assert told_fp32.backend("auto").precision == "fp32"
