"""A circuit's key: what an honest ceremony gives, and that each way to cheat is refused by the check made for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proving import errors
from proving.ceremony import phase1, phase2
from proving.ceremony.parameters import Beacon, Parameters
from proving.ceremony.phase2_verify import verify_key
from proving.ceremony.ptau import read_ptau
from proving.groth16 import prove, rerandomise, setup_dev, verify
from proving.zkey import Contribution, Zkey, read_zkey, write_zkey
from tests.unit.proving.ceremony.files import POWER, ceremony, placed
from tests.unit.proving.ceremony.points import outside_subgroup, times_g1, times_g2
from tests.unit.proving.circuits import random_circuit


def made() -> Zkey:
    return read_zkey(ceremony().key)


def test_an_honest_key_verifies_and_proves() -> None:
    circuit = random_circuit(5, 1, seed=4)

    key = verify_key(ceremony().key, ceremony().r1cs, ceremony().prepared)

    assert [c.is_beacon for c in key.contributions] == [False, False, True]
    assert len({phase2.contribution_hash(c) for c in key.contributions}) == 3
    proof, public = prove(key, circuit.witness())
    verify(key.verifying_key(), public, proof)
    verify(key.verifying_key(), public, rerandomise(key, proof))
    with pytest.raises(errors.PairingFailed):
        verify(key.verifying_key(), (public[0] ^ 1,), proof)


def test_a_key_without_contributions_is_refused_though_it_proves() -> None:
    circuit = random_circuit(5, 1, seed=4)
    key = read_zkey(ceremony().blank_key)
    proof, public = prove(key, circuit.witness())
    verify(key.verifying_key(), public, proof)

    with pytest.raises(errors.CeremonyInvalid, match="nobody contributed"):
        verify_key(key, ceremony().r1cs, ceremony().prepared)


def test_two_contributions_differ_though_nothing_is_given(tmp_path: Path) -> None:
    """The secret comes from the operating system."""
    (tmp_path / "0").write_bytes(ceremony().blank_key)

    a = phase2.contribute(tmp_path / "0", tmp_path / "a", "same")
    b = phase2.contribute(tmp_path / "0", tmp_path / "b", "same")

    assert a.delta_after != b.delta_after
    assert phase2.contribution_hash(a) != phase2.contribution_hash(b)
    verify_key(tmp_path / "a", ceremony().r1cs, ceremony().prepared)


@pytest.mark.parametrize("constraints", [6, 7])
def test_a_circuit_fills_the_powers_or_is_too_large(constraints: int, tmp_path: Path) -> None:
    """Constraints, public values and the constant share the domain of 2^3."""
    system = random_circuit(constraints, 1, seed=1).r1cs()
    if constraints == 6:
        assert phase2.new_key(system, ceremony().prepared, tmp_path / "k").domain == 1 << POWER
        return
    with pytest.raises(errors.CeremonyMisuse, match=r"needs a domain of 2\^4"):
        phase2.new_key(system, ceremony().prepared, tmp_path / "k")
    assert not list(tmp_path.iterdir())


def test_unprepared_powers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.CeremonyMisuse, match="not prepared"):
        phase2.new_key(ceremony().r1cs, ceremony().closed, tmp_path / "k")


def test_a_key_from_smaller_domains_than_the_powers_verifies(tmp_path: Path) -> None:
    system = random_circuit(1, 1, seed=2).r1cs()
    key = phase2.new_key(system, ceremony().prepared, tmp_path / "0")
    phase2.contribute(tmp_path / "0", tmp_path / "1")

    assert key.domain == 4
    verify_key(tmp_path / "1", system, ceremony().prepared)


def test_a_developer_key_takes_no_contribution_and_is_no_ceremonys(tmp_path: Path) -> None:
    dev = setup_dev(ceremony().r1cs, tmp_path / "dev")

    with pytest.raises(errors.CeremonyMisuse, match="developer key"):
        phase2.contribute(tmp_path / "dev", tmp_path / "x")
    with pytest.raises(errors.CeremonyInvalid):
        verify_key(dev, ceremony().r1cs, ceremony().prepared)


def test_a_cancelled_contribution_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(ceremony().blank_key)

    with pytest.raises(errors.Cancelled):
        phase2.contribute(tmp_path / "0", tmp_path / "1", progress=lambda done, total: done > total // 2)

    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def with_contribution(number: int, **changes: object) -> Zkey:
    listed = list(made().contributions)
    listed[number] = replace(listed[number], **changes)  # type: ignore[arg-type]
    return replace(made(), contributions=tuple(listed))


def with_contributions(change: Callable[[tuple[Contribution, ...]], tuple[Contribution, ...]]) -> Zkey:
    return replace(made(), contributions=change(made().contributions))


def with_header(at: int, point: bytes) -> Zkey:
    return replace(made(), header_points=placed(at, point)(bytes(made().header_points)))


def with_point(name: str, at: int, point: bytes) -> Zkey:
    return replace(made(), **{name: placed(at, point)(bytes(getattr(made(), name)))})


def public_key(number: int, at: int, point: bytes) -> Zkey:
    return with_contribution(number, public_key=placed(at, point)(made().contributions[number].public_key))


LATER = Parameters(beacon=Beacon(value=b"later", iterations_exponent=10)).to_bytes()
CHEATS: dict[str, tuple[Callable[[], Zkey], str]] = {
    "another alpha": (lambda: with_header(0, times_g1(2)), "alpha, beta or gamma does not follow"),
    "another beta": (lambda: with_header(64, times_g1(2)), "alpha, beta or gamma does not follow"),
    "another beta in G2": (lambda: with_header(128, times_g2(2)), "alpha, beta or gamma does not follow"),
    "another gamma": (lambda: with_header(256, times_g2(2)), "alpha, beta or gamma does not follow"),
    "another delta": (lambda: with_header(384, times_g1(2)), "delta in G1 is not the one"),
    "another delta in G2": (lambda: with_header(448, times_g2(2)), "delta in G2 is not that in G1"),
    "delta in G2 outside the subgroup": (
        lambda: with_header(448, outside_subgroup()),
        "delta in G2: point 0 is not in",
    ),
    "delta infinity": (lambda: with_header(448, bytes(128)), "delta in G2: point 0 is infinity"),
    "another IC": (lambda: with_point("ic", 64, times_g1(2)), "section 3"),
    "another coefficient": (lambda: with_point("coefficients", 20, b"\1"), "section 4"),
    "another A": (lambda: with_point("a", 64, times_g1(2)), "section 5"),
    "another B": (lambda: with_point("b1", 0, times_g1(2)), "section 6"),
    "another B in G2": (lambda: with_point("b2", 0, times_g2(2)), "section 7"),
    "another L": (lambda: with_point("l", 64, times_g1(2)), "section L is not the initial one"),
    "another H": (lambda: with_point("h", 64 * 7, times_g1(2)), "section H is not the initial one"),
    "L off the curve": (lambda: with_point("l", 64, times_g1(3)[:32]), "section L: point 1 is not on the curve"),
    "H not reduced": (lambda: with_point("h", 0, b"\xff" * 32), "section H: point 0 has a coordinate"),
    "another circuit hash": (lambda: replace(made(), circuit_hash=bytes(64)), "circuit hash"),
    "a first contribution taken out": (lambda: with_contributions(lambda c: c[1:]), "contribution 1: the transcript"),
    "a last contribution taken out": (lambda: with_contributions(lambda c: c[:-1]), "delta in G1 is not the one after"),
    "another order": (lambda: with_contributions(lambda c: (c[1], c[0], c[2])), "contribution 1: the transcript"),
    "a contribution twice": (lambda: with_contributions(lambda c: (c[0], *c)), "contribution 2: the transcript"),
    "another delta after": (
        lambda: with_contribution(0, delta_after=times_g1(7)),
        "contribution 1: delta does not follow",
    ),
    "another transcript": (lambda: with_contribution(0, transcript=bytes(64)), "contribution 1: the transcript"),
    "s of another": (lambda: public_key(1, 0, times_g1(3)), "contribution 2: the transcript"),
    "s x of another": (lambda: public_key(1, 64, times_g1(3)), "contribution 2: the transcript"),
    "s' x of another": (lambda: public_key(1, 128, times_g2(3)), "contribution 2: the key is not proven"),
    "s' x outside the subgroup": (lambda: public_key(1, 128, outside_subgroup()), "contribution 2: point 0 is not in"),
    "s off the curve": (lambda: public_key(1, 0, times_g1(3)[:32]), "contribution 2: point 1 is not on the curve"),
    "another beacon": (lambda: with_contribution(2, parameters=LATER), "contribution 3: the key does not follow"),
    "a beacon that was none": (
        lambda: with_contribution(1, is_beacon=True, parameters=LATER),
        "contribution 2: the key does not follow from the beacon",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_refused_by_the_check_for_it(name: str) -> None:
    make, reason = CHEATS[name]
    with pytest.raises(errors.CeremonyInvalid, match=reason):
        verify_key(make(), ceremony().r1cs, read_ptau(ceremony().prepared))


def test_a_key_of_another_circuit_is_refused() -> None:
    """Of another size, and of the same sizes."""
    with pytest.raises(errors.CeremonyInvalid, match="the number of wires"):
        verify_key(made(), random_circuit(6, 1, seed=1).r1cs(), ceremony().prepared)
    system = ceremony().r1cs
    rows = bytearray(system.rows)
    rows[8] ^= 2
    with pytest.raises(errors.CeremonyInvalid, match="section 3|section 4"):
        verify_key(made(), replace(system, rows=bytes(rows)), ceremony().prepared)


def test_a_key_from_other_powers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(ceremony().closed)
    phase1.contribute(tmp_path / "0", tmp_path / "1")
    phase1.prepare(tmp_path / "1", tmp_path / "2")

    with pytest.raises(errors.CeremonyInvalid, match="alpha, beta or gamma"):
        verify_key(made(), ceremony().r1cs, tmp_path / "2")


def test_contributing_to_a_key_off_the_curve_is_refused(tmp_path: Path) -> None:
    write_zkey(tmp_path / "bad", with_point("h", 64, times_g1(3)[:32]))

    with pytest.raises(errors.PointNotOnCurve, match="point 1 "):
        phase2.contribute(tmp_path / "bad", tmp_path / "x")


@pytest.mark.parametrize("parameters", [b"\4\0", b"\1\5abc", b"\1\1\xff", b"\2\x0a", b"\1"])
def test_a_contribution_with_bad_parameters_is_no_key(parameters: bytes, tmp_path: Path) -> None:
    write_zkey(tmp_path / "bad", with_contribution(0, parameters=parameters))

    with pytest.raises(errors.ZkeyMalformed):
        read_zkey(tmp_path / "bad")
