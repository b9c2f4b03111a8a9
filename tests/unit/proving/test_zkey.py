"""Key files: exact round trips, and coded refusals for everything that is not exactly a key."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from proving import errors
from proving.bn254 import Q
from proving.groth16 import prove, setup_dev
from proving.setup_dev import known_secrets, make_key
from proving.zkey import DEV_KEY_NAME, Zkey, is_dev_key, name_parameter, read_zkey, write_zkey
from tests.unit.proving.circuits import square_and_product


@cache
def key() -> Zkey:
    r1cs = square_and_product().r1cs()
    return make_key(r1cs, known_secrets(r1cs.circuit_hash()))


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    write_zkey(tmp_path / "k.zkey", key())
    return (tmp_path / "k.zkey").read_bytes()


def resections(data: bytes) -> list[tuple[int, bytes]]:
    (count,) = struct.unpack_from("<I", data, 8)
    at, found = 12, []
    for _ in range(count):
        number, size = struct.unpack_from("<IQ", data, at)
        found.append((number, data[at + 12 : at + 12 + size]))
        at += 12 + size
    return found


def assemble(sections: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("<IQ", number, len(data)) + data for number, data in sections)
    return b"zkey" + struct.pack("<II", 1, len(sections)) + body


def with_section(data: bytes, number: int, content: bytes) -> bytes:
    return assemble([(n, content if n == number else section) for n, section in resections(data)])


def test_a_written_key_reads_back_and_leaves_no_partial_file(tmp_path: Path) -> None:
    setup_dev(square_and_product().r1cs(), tmp_path / "k.zkey")

    again = read_zkey(tmp_path / "k.zkey")

    assert again == key()
    assert again.verifying_key() == key().verifying_key()
    assert [path.name for path in tmp_path.iterdir()] == ["k.zkey"]


def test_a_dev_key_is_visible_as_such_from_its_file(tmp_path: Path) -> None:
    write_zkey(tmp_path / "dev.zkey", key())
    nameless = replace(key().contributions[0], parameters=b"")
    write_zkey(tmp_path / "other.zkey", replace(key(), contributions=(nameless,)))
    honest = replace(nameless, parameters=name_parameter("somebody"))
    write_zkey(tmp_path / "mixed.zkey", replace(key(), contributions=(key().contributions[0], honest)))

    assert DEV_KEY_NAME.encode() in (tmp_path / "dev.zkey").read_bytes()
    assert is_dev_key(tmp_path / "dev.zkey")
    assert not is_dev_key(tmp_path / "other.zkey")
    assert is_dev_key(tmp_path / "mixed.zkey")


def test_sections_may_come_in_any_order(good: bytes) -> None:
    sections = resections(good)
    random.Random(1).shuffle(sections)

    assert read_zkey(assemble(sections)) == key()


def test_missing_double_and_unknown_sections_are_refused(good: bytes) -> None:
    sections = resections(good)
    for number in range(1, 11):
        with pytest.raises(errors.ZkeyMalformed):
            read_zkey(assemble([s for s in sections if s[0] != number]))
    with pytest.raises(errors.ZkeyMalformed, match="twice"):
        read_zkey(assemble([*sections, sections[0]]))
    with pytest.raises(errors.ZkeyMalformed, match="expected 1 to 10"):
        read_zkey(assemble([*sections, (11, b"")]))


def test_sections_of_the_wrong_size_are_refused(good: bytes) -> None:
    for number, content in resections(good):
        for bad in (content[:-1], content + b"\0", b""):
            with pytest.raises(errors.ZkeyMalformed):
                read_zkey(with_section(good, number, bad))


def test_header_numbers_that_lie_are_refused(good: bytes) -> None:
    header = dict(resections(good))[2]
    for offset, value in ((72, 4), (72, (1 << 32) - 1), (76, 5), (76, 1 << 31), (80, 3), (80, 0), (80, 1 << 28)):
        bad = header[:offset] + struct.pack("<I", value) + header[offset + 4 :]
        with pytest.raises(errors.ZkeyMalformed):
            read_zkey(with_section(good, 2, bad))
    with pytest.raises(errors.ZkeyMalformed, match="BN254"):
        read_zkey(with_section(good, 2, header[:4] + (Q + 2).to_bytes(32, "little") + header[36:]))
    with pytest.raises(errors.ZkeyMalformed, match="Groth16"):
        read_zkey(with_section(good, 1, struct.pack("<I", 2)))


def test_huge_counts_are_refused_before_memory_is_reserved(good: bytes) -> None:
    sections = dict(resections(good))
    for number, offset in ((4, 0), (10, 64), (10, 68 + 388)):
        section = sections[number]
        bad = section[:offset] + b"\xff\xff\xff\xff" + section[offset + 4 :]
        with pytest.raises(errors.ZkeyMalformed):
            read_zkey(with_section(good, number, bad))
    with pytest.raises(errors.ZkeyMalformed, match="4294967295 sections"):
        read_zkey(good[:8] + b"\xff\xff\xff\xff" + good[12:])


def test_coefficients_outside_the_key_are_refused_by_the_prover(good: bytes) -> None:
    section = dict(resections(good))[4]
    for offset, value in ((0, 2), (4, 4), (4, 1 << 31), (8, 5), (8, (1 << 32) - 1)):
        bad = section[: 4 + offset] + struct.pack("<I", value) + section[8 + offset :]
        with pytest.raises(errors.ZkeyMalformed, match="coefficient 0"):
            prove(with_section(good, 4, bad), square_and_product().witness())


def test_header_points_off_the_curve_are_refused_by_the_prover(good: bytes) -> None:
    header = dict(resections(good))[2]
    for point in range(84, 84 + 576, 64):
        bad = header[:point] + bytes([header[point] ^ 1]) + header[point + 1 :]
        with pytest.raises(errors.ZkeyMalformed, match="not a point"):
            prove(with_section(good, 2, bad), square_and_product().witness())


def test_every_truncation_is_refused(good: bytes) -> None:
    for length in range(0, len(good), 37):
        with pytest.raises(errors.ZkeyMalformed):
            read_zkey(good[:length])


def test_changed_bytes_are_refused_or_give_no_proof_or_do_not_matter(good: bytes) -> None:
    """300 single-bit changes anywhere: the process lives, and a proof that does come out has verified under the key."""
    rng = random.Random(12)
    outcomes = {"refused": 0, "no proof": 0, "proof": 0}
    for _ in range(300):
        at = rng.randrange(len(good))
        bad = good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :]
        try:
            prove(bad, square_and_product().witness())
            outcomes["proof"] += 1
        except errors.ZkeyMalformed:
            outcomes["refused"] += 1
        except errors.WitnessUnsatisfied:
            outcomes["no proof"] += 1

    assert sum(outcomes.values()) == 300
    assert min(outcomes.values()) > 10


def test_a_contribution_name_longer_than_the_format_allows_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        name_parameter("x" * 65)
