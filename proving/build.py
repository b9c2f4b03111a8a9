"""Compiles the native core from its packaged sources into the user's cache directory, once per source and compiler.

The result is keyed by the hash of sources, flags and compiler identity, so an upgrade of any of them gives a new file
and never overwrites one that another process has loaded. Old ones are removed after a compilation: see `pruning`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proving.errors import CompilerMissing, CoreBuildFailed
from proving.pruning import prune

SOURCE_DIR: Final = Path(__file__).with_name("core")
UNITS: Final = (
    *(f"{part}_{path}.cpp" for part in ("engine", "ceremony") for path in ("ifma", "adx", "portable")),
    "abi.cpp",
    "poseidon.cpp",
)
# Baseline instruction set for every file: the mulx/adx path is inline assembly and the functions of the AVX-512 path
# carry target attributes, so that no code of theirs can end up in what other CPUs run.
FLAGS: Final = ("-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-fomit-frame-pointer", "-pthread")
COMPILE_TIMEOUT_S: Final = 600
MAX_CACHED_BYTES: Final = 64 << 20
"""All compiled cores together; one takes about 2 MiB."""
SYSTEM_COMPILERS: Final = ("c++", "g++", "clang++")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A usable C++ compiler."""

    command: tuple[str, ...]
    """Program and leading arguments."""
    extra_flags: tuple[str, ...]
    version: str
    """First line of its version output; part of the cache key."""


def cache_dir() -> Path:
    """Where compiled code and keys are kept: $UNVETO_CACHE, $XDG_CACHE_HOME/unveto or ~/.cache/unveto."""
    explicit = os.environ.get("UNVETO_CACHE")
    if explicit:
        return Path(explicit)
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "unveto"


def find_compiler() -> Compiler:
    """The first compiler that answers: $CXX, the system's, or the ziglang wheel.

    $UNVETO_CXXFLAGS adds flags, such as -fsanitize=address,undefined.

    Raises:
        CompilerMissing: none of them does.
    """
    names = tuple(filter(None, (os.environ.get("CXX"),))) + SYSTEM_COMPILERS
    wanted = tuple(os.environ.get("UNVETO_CXXFLAGS", "").split())
    for name in names:
        version = _first_line((name, "--version"))
        if version:
            return Compiler(command=(name,), extra_flags=wanted, version=version)
    if importlib.util.find_spec("ziglang") is not None:
        zig = (sys.executable, "-m", "ziglang")
        version = _first_line((*zig, "version"))
        if version:
            return Compiler(command=(*zig, "c++"), extra_flags=(*_zig_flags(), *wanted), version=f"zig {version}")
    raise CompilerMissing((*names, "ziglang"))


def _zig_flags() -> tuple[str, ...]:
    # Without a target zig compiles for the CPU it runs on; and its sanitizer traps need a run-time that is not linked.
    targets = {"x86_64": "x86_64-linux-gnu.2.17", "aarch64": "aarch64-linux-gnu.2.17"}
    target = targets.get(platform.machine()) if sys.platform == "linux" else None
    return ("-fno-sanitize=undefined", *(("-target", target) if target else ()))


def _first_line(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    lines = done.stdout.splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def _sources() -> list[Path]:
    return sorted([*SOURCE_DIR.glob("src/*.[ch]pp"), *SOURCE_DIR.glob("include/*.h")])


def _key(compiler: Compiler) -> str:
    digest = hashlib.sha256()
    for part in (*FLAGS, *compiler.extra_flags, *compiler.command, compiler.version, platform.machine()):
        digest.update(part.encode() + b"\0")
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def build(notice: Callable[[str], None] | None = None) -> Path:
    """Path of the compiled core, compiling it first when the cache has none.

    Args:
        notice: called with one line of text when a compilation starts; it takes 10 to 60 seconds.

    Raises:
        CompilerMissing, CoreBuildFailed.
    """
    compiler = find_compiler()
    folder = cache_dir() / "core"
    library = folder / f"unveto_core-{_key(compiler)}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "build.lock").open("a") as lock:
        os.lockf(lock.fileno(), os.F_LOCK, 0)
        if not library.exists():
            if notice is not None:
                notice(f"compiling the proving core with {compiler.version} (once; cached in {folder})")
            for abandoned in folder.glob("build-*"):  # of killed processes: the lock is ours
                for file in abandoned.iterdir():
                    file.unlink()
                abandoned.rmdir()
            _compile(compiler, library)
            prune(folder, "*.so", MAX_CACHED_BYTES)
    return library


def _compile(compiler: Compiler, library: Path) -> None:
    flags = [*FLAGS, *compiler.extra_flags, f"-I{SOURCE_DIR / 'include'}", f"-I{SOURCE_DIR / 'src'}"]
    # Beside the target, so that the rename stays within one file system.
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as scratch:
        objects = [Path(scratch) / f"{unit}.o" for unit in UNITS]
        compiles = [
            [*compiler.command, *flags, "-c", str(SOURCE_DIR / "src" / unit), "-o", str(target)]
            for unit, target in zip(UNITS, objects, strict=True)
        ]
        _run_all(compiles, Path(scratch))
        linked = Path(scratch) / "core.so"
        _run_all([[*compiler.command, *flags, "-shared", *map(str, objects), "-o", str(linked)]], Path(scratch))
        linked.replace(library)


def _run_all(commands: list[list[str]], scratch: Path) -> None:
    """Runs commands side by side; output goes to files so that no pipe can fill up."""
    running = []
    for i, command in enumerate(commands):
        log = scratch / f"log-{i}"
        with log.open("wb") as sink:
            running.append((command, log, subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)))
    failed: tuple[list[str], Path] | None = None
    for command, log, process in running:
        try:
            status = process.wait(timeout=COMPILE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if status != 0 and failed is None:
            failed = (command, log)
    if failed is not None:
        command, log = failed
        raise CoreBuildFailed(" ".join(command), log.read_text(errors="replace")[-4000:])
