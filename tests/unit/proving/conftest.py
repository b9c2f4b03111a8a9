"""Every test that takes `options` runs on each instruction-set path of this machine."""

from __future__ import annotations

import pytest

from proving.native import CpuPath, Options, load


@pytest.fixture(params=[CpuPath.PORTABLE, CpuPath.ADX], ids=lambda path: path.name.lower())
def options(request: pytest.FixtureRequest) -> Options:
    if request.param not in load().cpu_paths():
        pytest.skip(f"this machine has no {request.param.name.lower()} path")
    return Options(cpu_path=request.param, threads=2)
