"""Where training runs, and in which precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from resnet_repro.base.errors import ConfigError
from resnet_repro.training import device as device_module
from resnet_repro.training import precision_speed, processes
from resnet_repro.training.device import Backend, choose_backend

CPU = torch.device("cpu")


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Two GPUs of the Ampere generation, as far as torch can tell; those that were made its own."""
    own: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", own.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    return own


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda", "no usable CUDA device"),
        ("cuda:1", "no usable CUDA device"),
        ("banana", "use auto, cpu, cuda"),
        ("cuda:-1", "use auto, cpu, cuda"),
        ("cuda:x", "use auto, cpu, cuda"),
        ("meta", "use auto, cpu, cuda"),
        ("xpu", "use auto, cpu, cuda"),
        ("", "use auto, cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there_is_a_configuration_error(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        choose_backend(name, "auto")
    assert f"--device {name}" in str(caught.value).replace("'", "")
    assert "\n" not in str(caught.value)


def test_mps_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device mps: not available here"):
        choose_backend("mps", "auto")


@pytest.mark.usefixtures("no_cuda")
def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_backend("auto", "fp32") == Backend(CPU, "fp32")


def test_auto_is_the_gpu_where_there_is_one(two_gpus: list[torch.device]) -> None:
    assert choose_backend("auto", "fp32").device.type == "cuda"
    assert choose_backend("cpu", "fp32").device == CPU
    assert choose_backend("cuda:1", "fp32").device == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="cuda:2: 2 found"):
        choose_backend("cuda:2", "fp32")
    assert two_gpus == [torch.device("cuda:1")], "else torch opens the first one as well"


def test_a_process_without_its_number_on_the_machine_takes_the_gpus_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_join", lambda _: None)
    monkeypatch.setattr(processes, "_leave", lambda: None)
    for variable, value in {"RANK": "5", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for gpus, number in ((1, 0), (4, 1), (8, 5), (0, 0)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        with processes.process_group() as group:
            assert group.local_rank == number


@pytest.mark.parametrize(
    ("features", "precision"),
    [
        ({"avx2", "avx512f"}, "fp32"),
        ({"avx512f", "avx512_bf16"}, "bf16"),
        ({"amx_bf16"}, "bf16"),
        ({"asimd", "bf16"}, "bf16"),
        (set(), "fp32"),
    ],
)
def test_a_processor_uses_bf16_where_it_multiplies_it_natively_and_faster(
    monkeypatch: pytest.MonkeyPatch, features: set[str], precision: str
) -> None:
    monkeypatch.setattr(device_module, "cpu_features", lambda: frozenset(features))
    place = precision_speed._place()
    faster = precision_speed.Rates(place=place, fp32=100, bf16=200)
    monkeypatch.setattr(device_module, "rates_here", lambda **_: faster)
    assert choose_backend("cpu", "auto").precision == precision
    assert choose_backend("cpu", "fp32").precision == "fp32"
    assert choose_backend("cpu", "bf16").precision == "bf16"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_a_gpu_uses_bf16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert choose_backend("cuda", "auto").precision == precision
    assert choose_backend("cuda", "fp32").precision == "fp32"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_the_precision_is_that_of_matrix_products(precision: str, dtype: torch.dtype) -> None:
    x = torch.ones(4, 4)
    with choose_backend("cpu", precision).autocast():
        assert (x @ x).dtype == dtype
    assert (x @ x).dtype == torch.float32


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("capability", "usable"), [((7, 0), False), ((7, 5), True), ((12, 1), True)]
)
def test_a_gpu_older_than_all_that_torch_is_built_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], usable: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90", "compute_120"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla V100")
    if usable:
        assert choose_backend("auto", "fp32").device.type == "cuda"
    else:
        with pytest.raises(ConfigError, match=r"no kernels for Tesla V100 .*7\.0.*--device cpu"):
            choose_backend("auto", "fp32")


def test_fp32_on_a_gpu_is_not_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    owners: list[Any] = [getattr(torch.backends.cudnn, "conv"), torch.backends.cuda.matmul]  # noqa: B009
    for owner in owners:
        owner.fp32_precision = "tf32"
    choose_backend("cuda", "fp32")
    assert [owner.fp32_precision for owner in owners] == ["ieee", "ieee"]
