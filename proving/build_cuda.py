"""Compiles the CUDA prover ahead of time: `python -m proving.build_cuda`.

A minute of nvcc, once for each version of the sources; the result is kept in the user's cache directory. A node never
compiles it: without a compiled library the CUDA backend is not available and says so (PRV-060).

nvcc is looked for in `$UNVETO_NVCC`, `$CUDA_HOME/bin`, the program path, /usr/local/cuda and the wheel that
`pip install unveto[cuda]` brings. The C++ compiler it calls for host code is `$CXX` or its own choice.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proving.build import SOURCE_DIR, cache_dir, find_compiler
from proving.errors import CudaBuildFailed, NvccMissing, ProvingError

DEVICE_DIR: Final = SOURCE_DIR / "src" / "device"
UNITS: Final = ("g2.cu", "g1.cu", "field_kernels.cu", "resident_key.cu", "cuda_abi.cu", "finish.cpp")
"""Slowest first."""
SYSTEM_NVCC: Final = Path("/usr/local/cuda/bin/nvcc")
DEFAULT_ARCHITECTURES: Final = ("90",)
"""Hopper, where no card says otherwise."""
PORTABLE_ARCHITECTURES: Final = ("80", "86", "89", "90", "100", "120")
"""Ampere to Blackwell in one library."""
COMPILE_TIMEOUT_S: Final = 900
_NVCC_FLAGS: Final = ("-std=c++20", "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden")
_HOST_FLAGS: Final = ("-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread")
_COMPUTE_CAPABILITY_MAJOR: Final = 75
_COMPUTE_CAPABILITY_MINOR: Final = 76
"""Attributes of cuDeviceGetAttribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvcc:
    """A usable CUDA compiler."""

    program: Path
    version: str
    """Last line of its version output; part of the cache key."""
    link_flags: tuple[str, ...]


def find_nvcc() -> Nvcc:
    """The first CUDA compiler that answers.

    Raises:
        NvccMissing: none does.
    """
    tried = []
    for program in _candidates():
        tried.append(str(program))
        version = _last_line((str(program), "--version"))
        if version is not None:
            # Wheels keep libraries in lib, where the toolkit has lib64.
            libraries = program.resolve().parent.parent / "lib"
            flags = (f"-L{libraries}",) if (libraries / "libcudart_static.a").is_file() else ()
            return Nvcc(program=program, version=version, link_flags=flags)
    raise NvccMissing(tuple(tried))


def _candidates() -> Iterable[Path]:
    explicit = os.environ.get("UNVETO_NVCC")
    if explicit:
        yield Path(explicit)
    home = os.environ.get("CUDA_HOME")
    if home:
        yield Path(home) / "bin" / "nvcc"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if (Path(folder) / "nvcc").is_file():
            yield Path(folder) / "nvcc"
    yield SYSTEM_NVCC
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations or () if spec is not None else ():
        yield from sorted(Path(place).glob("cu*/bin/nvcc"), reverse=True)


