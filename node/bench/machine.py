"""What a figure was measured on: a time without its machine says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from proving.native import CpuPath, Options, chosen_path, load

FEATURES: Final = ("bmi2", "adx", "avx2", "avx512f", "avx512ifma")
"""What the core's paths are made of."""


def machine() -> dict[str, object]:
    """CPU, memory, system and load of this machine."""
    model, flags = _cpu()
    return {
        "cpu": model,
        "features": [name for name in FEATURES if name in flags],
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def cpu_path() -> str:
    """Name of the instruction-set path that the core takes here."""
    chosen = chosen_path(Options())
    return (load().cpu_paths()[-1] if chosen is CpuPath.BEST else chosen).name.lower()


def release() -> dict[str, object]:
    """Version of the package, and the commit if it runs from a checkout."""
    try:
        number = version("unveto")
    except PackageNotFoundError:
        number = "from source"
    return {"version": number, "commit": _commit()}


def _cpu() -> tuple[str, frozenset[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    return found.get("model name", platform.machine()), frozenset(found.get("flags", "").split())


def _commit() -> str | None:
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
