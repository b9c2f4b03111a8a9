"""Finding nvcc and building once, with small scripts in the place of compilers; and the real one where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from proving import cuda, errors
from proving.build_cuda import UNITS, build, built_libraries, find_nvcc, local_architectures, main

COUNTING = """#!/bin/sh
if [ "$1" = --version ]; then echo "nvcc: a script"; echo "Build 1"; exit 0; fi
echo "$@" >> "$COMPILE_LOG"
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""
FAILING = """#!/bin/sh
if [ "$1" = --version ]; then echo "Build 1"; exit 0; fi
echo "no such instruction"
exit 1
"""


@pytest.fixture
def nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to put the program that stands for nvcc, with an empty cache."""
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COMPILE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("UNVETO_NVCC", str(tmp_path / "nvcc"))
    return tmp_path / "nvcc"


def install(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


def test_the_first_build_compiles_every_unit_and_the_second_none(nvcc: Path, tmp_path: Path) -> None:
    install(nvcc, COUNTING)
    notices: list[str] = []

    first, second = build(("90",), notices.append), build(("90",), notices.append)

    lines = (tmp_path / "log").read_text().splitlines()
    assert first == second == built_libraries()[0]
    assert len(lines) == len(UNITS) + 1
    assert all("-gencode=arch=compute_90,code=sm_90" in line for line in lines)
    assert len(notices) == 1 and "sm_90" in notices[0]
    assert sorted(path.name for path in first.parent.iterdir()) == ["build.lock", first.name]


def test_other_architectures_give_another_file(nvcc: Path) -> None:
    install(nvcc, COUNTING)

    assert build(("90",)) != build(("80", "90"))
    assert len(built_libraries()) == 2


def test_without_a_card_the_default_is_hopper(nvcc: Path) -> None:
    if local_architectures():
        pytest.skip("this machine has a CUDA device")
    install(nvcc, COUNTING)

    assert build().name.endswith("-sm90.so")


def test_a_failing_compilation_shows_the_compilers_words_and_leaves_nothing(nvcc: Path, tmp_path: Path) -> None:
    install(nvcc, FAILING)

    with pytest.raises(errors.CudaBuildFailed, match=r"(?s)PRV-067.*no such instruction"):
        build(("90",))

    assert () == built_libraries()
    assert ["build.lock"] == [path.name for path in (tmp_path / "cache" / "cuda").iterdir()]


def test_a_missing_compiler_is_named_and_main_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNVETO_NVCC", str(tmp_path / "absent"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("proving.build_cuda.SYSTEM_NVCC", tmp_path / "absent too")
    monkeypatch.setattr("proving.build_cuda.importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_HOME", raising=False)

    with pytest.raises(errors.NvccMissing, match=r"PRV-066.*absent.*unveto\[cuda\]"):
        find_nvcc()
    assert main([]) == 1
    assert "PRV-066" in capsys.readouterr().err


def test_a_node_never_compiles(nvcc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a prover asks at start: no library means no backend, whether or not nvcc is there."""
    install(nvcc, COUNTING)
    monkeypatch.setattr(cuda, "_loaded", [])

    with pytest.raises(errors.CudaNotBuilt, match="PRV-060"):
        cuda.require_device()

    assert not nvcc.with_name("log").exists()


def test_a_library_that_does_not_load_is_not_built(nvcc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(nvcc, COUNTING)
    monkeypatch.setattr(cuda, "_loaded", [])
    build(("90",))

    with pytest.raises(errors.CudaNotBuilt, match="does not load"):
        cuda.require_device()


@pytest.mark.gpu
@pytest.mark.timeout(600)
def test_the_device_code_compiles_for_hopper_and_its_library_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real compiler on the real sources: the one check of device code that needs no device."""
    try:
        find_nvcc()
    except errors.NvccMissing:
        pytest.skip("no nvcc: the device code was not compiled")
    monkeypatch.setattr(cuda, "_loaded", [])

    library = build(("90",))

    code = library.read_bytes()
    assert b".nv.info._ZN6unveto6device8run_each" in code, "no device code in the library"
    core = cuda.CudaCore(library)
    assert not core.is_host_build
    if local_architectures():
        assert core.devices()
    else:
        assert () == core.devices()
        with pytest.raises(errors.CudaUnavailable, match=r"PRV-06[12]"):
            cuda.rate(core, 0)