def _last_line(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    lines = done.stdout.splitlines()
    return lines[-1] if done.returncode == 0 and lines else None


def local_architectures() -> tuple[str, ...]:
    """Compute capabilities of this machine's cards, such as ("90",); empty without a driver or a card."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    found = set()
    for ordinal in range(count.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        if driver.cuDeviceGet(ctypes.byref(device), ordinal) != 0:
            continue
        driver.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device)
        found.add(f"{major.value}{minor.value}")
    return tuple(sorted(found))


def _sources() -> list[Path]:
    # What the device units include lies in both source folders.
    return sorted(
        path
        for folder in (SOURCE_DIR / "src", DEVICE_DIR, SOURCE_DIR / "include")
        for path in folder.iterdir()
        if path.suffix in (".hpp", ".h", ".cu") or path == DEVICE_DIR / "finish.cpp"
    )


def source_hash() -> str:
    """Identity of what would be compiled: sources and machine type."""
    digest = hashlib.sha256(platform.machine().encode())
    for flag in (*_NVCC_FLAGS, *_HOST_FLAGS):
        digest.update(flag.encode() + b"\0")
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def built_libraries() -> tuple[Path, ...]:
    """Compiled libraries of exactly these sources, newest first; nothing is compiled."""
    folder = cache_dir() / "cuda"
    if not folder.is_dir():
        return ()
    found = folder.glob(f"unveto_cuda-{source_hash()}-sm*.so")
    return tuple(sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True))


def build(architectures: tuple[str, ...] | None = None, notice: Callable[[str], None] | None = None) -> Path:
    """Path of the compiled CUDA prover, compiling it first when the cache has none for these architectures.

    Args:
        architectures: compute capabilities such as ("90",); None: those of this machine's cards, else Hopper.
        notice: called with one line of text when a compilation starts.

    Raises:
        NvccMissing, CudaBuildFailed, OSError.
    """
    wanted = architectures or local_architectures() or DEFAULT_ARCHITECTURES
    library = cache_dir() / "cuda" / f"unveto_cuda-{source_hash()}-sm{'-'.join(wanted)}.so"
    if library.exists():
        return library
    nvcc = find_nvcc()
    targets = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in wanted]
    # The newest architecture also as PTX, which the driver can compile for cards that do not exist yet.
    targets.append(f"-gencode=arch=compute_{wanted[-1]},code=compute_{wanted[-1]}")
    cxx = os.environ.get("CXX")
    common = [str(nvcc.program), *(("-ccbin", cxx) if cxx else ()), *_NVCC_FLAGS, *targets]
    if notice is not None:
        notice(f"compiling the CUDA prover for sm_{', sm_'.join(wanted)} with {nvcc.version} (once; about a minute)")
    return _compile_once(
        library, lambda source: [*common, "-c", str(source)], lambda: [*common, *nvcc.link_flags, "-shared"]
    )


def build_for_host(notice: Callable[[str], None] | None = None) -> Path:
    """The same sources with the kernels run by the processor, thread by thread: for tests, and slow.

    Raises:
        CompilerMissing, CudaBuildFailed, OSError.
    """
    compiler = find_compiler()
    identity = hashlib.sha256(
        " ".join((*compiler.command, *compiler.extra_flags, compiler.version)).encode()
    ).hexdigest()
    library = cache_dir() / "cuda" / f"unveto_device_on_host-{source_hash()}-{identity[:8]}.so"
    if library.exists():
        return library
    if notice is not None:
        notice(f"compiling the device code for the host with {compiler.version} (once)")
    common = [*compiler.command, *compiler.extra_flags, *_HOST_FLAGS]
    return _compile_once(
        library, lambda source: [*common, "-c", "-x", "c++", str(source)], lambda: [*common, "-shared"]
    )


def _compile_once(library: Path, compile_: Callable[[Path], list[str]], link: Callable[[], list[str]]) -> Path:
    folder = library.parent
    folder.mkdir(parents=True, exist_ok=True)
    includes = [f"-I{SOURCE_DIR / 'include'}", f"-I{SOURCE_DIR / 'src'}"]
    with (folder / "build.lock").open("a") as lock:
        os.lockf(lock.fileno(), os.F_LOCK, 0)
        if library.exists():
            return library
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as scratch:
            objects = [Path(scratch) / f"{unit}.o" for unit in UNITS]
            commands = [
                [*compile_(DEVICE_DIR / unit), *includes, "-o", str(target)]
                for unit, target in zip(UNITS, objects, strict=True)
            ]
            _run_all(commands, Path(scratch))
            linked = Path(scratch) / "cuda.so"
            _run_all([[*link(), *map(str, objects), "-o", str(linked)]], Path(scratch))
            linked.replace(library)
    return library


def _run_all(commands: list[list[str]], scratch: Path) -> None:
    """Runs commands side by side; output goes to files so that no pipe can fill up."""
    running = []
    for i, command in enumerate(commands):
        log = scratch / f"log-{i}"
        with log.open("wb") as sink:
            running.append((command, log, subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)))
    failed: CudaBuildFailed | None = None
    for command, log, process in running:
        try:
            status = process.wait(timeout=COMPILE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if status != 0 and failed is None:
            failed = CudaBuildFailed(" ".join(command), log.read_text(errors="replace")[-4000:])
    if failed is not None:
        raise failed


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")


def main(arguments: list[str] | None = None) -> int:
    """0 built or there already, 1 with a coded message."""
    parser = argparse.ArgumentParser(prog="python -m proving.build_cuda", description="Compiles the CUDA prover.")
    parser.add_argument(
        "--arch",
        action="append",
        metavar="NN",
        help="compute capability such as 90; may be repeated; all: Ampere to Blackwell; default: this machine's cards",
    )
    chosen = parser.parse_args(arguments).arch
    wanted = PORTABLE_ARCHITECTURES if chosen == ["all"] else tuple(chosen) if chosen else None
    try:
        path = build(wanted, _to_stderr)
    except (ProvingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
