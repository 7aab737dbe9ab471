"""What the kernel counts of this process's memory, from /proc: Linux alone."""

from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # what clear_refs takes for "forget the peak of resident memory" (man 5 proc)


def reset_peak() -> None:
    """Count the peak anew: it is what is held now."""
    CLEAR.write_text(_RESET_PEAK)


def peak_mib() -> float:
    """The most resident memory since the process began, or since `reset_peak`, in MiB."""
    return status_kib("VmHWM") / 1024


def status_kib(name: str) -> int:
    """A line of the process's status, such as VmRSS, in KiB."""
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
