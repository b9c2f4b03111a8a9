"""The core under AddressSanitizer and UndefinedBehaviorSanitizer: proofs, ceremonies, and damaged files of every kind.

The portable path only, whose compilation takes seconds; `UNVETO_SANITIZE_ALL=1` compiles and tests every path of the
machine, which takes minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proving.build import cache_dir
from tests.support.tools import ROOT, is_ci

FLAGS = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all"
SEEDS = 40


def _library(name: str) -> str:
    try:
        done = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    path = done.stdout.strip()
    return path if os.path.isabs(path) and Path(path).exists() else ""


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Of a child whose core is compiled with sanitizers, in a cache of its own, and preloaded with their run-time."""
    preload = [_library("libasan.so"), _library("libstdc++.so")]
    if not all(preload):
        if is_ci() and sys.platform == "linux" and _library("libstdc++.so"):
            pytest.fail("g++ is here and libasan is not", pytrace=False)
        pytest.skip("needs g++ with libasan")
    every_path = bool(os.environ.get("UNVETO_SANITIZE_ALL"))
    environment = {
        **os.environ,
        "CXX": "g++",
        "UNVETO_CXXFLAGS": FLAGS + ("" if every_path else " -DUNVETO_PORTABLE_ONLY"),
        "UNVETO_CACHE": str(cache_dir() / "sanitized"),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    build = "from proving.build import build; build(print)"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, env=environment, check=True, timeout=280)
    return environment | {"LD_PRELOAD": " ".join(preload)}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.support.sanitized", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280
    )  # fmt: skip


def test_the_sanitizer_sees_a_read_past_a_buffer(environment: dict[str, str]) -> None:
    done = run(environment, "overrun")

    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr


@pytest.mark.parametrize("arguments", [("proof",), ("damage", "0", str(SEEDS))], ids=lambda a: a[0])
def test_nothing_is_reported(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    done = run(environment, *arguments)

    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr[-4000:]


@pytest.mark.campaign
@pytest.mark.parametrize("part", range(10))
def test_long_campaign(environment: dict[str, str], part: int) -> None:
    """UNVETO_SANITIZE_ALL=1 python -m pytest -m campaign tests/integration/proving/test_sanitized.py"""
    done = run(environment, "damage", str((1 + part) << 40), "400")

    assert done.returncode == 0, done.stderr[-4000:]
