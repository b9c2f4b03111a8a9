"""What the caches of compiled cores and prepared keys keep."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from proving import prepared_cache
from proving.bench_circuit import STEP, bench_circuit
from proving.native import load
from proving.prepared_cache import cached_prepared_key
from proving.pruning import hold, prune
from proving.setup_dev import setup_dev


def put(folder: Path, name: str, size: int, age: int) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, ns=(0, 10**18 - age))
    return path


def test_the_oldest_files_go_first_and_only_as_many_as_needed(tmp_path: Path) -> None:
    newest, oldest, middle = put(tmp_path, "a.x", 10, 1), put(tmp_path, "b.x", 10, 3), put(tmp_path, "c.x", 10, 2)

    assert prune(tmp_path, "*.x", 30) == []
    assert prune(tmp_path, "*.x", 29) == [oldest]
    assert newest.exists() and middle.exists()


def test_files_of_other_kinds_neither_count_nor_go(tmp_path: Path) -> None:
    other, first = put(tmp_path, "key.zkey", 1000, 9), put(tmp_path, "a.x", 10, 2)
    put(tmp_path, "b.x", 10, 1)

    assert prune(tmp_path, "*.x", 20) == []
    assert prune(tmp_path, "*.x", 0) == [first]
    assert other.exists()


def test_the_latest_stays_whatever_its_size(tmp_path: Path) -> None:
    large, small = put(tmp_path, "a.x", 1000, 1), put(tmp_path, "b.x", 1, 2)

    assert prune(tmp_path, "*.x", 10) == [small]
    assert large.exists()


def test_a_file_in_use_stays_and_goes_when_its_mapping_is_closed(tmp_path: Path) -> None:
    oldest, middle = put(tmp_path, "a.x", 10, 3), put(tmp_path, "b.x", 10, 2)
    put(tmp_path, "c.x", 10, 1)
    with oldest.open("rb") as file:
        hold(file)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    os.utime(oldest, ns=(0, 1))

    assert prune(tmp_path, "*.x", 10) == [middle]
    mapped.close()
    assert prune(tmp_path, "*.x", 10) == [oldest]


def test_use_makes_a_file_the_latest(tmp_path: Path) -> None:
    oldest, other = put(tmp_path, "a.x", 10, 3), put(tmp_path, "b.x", 10, 2)
    with oldest.open("rb") as file:
        hold(file)

    assert prune(tmp_path, "*.x", 10) == [other]


def test_a_prepared_key_drives_out_the_one_before_unless_somebody_proves_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load()  # from the real cache
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepared_cache, "MIN_CACHED_BYTES", 1)
    monkeypatch.setattr(prepared_cache, "MAX_CACHED_BYTES", 1)
    keys = [tmp_path / f"{n}.zkey" for n in range(3)]
    for n, path in enumerate(keys):
        setup_dev(bench_circuit((n + 1) * STEP).r1cs, path)

    def kept() -> int:
        return len(list((tmp_path / "cache" / "keys").glob("*.prepared")))

    first = cached_prepared_key(keys[0])
    second = cached_prepared_key(keys[1])
    assert kept() == 2, "the first is in use"
    del first, second
    cached_prepared_key(keys[2])
    assert kept() == 1
