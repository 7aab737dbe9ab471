"""What a piece of work adds to the memory of this process at its peak; Linux only, and a GPU's where there is one."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def added_mib(work: Callable[[], object], on_gpu: bool = False) -> float | None:
    """MiB that a second run of `work` needs on top of what is held before it; None where the system does not tell."""
    work()  # libraries keep some for themselves after a first run
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not _CLEAR.exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps would hide what the work needs
    _CLEAR.write_text("5")  # the peak is counted anew
    held = _kib("VmRSS")
    work()
    return (_kib("VmHWM") - held) / 1024


def peak_mib(on_gpu: bool = False) -> float | None:
    """The most MiB that this process has held so far, on the GPU or in all; None where the system does not tell."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 2**20
    return _kib("VmHWM") / 1024 if _STATUS.exists() else None


def _kib(name: str) -> int:
    """A line of this process's status."""
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
