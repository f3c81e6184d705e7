"""Format sizes, costs, durations and counts for people."""

from __future__ import annotations


def size(size_bytes: float) -> str:
    """Format a size: ``512 B``, ``3.4 kB``, ``12.0 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000 or unit == "GB":
            break
        size_bytes /= 1000
    return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"


def cost(value: float | None) -> str:
    """Format US dollars; small amounts keep their digits."""
    if value is None:
        return ""
    return f"${value:,.2f}" if value >= 100 else f"${value:.4f}" if value >= 0.01 or value == 0 else f"${value:.2g}"


def duration(ns: float) -> str:
    """Format a duration: ``840 µs``, ``12.3 ms``, ``4.21 s``, ``3m12s``, ``9h05m``, ``3d04h``."""
    if ns < 1_000_000:
        return f"{ns / 1000:.0f} µs"
    if ns < 1_000_000_000:
        return f"{ns / 1_000_000:.1f} ms"
    seconds = ns / 1_000_000_000
    if seconds < 120:
        return f"{seconds:.2f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes}m{int(seconds % 60):02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes < 2880 else f"{minutes // 1440}d{minutes // 60 % 24:02d}h"


def count(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


def of_traces(number: int) -> str:
    """Return ``1 trace`` or ``2 traces``."""
    return "1 trace" if number == 1 else f"{number:,} traces"
