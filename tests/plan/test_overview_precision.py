"""Estimates where the same network was measured in both precisions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_up_origin import provenance_of, summary_of

from resnet_repro.base import machine
from resnet_repro.base.machine import cpu_name
from resnet_repro.networks.outline import outline
from resnet_repro.plan.estimator import Estimator
from resnet_repro.plan.overview import plan_runs
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.store.store import Store
from resnet_repro.training.device import hardware_name

SPEEDS = {("resnet-20", "fp32"): 575, ("resnet-20", "bf16"): 362, ("resnet-56", "bf16"): 96}


@pytest.fixture
def estimator(tmp_path: Path) -> Estimator:
    """One that knows of a machine on which fp32 is faster."""
    lines = ["hardware,device,precision,network,crop,images_per_second"]
    lines += [f"{cpu_name()},cpu,{p},{n},,{speed}" for (n, p), speed in SPEEDS.items()]
    store = Store(tmp_path)
    store.csv_path("bench").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Estimator(store, "cpu")


def test_an_apple_gpu_is_not_the_processor_beside_it(tmp_path: Path) -> None:
    store, speeds = Store(tmp_path), {"cpu": 100.0, "mps": 900.0}
    lines = ["hardware,device,precision,network,crop,images_per_second"]
    for device, speed in speeds.items():
        lines.append(f"{hardware_name(torch.device(device))},{device},fp32,resnet-20,,{speed}")
    store.csv_path("bench").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for device, speed in speeds.items():
        assert Estimator(store, device).images_per_second("resnet-20") == speed


@pytest.mark.parametrize(
    ("visible", "torch_version", "used"),
    [
        (None, "2.11.0", True),
        ("0", "2.11.0+cu130", True),
        ("", "2.11.0", False),
        ("-1", "2.11.0", False),
        (None, "2.11.0+cpu", False),
    ],
)
def test_a_gpu_that_torch_does_not_see_is_not_the_one_that_trains(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    torch_version: str,
    used: bool,
) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    listed = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 65\n"
    (tmp_path / "0000:01:00.0" / "information").write_text(listed, encoding="utf-8")
    monkeypatch.setattr(machine, "DRIVER", tmp_path)
    monkeypatch.setattr(machine.metadata, "version", lambda name: torch_version)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = Estimator(Store(tmp_path / "results"))
    assert found.hardware == ("NVIDIA H100 80GB HBM3" if used else cpu_name())


def test_auto_is_estimated_at_the_faster_one(estimator: Estimator) -> None:
    assert estimator.images_per_second("resnet-20") == 575
    assert estimator.images_per_second("resnet-20", precision="fp32") == 575
    assert estimator.images_per_second("resnet-20", precision="bf16") == 362


def test_another_network_is_estimated_from_speeds_in_its_precision(estimator: Estimator) -> None:
    ratio = outline("resnet-20").multiply_adds / outline("resnet-56").multiply_adds
    assert estimator.images_per_second("resnet-56") == 96, "measured itself"
    found = estimator.images_per_second("resnet-56", precision="fp32")
    assert found == pytest.approx(575 * ratio)
    to_32 = outline("resnet-20").multiply_adds / outline("resnet-32").multiply_adds
    assert estimator.images_per_second("resnet-32") == pytest.approx(575 * to_32)


def test_a_run_is_estimated_in_the_precision_that_it_asks_for(estimator: Estimator) -> None:
    def seconds(precision: str | None) -> float:
        choices = Choices(networks=["resnet-20"], precision=precision)  # type: ignore[arg-type]
        (run, *_) = load_experiment("fig6", choices=choices).resolve()
        return estimator.seconds(run)

    assert seconds(None) == seconds("fp32")
    assert seconds("bf16") / seconds("fp32") == pytest.approx(575 / 362)


def test_a_run_is_estimated_in_the_precision_in_which_it_was_begun(
    estimator: Estimator, tmp_path: Path
) -> None:
    store, choices = Store(tmp_path), Choices(preset="short", networks=["resnet-20"])
    (run,) = load_experiment("table6", choices=choices).resolve()
    begun = provenance_of("2026-01-01T00:00:00Z", precision="bf16")
    store.folder(run).write_config(run)
    summary = summary_of(run, state="stopped", iteration=7, parameters=9, provenance=begun)
    store.folder(run).write_summary(summary)
    store.folder(run).checkpoint.write_bytes(b"")
    (line,) = plan_runs(store, [run], estimator, force=False)
    (again,) = plan_runs(store, [run], estimator, force=True)
    assert line.seconds_left == pytest.approx(again.seconds_left * 575 / 362, rel=0.01)


def test_precision_goes_before_threads_and_of_a_gpu_threads_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_repro.plan.estimator.usable_cores", lambda: 2)
    monkeypatch.setattr("resnet_repro.plan.estimator.gpu_name", lambda: "NVIDIA H200")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    lines = ["hardware,precision,threads,network,crop,images_per_second"]
    lines += [f"{cpu_name()},bf16,2,resnet-20,,1000", f"{cpu_name()},fp32,1,resnet-20,,362"]
    lines += ["NVIDIA H200,bf16,16,resnet-20,,20000", "NVIDIA H200,bf16,4,resnet-56,,9000"]
    store = Store(tmp_path)
    store.csv_path("bench").write_text("\n".join(lines) + "\n", encoding="utf-8")
    choices = Choices(networks=["resnet-20"], precision="fp32")
    (run, *_) = load_experiment("fig6", choices=choices).resolve()
    estimator = Estimator(store, "cpu")
    assert estimator.images_per_second("resnet-20", precision="fp32") == 362
    assert estimator.doubt(run) is None
    assert Estimator(store).images_per_second("resnet-56") == 9_000


@pytest.mark.parametrize(
    ("threads", "speed"), [(1, 600.0), (2, 1_000.0), (3, 1_000.0), (8, 3_000.0), (16, 3_000.0)]
)
def test_speeds_of_the_nearest_number_of_threads_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, speed: float
) -> None:
    monkeypatch.setattr("resnet_repro.plan.estimator.usable_cores", lambda: 16)
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    lines = ["hardware,precision,threads,network,crop,images_per_second"]
    for known, images in ((8, 3_000), (1, 600), (2, 1_000)):
        lines.append(f"{cpu_name()},bf16,{known},resnet-20,,{images}")
    store = Store(tmp_path)
    store.csv_path("bench").write_text("\n".join(lines) + "\n", encoding="utf-8")
    estimator = Estimator(store, "cpu")
    assert estimator.images_per_second("resnet-20") == speed
    ratio = outline("resnet-20").multiply_adds / outline("resnet-56").multiply_adds
    assert estimator.images_per_second("resnet-56") == pytest.approx(speed * ratio)
