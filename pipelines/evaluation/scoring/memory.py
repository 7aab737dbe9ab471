"""The most memory that this process has used since a moment, from /proc (Linux 4.0 and later)."""

from pathlib import Path

_RESET_PEAK = "5"  # what clear_refs takes for "forget the peak of resident memory" (man 5 proc)


def reset_peak() -> None:
    """Begin anew: the peak is what is used now."""
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)


def peak_mib() -> float:
    """The peak of resident memory since, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
