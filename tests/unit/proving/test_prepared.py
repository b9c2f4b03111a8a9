"""Prepared keys: what they hold, what is refused while one is made, and a cache that never believes a damaged file."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proving import errors, prepared_cache
from proving.bn254 import Q, R
from proving.build import cache_dir
from proving.groth16 import prove, prove_with_fixed_blinding_for_tests, verify
from proving.native import Options, load
from proving.prepared import SECTIONS, PreparedKey, prepare, radix_bits
from proving.prepared_cache import cached_prepared_key
from proving.setup_dev import known_secrets, make_key
from proving.wtns import write_wtns
from proving.zkey import Zkey, read_zkey, write_zkey
from tests.unit.proving.circuits import Circuit, random_circuit

CIRCUIT = random_circuit(60, 3, seed=8)


def key_of(circuit: Circuit) -> Zkey:
    return make_key(circuit.r1cs(), known_secrets(circuit.r1cs().circuit_hash()))


@pytest.fixture
def zkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key file; the cache is an empty folder and takes keys of any size."""
    load()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "core").symlink_to(cache_dir() / "core")  # child processes need not compile it
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepared_cache, "MIN_CACHED_BYTES", 0)
    write_zkey(tmp_path / "k.zkey", key_of(CIRCUIT))
    return tmp_path / "k.zkey"


def cached_files(zkey: Path) -> list[Path]:
    return sorted((zkey.parent / "cache" / "keys").glob("*.prepared"))


def contents(key: PreparedKey) -> dict[str, bytes]:
    return {name: bytes(key.sections[name]) for name in SECTIONS}


