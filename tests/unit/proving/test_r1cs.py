"""Reading, writing and checking constraint systems; malformed files give coded errors, never a crash."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from proving import errors
from proving.bn254 import R
from proving.native import Options
from proving.r1cs import R1cs, Row, check, encode_rows, read_r1cs, write_r1cs
from proving.wtns import Witness, read_wtns, write_wtns
from tests.unit.proving.circuits import random_circuit, square_and_product


def small() -> R1cs:
    return square_and_product().r1cs()


def test_a_satisfied_witness_passes_from_parsed_values_bytes_and_files(options: Options, tmp_path: Path) -> None:
    circuit = square_and_product()
    r1cs_bytes, wtns_bytes = write_r1cs(circuit.r1cs()), write_wtns(circuit.witness())
    (tmp_path / "c.r1cs").write_bytes(r1cs_bytes)
    (tmp_path / "c.wtns").write_bytes(wtns_bytes)

    assert check(circuit.r1cs(), circuit.witness(), options) is None
    assert check(r1cs_bytes, wtns_bytes, options) is None
    assert check(tmp_path / "c.r1cs", tmp_path / "c.wtns", options) is None


def test_the_lowest_violated_constraint_is_named(options: Options) -> None:
    """A wrong wire in a system large enough to be checked by several threads."""
    circuit = random_circuit(6000, 2, seed=5)
    rng = random.Random(6)
    for _ in range(12):
        wire = rng.randrange(1, len(circuit.values))
        values = list(circuit.values)
        values[wire] = (values[wire] + 1) % R
        first = next(
            (i for i, row in enumerate(circuit.rows) if not holds(row, values)),
            None,
        )

        assert check(circuit.r1cs(), Witness.from_ints(values), options) == first


def holds(row: Row, values: list[int]) -> bool:
    a, b, c = (sum(k * values[wire] for wire, k in side.items()) % R for side in row)
    return a * b % R == c


def test_files_round_trip() -> None:
    circuit = random_circuit(20, 2, seed=1)

    again = read_r1cs(write_r1cs(circuit.r1cs()))

    assert bytes(again.rows) == circuit.r1cs().rows
    assert (again.n_wires, again.n_public, again.n_constraints) == (len(circuit.values), 2, 20)
    assert read_wtns(write_wtns(circuit.witness())).values == circuit.witness().values


def test_the_circuit_hash_follows_rows_and_public_count_and_ignores_labels() -> None:
    base = square_and_product()
    others = {
        replace(base.r1cs(), n_public_outputs=0).circuit_hash(),
        replace(base.r1cs(), rows=encode_rows([base.rows[0], base.rows[0]])).circuit_hash(),
    }

    assert base.r1cs().circuit_hash() not in others and len(others) == 2
    assert read_r1cs(write_r1cs(base.r1cs())).circuit_hash() == base.r1cs().circuit_hash()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1, 49, 7, 3], "128 bytes, expected 160"),
        ([2, 49, 7, 3, 78], "value 0 is not 1"),
        ([1, 49, R, 3, 78], "value 2 is not below r"),
        ([1, 49, (1 << 256) - 1, 3, 78], "value 2 is not below r"),
    ],
)
def test_a_malformed_witness_is_refused(options: Options, values: list[int], reason: str) -> None:
    with pytest.raises(errors.WitnessMalformed, match=reason):
        check(small(), Witness.from_ints(values), options)


def test_rows_that_lie_are_refused(options: Options) -> None:
    good = bytearray(small().rows)
    cases = {
        "wire 5 of 5": good[:4] + struct.pack("<I", 5) + good[8:],
        "more than are left": struct.pack("<I", 1 << 31) + good[4:],
        "coefficient not below r": good[:8] + R.to_bytes(32, "little") + good[40:],
        "bytes follow": good + bytes(36),
        "cut short|more than are left": good[:-1],
        "do not fit": good[:20],
    }
    for reason, rows in cases.items():
        with pytest.raises(errors.R1csMalformed, match=reason):
            check(replace(small(), rows=bytes(rows)), square_and_product().witness(), options)


def test_a_huge_constraint_count_is_refused_before_memory_is_reserved(options: Options) -> None:
    system = replace(small(), n_constraints=(1 << 32) - 1)
    with pytest.raises(errors.R1csMalformed, match="4294967295 constraints do not fit"):
        check(system, square_and_product().witness(), options)


def corruptions(good: bytes) -> list[bytes]:
    """Every truncation of the first 200 bytes and a sample of single-byte changes."""
    rng = random.Random(2)
    cut = [good[:n] for n in (*range(min(200, len(good))), len(good) - 1)]
    changed = []
    for _ in range(300):
        at = rng.randrange(len(good))
        changed.append(good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :])
    return [*cut, *changed, good + b"\0", good[::-1], b""]


def test_corrupted_r1cs_files_are_refused_or_change_the_system() -> None:
    good = write_r1cs(small())
    refused = 0
    for bad in corruptions(good):
        try:
            system = read_r1cs(bad)
            check(system, square_and_product().witness())
        except (errors.R1csMalformed, errors.WitnessMalformed):
            refused += 1

    assert refused >= 200


def test_corrupted_wtns_files_are_refused_or_change_the_witness() -> None:
    good = write_wtns(square_and_product().witness())
    refused = 0
    for bad in corruptions(good):
        try:
            assert check(small(), bad) is not None or read_wtns(bad).values == square_and_product().witness().values
        except errors.WitnessMalformed:
            refused += 1

    assert refused >= 200


def test_wrong_headers_are_named() -> None:
    good = write_r1cs(small())
    wrong_prime = good.replace(R.to_bytes(32, "little"), (R - 2).to_bytes(32, "little"))
    for bad, reason in (
        (b"wtns" + good[4:], "does not begin"),
        (good[:4] + struct.pack("<I", 2) + good[8:], "version 2"),
        (good[:8] + struct.pack("<I", 33) + good[12:], "33 sections"),
        (wrong_prime, "scalar field"),
    ):
        with pytest.raises(errors.R1csMalformed, match=reason):
            read_r1cs(bad)


def test_custom_gates_are_refused() -> None:
    good = write_r1cs(small())
    with_gates = good[:8] + struct.pack("<I", 4) + good[12:] + struct.pack("<IQI", 4, 4, 1)
    without_gates = good[:8] + struct.pack("<I", 4) + good[12:] + struct.pack("<IQI", 4, 4, 0)

    with pytest.raises(errors.R1csMalformed, match="custom gates"):
        read_r1cs(with_gates)
    assert read_r1cs(without_gates).n_constraints == 2


def test_a_witness_that_was_read_for_a_check_is_wiped_and_the_callers_own_is_kept() -> None:
    witness = square_and_product().witness()
    check(small(), witness)
    assert witness[2] == 7

    witness.wipe()

    assert witness.values == bytes(160)
