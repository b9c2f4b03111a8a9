"""Powers of tau: what an honest ceremony gives, and that each way to cheat is refused by the check made for it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proving import errors
from proving.bn254 import Q
from proving.ceremony import phase1
from proving.ceremony.calls import generator
from proving.ceremony.parameters import Beacon, Parameters
from proving.ceremony.phase1_verify import verify_ptau
from proving.ceremony.ptau import TauContribution, first_challenge, read_ptau
from tests.unit.proving.ceremony.files import POWER, assemble, ceremony, placed, sections, swapped, with_section
from tests.unit.proving.ceremony.points import outside_subgroup, times_g1, times_g2

CONTRIBUTION_BYTES = 448 + 768 + 216 + 64 + 8


def test_every_stage_of_an_honest_ceremony_verifies() -> None:
    files = ceremony()

    for data in (files.contributed, files.closed, files.prepared):
        verify_ptau(data)
    names = [c.parameters.name for c in verify_ptau(files.prepared).contributions]
    assert names == ["test", "test", "beacon"]
    assert [c.is_beacon for c in read_ptau(files.prepared).contributions] == [False, False, True]


def test_a_blank_file_is_read_and_refused_as_a_ceremony() -> None:
    blank = read_ptau(ceremony().blank)

    assert (blank.power, blank.ceremony_power, blank.contributions) == (POWER, POWER, ())
    assert bytes(blank.sections[2]) == generator(1) * 15
    with pytest.raises(errors.CeremonyInvalid, match="nobody contributed"):
        verify_ptau(ceremony().blank)


def test_contributions_hold_together_by_their_challenges() -> None:
    first, second, _ = read_ptau(ceremony().closed).contributions

    assert first.next_challenge != second.next_challenge
    assert len({c.response_hash() for c in (first, second)}) == 2
    assert first_challenge(3) != first_challenge(4)


def test_two_contributions_differ_though_nothing_is_given(tmp_path: Path) -> None:
    """The secrets come from the operating system."""
    (tmp_path / "0").write_bytes(ceremony().blank)

    a = phase1.contribute(tmp_path / "0", tmp_path / "a", "same")
    b = phase1.contribute(tmp_path / "0", tmp_path / "b", "same")

    assert a.response_hash() != b.response_hash()
    assert a.tau_g1 != b.tau_g1
    verify_ptau(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "a", "b"]


def test_a_cancelled_step_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(ceremony().closed)
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> bool:
        seen.append((done, total))
        return done > total // 2

    with pytest.raises(errors.Cancelled):
        phase1.prepare(tmp_path / "0", tmp_path / "1", progress=stop)
    with pytest.raises(errors.Cancelled):
        phase1.contribute(tmp_path / "0", tmp_path / "1", progress=stop)

    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    assert len({total for _, total in seen}) == 2


def test_progress_only_grows_and_ends_at_the_total(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(ceremony().closed)
    seen: list[tuple[int, int]] = []

    phase1.prepare(tmp_path / "0", tmp_path / "1", progress=lambda *report: seen.append(report) is not None)

    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_name_may_have_64_bytes(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(ceremony().blank)

    assert phase1.contribute(tmp_path / "0", tmp_path / "1", "é" * 32).parameters.name == "é" * 32
    with pytest.raises(errors.CeremonyMisuse, match="65"):
        phase1.contribute(tmp_path / "0", tmp_path / "2", "x" * 65)


@pytest.mark.parametrize("power", [0, 28, -1])
def test_an_impossible_power_is_refused(power: int, tmp_path: Path) -> None:
    with pytest.raises(errors.CeremonyMisuse, match=str(power)):
        phase1.new(power, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "exponent"), [(b"", 10), (b"x" * 256, 10), (b"x", 9), (b"x", 64)])
def test_an_impossible_beacon_is_refused(value: bytes, exponent: int) -> None:
    with pytest.raises(errors.CeremonyMisuse):
        Beacon(value=value, iterations_exponent=exponent)


def test_a_beacon_that_takes_for_ever_is_refused_before_its_work() -> None:
    def endless(c: TauContribution) -> TauContribution:
        assert c.parameters.beacon is not None
        return replace(c, parameters=Parameters(beacon=replace(c.parameters.beacon, iterations_exponent=63)))

    with pytest.raises(errors.CeremonyMisuse, match=r"2\^63"):
        verify_ptau(with_contribution(2, endless))


def test_a_file_that_was_cut_down_takes_no_contribution(tmp_path: Path) -> None:
    cut = with_section(ceremony().blank, 1, placed(40, struct.pack("<I", POWER + 1)))
    (tmp_path / "cut").write_bytes(cut)

    with pytest.raises(errors.CeremonyMisuse, match="cut down"):
        phase1.contribute(tmp_path / "cut", tmp_path / "x")


def contribution_list(parts: list[TauContribution]) -> bytes:
    return struct.pack("<I", len(parts)) + b"".join(part.to_bytes() for part in parts)


def with_contributions(change: Callable[[list[TauContribution]], list[TauContribution]]) -> bytes:
    listed = list(read_ptau(ceremony().closed).contributions)
    return with_section(ceremony().closed, 7, lambda _: contribution_list(change(listed)))


def with_contribution(number: int, change: Callable[[TauContribution], TauContribution]) -> bytes:
    return with_contributions(lambda listed: [change(c) if i == number else c for i, c in enumerate(listed)])


def with_key(number: int, which: int, **changes: bytes) -> bytes:
    def change(c: TauContribution) -> TauContribution:
        keys = list(c.keys)
        keys[which] = replace(keys[which], **changes)
        return replace(c, keys=(keys[0], keys[1], keys[2]))

    return with_contribution(number, change)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


OUTSIDE = outside_subgroup()


def closed(number: int, change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: with_section(ceremony().closed, number, change)


def prepared(number: int, change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: with_section(ceremony().prepared, number, change)


def entry(number: int, change: Callable[[TauContribution], TauContribution]) -> Callable[[], bytes]:
    return lambda: with_contribution(number, change)


def entries(change: Callable[[list[TauContribution]], list[TauContribution]]) -> Callable[[], bytes]:
    return lambda: with_contributions(change)


def key(number: int, which: int, **changes: bytes) -> Callable[[], bytes]:
    return lambda: with_key(number, which, **changes)


CHEATS: dict[str, tuple[Callable[[], bytes], str]] = {
    "another power of tau in G1": (closed(2, swapped(64, 5, 6)), "section 2 does not"),
    "another last power": (closed(2, placed(64 * 14, times_g1(9))), "section 2 does"),
    "another generator": (closed(2, placed(0, times_g1(2))), "not the generator"),
    "another tau": (closed(2, placed(64, times_g1(2))), "second point of section 2"),
    "another power of tau in G2": (closed(3, swapped(128, 3, 4)), "section 3 does not"),
    "another generator of G2": (closed(3, placed(0, times_g2(2))), "section 3 is not"),
    "another tau in G2": (closed(3, placed(128, times_g2(2))), "second point of sec"),
    "another alpha": (closed(4, placed(0, times_g1(2))), "is not alpha"),
    "another multiple of alpha": (closed(4, swapped(64, 1, 2)), "section 4 does not"),
    "another beta": (closed(5, placed(0, times_g1(2))), "is not beta"),
    "another multiple of beta": (closed(5, swapped(64, 6, 7)), "section 5 does not"),
    "another beta in G2": (closed(6, placed(0, times_g2(2))), "section 6 is not beta"),
    "infinity": (closed(2, placed(64 * 3, bytes(64))), "point 3 is infinity"),
    "off the curve": (closed(5, placed(64 * 3, times_g1(3)[:32])), "point 3 is not on"),
    "not reduced": (
        closed(4, placed(64, Q.to_bytes(32, "little"))),
        "section 4: point 1 has a coordinate",
    ),
    "outside the subgroup": (closed(3, placed(128 * 7, OUTSIDE)), "point 7 is not in the"),
    "beta outside the subgroup": (closed(6, placed(0, OUTSIDE)), "section 6: point 0"),
    "a first contribution taken out": (entries(lambda c: c[1:]), "contribution 1: the key of tau"),
    "a last contribution taken out": (entries(lambda c: c[:-1]), "second point of section 2"),
    "contributions in another order": (entries(lambda c: [c[1], c[0], c[2]]), "contribution 1"),
    "a contribution twice": (entries(lambda c: [c[0], c[0], *c[1:]]), "contribution 2"),
    "s of another": (key(0, 0, g1_s=times_g1(5)), "the key of tau is not proven"),
    "s x of another": (key(0, 1, g1_sx=times_g1(5)), "the key of alpha is not proven"),
    "s' x of another": (key(1, 2, g2_spx=times_g2(5)), "the key of beta is not proven"),
    "s' x outside the subgroup": (key(1, 2, g2_spx=OUTSIDE), "contribution 2: point 4 is not in the subgroup"),
    "a key of infinity": (key(0, 0, g1_s=bytes(64), g1_sx=bytes(64)), "contribution 1: point 3 is infinity"),
    "tau not followed": (entry(0, lambda c: replace(c, tau_g1=times_g1(3))), "tau in G1 does not"),
    "tau in G2 not followed": (entry(0, lambda c: replace(c, tau_g2=times_g2(3))), "tau in G2 does"),
    "alpha not followed": (entry(1, lambda c: replace(c, alpha_g1=times_g1(3))), "alpha in G1 does"),
    "beta not followed": (entry(1, lambda c: replace(c, beta_g1=times_g1(3))), "beta in G1 does not"),
    "beta in G2 not followed": (entry(1, lambda c: replace(c, beta_g2=times_g2(3))), "beta in G2 doe"),
    "another challenge": (
        entry(0, lambda c: replace(c, next_challenge=flipped(c.next_challenge))),
        "contribution 2: the key of tau is not proven",
    ),
    "another last challenge": (
        entry(2, lambda c: replace(c, next_challenge=flipped(c.next_challenge))),
        "the last challenge is not about these points",
    ),
    "another hash state": (
        entry(2, lambda c: replace(c, partial_hash=flipped(c.partial_hash[:192]) + c.partial_hash[192:])),
        "the last response hash is not about these points",
    ),
    "another beacon": (
        entry(2, lambda c: replace(c, parameters=Parameters(beacon=Beacon(value=b"later", iterations_exponent=10)))),
        "contribution 3: the keys do not follow from the beacon",
    ),
    "a beacon that was none": (
        entry(
            1,
            lambda c: replace(
                c, is_beacon=True, parameters=Parameters(beacon=Beacon(value=b"later", iterations_exponent=10))
            ),
        ),
        "contribution 2: the keys do not follow from the beacon",
    ),
    "another Lagrange point": (prepared(12, swapped(64, 3, 4)), "section 12 is not"),
    "another top Lagrange point": (prepared(12, swapped(64, 29, 30)), r"domain 2\^4"),
    "another Lagrange point in G2": (prepared(13, swapped(128, 13, 14)), "section 13 is"),
    "another alpha Lagrange point": (prepared(14, swapped(64, 1, 2)), "section 14 is not"),
    "another beta Lagrange point": (prepared(15, swapped(64, 0, 1)), "section 15 is not"),
    "a Lagrange point off the curve": (
        prepared(15, placed(0, times_g1(3)[:32])),
        "section 15: point 0 is not on the curve",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_refused_by_the_check_for_it(name: str) -> None:
    make, reason = CHEATS[name]
    with pytest.raises(errors.CeremonyInvalid, match=reason):
        verify_ptau(make())


def test_contributing_to_points_outside_the_subgroup_is_refused(tmp_path: Path) -> None:
    """Their multiples by the endomorphism would mean nothing."""
    (tmp_path / "bad").write_bytes(with_section(ceremony().closed, 3, placed(128 * 7, OUTSIDE)))

    with pytest.raises(errors.PointNotInSubgroup):
        phase1.contribute(tmp_path / "bad", tmp_path / "x")
    with pytest.raises(errors.PointNotInSubgroup):
        phase1.prepare(tmp_path / "bad", tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


# The format.


def header(power: int, ceremony_power: int) -> Callable[[bytes], bytes]:
    return placed(36, struct.pack("<II", power, ceremony_power))


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda d: b"",
    "another magic": lambda d: b"zkey" + d[4:],
    "another version": lambda d: d[:4] + struct.pack("<I", 2) + d[8:],
    "more sections than there are": lambda d: d[:8] + struct.pack("<I", 12) + d[12:],
    "fewer sections than there are": lambda d: d[:8] + struct.pack("<I", 10) + d[12:],
    "countless sections": lambda d: d[:8] + b"\xff" * 4 + d[12:],
    "bytes after the end": lambda d: d + b"\0",
    "an unknown section": lambda d: assemble(d, [*sections(d).items(), (8, b"")]),
    "a section twice": lambda d: assemble(d, [*sections(d).items(), (6, sections(d)[6])]),
    "half of the bases": lambda d: assemble(d, [p for p in sections(d).items() if p[0] != 14]),
    **{
        f"section {n} missing": lambda d, n=n: assemble(d, [p for p in sections(d).items() if p[0] != n])  # type: ignore[misc]
        for n in range(1, 8)
    },
    **{
        f"section {n} a point short": lambda d, n=n: with_section(d, n, lambda c: c[:-64])  # type: ignore[misc]
        for n in (2, 3, 4, 5, 6, 12, 13, 14, 15)
    },
    "another field": lambda d: with_section(d, 1, placed(4, b"\0")),
    "another field size": lambda d: with_section(d, 1, placed(0, b"\x30")),
    "a long header": lambda d: with_section(d, 1, lambda c: c + b"\0"),
    "power 0": lambda d: with_section(d, 1, header(0, 3)),
    "power 28": lambda d: with_section(d, 1, header(28, 28)),
    "a huge power": lambda d: with_section(d, 1, header(0xFFFFFFFF, 0xFFFFFFFF)),
    "a power above its ceremony's": lambda d: with_section(d, 1, header(3, 2)),
    "no contribution count": lambda d: with_section(d, 7, lambda c: c[:3]),
    "countless contributions": lambda d: with_section(d, 7, placed(0, b"\xff\xff\xff\xff")),
    "one contribution more than there is": lambda d: with_section(d, 7, placed(0, b"\4")),
    "one contribution less than there is": lambda d: with_section(d, 7, placed(0, b"\2")),
    "a contribution of type 2": lambda d: with_section(d, 7, placed(4 + CONTRIBUTION_BYTES - 8, b"\2")),
    "parameters beyond the section": lambda d: with_section(d, 7, placed(4 + CONTRIBUTION_BYTES - 4, b"\xff" * 4)),
    "an unknown parameter": lambda d: with_section(d, 7, placed(4 + CONTRIBUTION_BYTES, b"\4")),
    "a name beyond its parameters": lambda d: with_section(d, 7, placed(5 + CONTRIBUTION_BYTES, b"\5")),
    "a name that is not UTF-8": lambda d: with_section(d, 7, placed(6 + CONTRIBUTION_BYTES, b"\xff")),
    "a beacon without a source": lambda d: with_section(d, 7, placed(4 + CONTRIBUTION_BYTES - 8, b"\1")),
    "a source without a beacon": lambda d: with_section(d, 7, lambda c: c[:-52] + b"\0" + c[-51:]),
    "a hash state with 129 bytes pending": lambda d: with_section(d, 7, placed(4 + 448 + 768 + 200, b"\x81")),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused(name: str) -> None:
    with pytest.raises(errors.PtauMalformed):
        read_ptau(MALFORMED[name](ceremony().prepared))


def test_sections_may_come_in_any_order() -> None:
    parts = list(sections(ceremony().prepared).items())
    random.Random(5).shuffle(parts)

    assert read_ptau(assemble(ceremony().prepared, parts)) == read_ptau(ceremony().prepared)


def test_every_truncation_is_refused() -> None:
    data = ceremony().closed
    for size in [*range(200), *range(200, len(data), 97), len(data) - 1]:
        with pytest.raises(errors.PtauMalformed):
            read_ptau(data[:size])
