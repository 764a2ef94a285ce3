"""Processor, cores, memory and torchrun's processes of this machine, without importing torch."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from resnet_repro.base.errors import ConfigError

__all__ = [
    "BF16_FEATURES",
    "SPOILING",
    "allowed_threads",
    "available_memory",
    "check_device",
    "cpu_features",
    "cpu_name",
    "gpu_name",
    "local_processes",
    "mps_name",
    "process_rank",
    "processor_name",
    "take_back_settings",
    "trains_together",
    "usable_cores",
]

# Processor features for bf16 arithmetic, as the kernel names them: AVX-512's, AMX's, Arm's.
BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
DRIVER = Path("/proc/driver/nvidia/gpus")
# Variables that bind OpenMP's threads to cores, then those with which fp32 is not fp32.
SPOILING = (
    *("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "NVIDIA_TF32_OVERRIDE"),
)
_CGROUPS = Path("/sys/fs/cgroup")
# Of control groups of version 2, then of version 1: controller, limit, used, and the line of
# memory.stat that counts reclaimable cache.
_MEMORY_LIMITS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_CPU_LIMITS = (  # files with microseconds of processor time, and with the microseconds in which
    ("", "cpu.max"),
    ("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
)


def check_device(device: str) -> None:
    """Check how a device is named, whether it is here or not; raises ConfigError."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", device):
        raise ConfigError(f"--device {device!r}: use auto, cpu, cuda, cuda:1 or mps")


def _cpu_info(*keys: str) -> str:
    """The value of the first line of /proc/cpuinfo with one of these keys, or an empty text."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def cpu_features() -> frozenset[str]:
    """The processor's features as the kernel names them; empty if unknown."""
    return frozenset(_cpu_info("flags", "Features").split())


def usable_cores() -> int:
    """Cores that this process may use, within a control group's limit (`docker run --cpus 2`)."""
    if hasattr(os, "sched_getaffinity"):
        return min([len(os.sched_getaffinity(0)), *_limits_of_cores()])
    return os.cpu_count() or 1


def allowed_threads(share: int) -> int:
    """The number of threads of a process with `share` cores; OMP_NUM_THREADS is the upper limit."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limit = int(wanted) if wanted.isdigit() and int(wanted) else share
    return max(1, min(share, limit))


def take_back_settings() -> None:
    """Take back `SPOILING` settings of the environment; before torch is imported.

    Where OpenMP binds threads, the main thread is left one core, and all processes that it starts
    inherit this one: loaders of photographs and a benchmark's threads would share it. Clusters have
    such settings. The others make fp32 less exact than its name says.
    """
    for variable in SPOILING:
        os.environ.pop(variable, None)


def trains_together() -> bool:
    """Whether WORLD_SIZE says that this process is one of several that train one run."""
    return os.environ.get("WORLD_SIZE", "") not in ("", "0", "1")


def process_rank() -> int:
    """This process's rank among those that torchrun started; 0 without torchrun.

    RANK and WORLD_SIZE are not enough: some clusters set them in every shell of a container.
    """
    rank = os.environ.get("RANK", "")
    started = "TORCHELASTIC_RESTART_COUNT" in os.environ and trains_together()
    return int(rank) if started and rank.isascii() and rank.isdecimal() else 0


def processor_name() -> str:
    """The processor's name: `AMD EPYC 7763`, `AMD EPYC family 25 model 1`.

    Virtual machines often hide the product's number; generations differ in speed and instructions.
    """
    name = _cpu_info("model name") or platform.processor() or platform.machine()
    if part := _cpu_info("CPU part"):  # of Arm's, which have no names there
        return f"{name} implementer {_cpu_info('CPU implementer')} part {part}"
    family, model = _cpu_info("cpu family"), _cpu_info("model")
    product, _, _ = name.partition("@")  # behind it is the clock
    hidden = family and model and not any(character.isdigit() for character in product)
    return f"{name} family {family} model {model}" if hidden else name


def cpu_name() -> str:
    """The processor's name and number of usable cores: `AMD EPYC 7763 (2 cores)`."""
    cores = usable_cores()
    return f"{processor_name()} ({cores} core{'s' if cores > 1 else ''})"


def mps_name() -> str:
    """What stands for an Apple GPU, whose own name torch does not tell: `arm GPU`."""
    return f"{processor_name()} GPU"


def gpu_name() -> str | None:
    """The first NVIDIA GPU's name as its driver lists it; None if torch is to see none.

    Only torch knows whether the driver is new enough for it.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    for path in sorted(DRIVER.glob("*/information")):
        if metadata.version("torch").endswith("+cpu"):
            return None
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("Model:"):
                    return line.partition(":")[2].strip()
        except OSError:
            continue
    return None


def available_memory() -> int | None:
    """Bytes usable without swapping, within limits of containers and jobs; None if unknown."""
    known = [*_system_memory(), *_limits_of_memory()]
    return max(0, min(known)) if known else None


def local_processes() -> int:
    """How many training processes torchrun started on this machine; 1 without it."""
    count = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(count)) if count.isdecimal() else 1


def _system_memory() -> Iterator[int]:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
                return
    except (OSError, ValueError):
        pass
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):
        return


def _control_groups(controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of those around it; of version 2 if "".

    A container sees its own as the outermost; Slurm's and systemd's are further in.
    """
    yield _CGROUPS / controller
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for _, names, path in (line.split(":", 2) for line in lines):
        if controller in names.split(","):
            own = PurePosixPath(path.lstrip("/"))
            yield from (_CGROUPS / controller / each for each in (own, *own.parents))


def _limits_of_cores() -> Iterator[int]:
    for controller, *files in _CPU_LIMITS:
        for folder in _control_groups(controller):
            try:
                words = " ".join((folder / file).read_text(encoding="utf-8") for file in files)
                time, every = map(int, words.split())
            except (OSError, ValueError):  # "max 100000" is no limit
                continue
            if time > 0:  # -1 is none either
                yield max(1, math.ceil(time / every))


def _limits_of_memory() -> Iterator[int]:
    for controller, limit, used, cache in _MEMORY_LIMITS:
        for folder in _control_groups(controller):
            try:
                left = int((folder / limit).read_text(encoding="utf-8")) - int(
                    (folder / used).read_text(encoding="utf-8")
                )
                lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError):  # "max" is no limit
                continue
            yield left + sum(int(line.split()[1]) for line in lines if line.startswith(f"{cache} "))