def test_every_point_but_infinity_is_there_once_in_the_radix_of_the_path(options: Options) -> None:
    key = key_of(CIRCUIT)
    prepared = prepare(key, options)

    factor = pow(2, radix_bits(options) - 256, Q)
    for name, section, first in (("a", key.a, 0), ("l", key.l, key.n_public + 1), ("h", key.h, 0), ("b2", key.b2, 0)):
        size = 128 if name == "b2" else 64
        points = {first + i: bytes(section[size * i : size * i + size]) for i in range(len(section) // size)}
        expected = {i: p for i, p in points.items() if any(p)}
        scalars = [i for (i,) in struct.iter_unpack("<I", prepared.sections[f"{name}_scalars"])]
        assert scalars == sorted(expected)
        assert name != "b2" or len(scalars) < len(points)
        found = bytes(prepared.sections[f"{name}_points"])
        for at, i in enumerate(scalars):
            for offset in range(0, size, 32):
                plain = int.from_bytes(expected[i][offset : offset + 32], "little")
                coordinate = found[size * at + offset : size * at + offset + 32]
                assert int.from_bytes(coordinate, "little") == plain * factor % Q


def test_rows_and_values_are_the_coefficients(options: Options) -> None:
    key = key_of(CIRCUIT)
    prepared = prepare(key, options)
    inverse = pow(2, -512, R)
    expected = []
    for matrix, row, wire, value in struct.iter_unpack("<III32s", key.coefficients[4:]):
        expected.append((matrix * key.domain + row, wire, int.from_bytes(value, "little") * inverse % R))

    stored = struct.iter_unpack("32s", prepared.sections["values"])
    values = [int.from_bytes(value, "little") * pow(2, -256, R) % R for (value,) in stored]
    table = [1, R - 1, *values]
    ends = [end for (end,) in struct.iter_unpack("<I", prepared.sections["row_ends"])]
    terms = list(struct.iter_unpack("<II", prepared.sections["terms"]))
    found = [
        (row, wire, table[number])
        for row, end in enumerate(ends)
        for wire, number in terms[ends[row - 1] if row else 0 : end]
    ]

    assert sorted(found) == sorted(expected)
    assert len(set(table)) == len(table)


def test_a_prepared_key_proves_and_the_wrong_radix_is_refused(options: Options) -> None:
    key = key_of(CIRCUIT)
    prepared = prepare(key, options)
    proof, public = prove(prepared, CIRCUIT.witness(), options=options)

    verify(key.verifying_key(), public, proof)
    with pytest.raises(errors.CoreCallFailed, match="radix"):
        prove(replace(prepared, radix_bits=200), CIRCUIT.witness(), options=options)


@pytest.mark.parametrize("section", ["a", "b2", "l", "h"])
def test_points_off_the_curve_or_not_canonical_are_refused(section: str, options: Options) -> None:
    key = key_of(CIRCUIT)
    whole = bytes(getattr(key, section))
    size = 128 if section == "b2" else 64
    at = next(i for i in range(0, len(whole), size) if any(whole[i : i + size]))
    for bad in (whole[at : at + 32], (int.from_bytes(whole[at : at + 32], "little") + Q).to_bytes(32, "little")):
        changed = whole[:at] + (bytes([bad[0] ^ 1]) + bad[1:] if bad == whole[at : at + 32] else bad) + whole[at + 32 :]
        with pytest.raises(errors.ZkeyMalformed, match="not a point"):
            prepare(replace(key, **{section: changed}), options)  # type: ignore[arg-type]


def test_the_core_refuses_numbers_that_lead_outside_whatever_prepared_them() -> None:
    """A prepared key is checked against a checksum, which is no proof of who wrote it."""
    good = prepare(key_of(CIRCUIT))
    lists = ("a_scalars", "b2_scalars", "l_scalars", "h_scalars")
    for name, word in (("terms", 0), ("terms", 4), ("row_ends", 0), *((name, 0) for name in lists)):
        changed = bytearray(good.sections[name])
        changed[word : word + 4] = b"\xff\xff\xff\xff"
        with pytest.raises(errors.ZkeyMalformed):
            prove(replace(good, sections={**good.sections, name: memoryview(changed)}), CIRCUIT.witness())
    for name in SECTIONS:
        short = {**good.sections, name: good.sections[name][:-1]}
        with pytest.raises(errors.ZkeyMalformed):
            prove(replace(good, sections=short), CIRCUIT.witness())


def test_the_cache_is_used_from_the_second_call_on(zkey: Path) -> None:
    first = cached_prepared_key(zkey)
    (path,) = cached_files(zkey)
    written = path.stat().st_ino

    assert contents(cached_prepared_key(zkey)) == contents(first) == contents(prepare(read_zkey(zkey)))
    assert path.stat().st_ino == written  # a new image is a new file; use changes its time
    assert not list(path.parent.glob("*.partial"))


def test_an_image_that_is_altered_anywhere_or_cut_is_not_believed_and_made_again(zkey: Path) -> None:
    cached_prepared_key(zkey)
    (path,) = cached_files(zkey)
    whole = path.read_bytes()
    entries = [struct.unpack_from("<QQ", whole, 24 + 24 * i) for i in range(len(SECTIONS))]
    places = [0, 4, 8, 20, 24, 24 + 24 * len(SECTIONS)]
    places += [at for start, size in entries for at in (start, start + size - 1)]
    for at in places:
        damaged = whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]
        with pytest.raises(errors.PreparedKeyDamaged):
            PreparedKey.from_image(memoryview(damaged))
    for length in (0, 100, 4096, len(whole) - 1):
        with pytest.raises(errors.PreparedKeyDamaged):
            PreparedKey.from_image(memoryview(whole[:length]))
    for damaged in (b"", whole[:5000], whole[:5000] + b"\x01" + whole[5001:], whole[:-1]):
        path.write_bytes(damaged)
        cached_prepared_key(zkey)
        assert path.read_bytes() == whole


def test_another_format_version_is_not_believed(zkey: Path) -> None:
    image = zkey.parent / "image"
    cached_prepared_key(zkey)
    image.write_bytes(cached_files(zkey)[0].read_bytes())
    with image.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", 99))

    with pytest.raises(errors.PreparedKeyDamaged, match="version 99"):
        PreparedKey.from_image(memoryview(image.read_bytes()))


def test_a_key_file_that_is_replaced_or_changed_in_place_gets_its_own_image(zkey: Path) -> None:
    old = contents(cached_prepared_key(zkey))
    other = random_circuit(60, 3, seed=9)
    write_zkey(zkey, key_of(other))
    assert contents(cached_prepared_key(zkey)) != old
    with zkey.open("r+b") as file:
        file.seek(zkey.stat().st_size - 20)
        file.write(b"another contributor")
    cached_prepared_key(zkey)

    assert len(cached_files(zkey)) == 3


def test_small_keys_and_an_unwritable_cache_are_prepared_in_memory(
    zkey: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "file"))
    proof, public = prove(zkey, CIRCUIT.witness())
    verify(read_zkey(zkey).verifying_key(), public, proof)
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "unused"))
    monkeypatch.setattr(prepared_cache, "MIN_CACHED_BYTES", zkey.stat().st_size + 1)
    cached_prepared_key(zkey)

    assert not (tmp_path / "unused").exists()


def test_a_malformed_key_leaves_nothing_in_the_cache(zkey: Path) -> None:
    key = read_zkey(zkey)
    write_zkey(zkey.with_name("bad.zkey"), replace(key, h=b"\x01" * len(key.h)))
    with pytest.raises(errors.ZkeyMalformed, match="not a point"):
        cached_prepared_key(zkey.with_name("bad.zkey"))

    assert not cached_files(zkey)
    assert not list((zkey.parent / "cache" / "keys").glob("*.partial"))


def test_two_processes_at_once_make_one_image_and_equal_proofs(zkey: Path) -> None:
    wtns = zkey.with_name("w.wtns")
    wtns.write_bytes(write_wtns(CIRCUIT.witness()))
    program = (
        "import sys; from pathlib import Path; from proving import prepared_cache as p;"
        "p.MIN_CACHED_BYTES = 0;"
        "from proving.groth16 import prove_with_fixed_blinding_for_tests as f; from proving.wtns import read_wtns;"
        "print(f(Path(sys.argv[1]), read_wtns(Path(sys.argv[2])), 5, 7).to_bytes().hex())"
    )
    command = [sys.executable, "-c", program, str(zkey), str(wtns)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    proofs = {process.communicate(timeout=60)[0] for process in running}

    expected = prove_with_fixed_blinding_for_tests(read_zkey(zkey), CIRCUIT.witness(), 5, 7).to_bytes().hex() + "\n"
    assert proofs == {expected}
    assert len(cached_files(zkey)) == 1
    assert not list((zkey.parent / "cache" / "keys").glob("*.partial"))
