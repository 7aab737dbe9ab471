"""What a piece of work adds to the memory of this process at its peak; Linux only, and a GPU's where there is one."""

import ctypes
from collections.abc import Callable

import torch

from pipelines.common import process_memory
from pipelines.common.process_memory import reset_peak, status_kib


def added_mib(work: Callable[[], object], on_gpu: bool = False) -> float | None:
    """MiB that a second run of `work` needs on top of what is held before it; None where the system does not tell."""
    work()  # libraries keep some for themselves after a first run
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not process_memory.CLEAR.exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps would hide what the work needs
    reset_peak()
    held = status_kib("VmRSS")
    work()
    return process_memory.peak_mib() - held / 1024


def peak_mib(on_gpu: bool = False) -> float | None:
    """The most MiB that this process has held so far, on the GPU or in all; None where the system does not tell."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 2**20
    return process_memory.peak_mib() if process_memory.STATUS.exists() else None
