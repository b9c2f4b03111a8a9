"""Second adversarial round on proofs: keys, tiers, points and gas of the Groth16 system, and votes of systems."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from node.chain.evm import Call
from protocol.constants import NONE
from protocol.contracts.artifacts import call_data, decode_output
from protocol.errors import CodedError
from protocol.hashing import keccak256
from protocol.load import ProofItem, Proofs, config_hash, lockset_systems_hash
from protocol.statement import TIER_S, TIERS, words
from protocol.table import Core, Entry, decode_core, encode_core
from protocol.types import ZERO_HASH, Address, Hash32, RollupId
from proving.bn254 import Q
from proving.reference import (
    G1,
    G2,
    TWIST_B,
    Fq2,
    fq2_add,
    fq2_mul,
    fq2_pow,
    g1_add,
    g1_mul,
    g1_neg,
    g2_is_on_curve,
    g2_mul,
)
from tests.support.cores import oracle_core, two_rollup_core
from tests.support.evmworld import World
from tests.support.marketworld import PRICE, Party, agree, digest, paid, settle_bytes
from tests.support.provenworld import ROLLUP, Proven, proven_world
from tests.support.rollupworld import FAMILY, GENESIS, Setup, answer, expect_revert, l1_call, word
from tests.support.toyproofs import TOY_H, challenge

VERIFY_GAS = 5_000_000
GAMMA, DELTA, IC = 192, 320, 452
"""Where a key has them."""


@pytest.fixture(scope="module")
def _proven() -> Proven:
    if not find_spec("pyrevm"):
        return proven_world(World())
    from tests.support.nativeworld import NativeWorld

    return proven_world(NativeWorld())


@pytest.fixture
def proven(_proven: Proven) -> Iterator[Proven]:
    """Put back after each test."""
    point = _proven.made.world.snapshot()
    yield _proven
    _proven.made.world.restore(point)


def g1_at(data: bytes, place: int) -> G1:
    """A point of a key."""
    return int.from_bytes(data[place : place + 32], "big"), int.from_bytes(data[place + 32 : place + 64], "big")


def packed(*numbers: int) -> bytes:
    """Coordinates."""
    return b"".join(number.to_bytes(32, "big") for number in numbers)


# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_key_that_was_never_contributed_to_is_not_registered(proven: Proven) -> None:
    """As it leaves the setup's first phase: A = alpha, B = beta, C = -(IC of the inputs) satisfies the equation."""
    toy, system = proven.toy, proven.system
    vk = toy.vk[:DELTA] + toy.vk[GAMMA:DELTA] + toy.vk[DELTA + 128 :]
    with expect_revert("BadKeyPoint"):
        system.send("registerKey", vk, sender=proven.made.stranger)
        family = system.send("registerFamily", [keccak256(vk)], sender=proven.made.stranger).value
        lie = words(proven.core, RollupId(ROLLUP), TIER_S)
        z, y = challenge(family, 0, ZERO_HASH, lie, TOY_H)
        total = g1_at(vk, IC)
        for index, factor in enumerate((TOY_H, z, y), start=1):
            total = g1_add(total, g1_mul(g1_at(vk, IC + 64 * index), factor))
        c = g1_neg(total)
        assert c is not None
        forged = b"\0" + packed(TOY_H) + vk[:192] + packed(*c)
        assert not system.view("verify", family, ZERO_HASH, proven.statement, forged)


def test_a_second_tier_of_a_family_means_nothing(proven: Proven) -> None:
    """Anybody names a key twice; each tier has words and a z of its own, and one without a layout is not proven."""
    keys = [keccak256(proven.toy.vk)] * (len(TIERS) + 2)
    family = proven.system.send("registerFamily", keys, sender=proven.made.stranger).value
    for tier in range(1, len(TIERS)):
        assert not proven.verify(family=family, proof=bytes((tier,)) + proven.proof[1:])
    for tier in (len(TIERS), 15, 16, 255):
        with expect_revert("UnknownTier"):
            proven.verify(family=family, proof=bytes((tier,)) + proven.proof[1:])
    assert not proven.verify(family=family)  # tier 0 of another family: the same key, another z


def _square_root(a: Fq2) -> Fq2 | None:
    """Of the field of the twist, whose q is 3 mod 4."""
    first = fq2_pow(a, (Q - 3) // 4)
    alpha, candidate = fq2_mul(fq2_mul(first, first), a), fq2_mul(first, a)
    if alpha == (Q - 1, 0):
        root = fq2_mul((0, 1), candidate)
    else:
        root = fq2_mul(fq2_pow(fq2_add((1, 0), alpha), (Q - 1) // 2), candidate)
    return root if fq2_mul(root, root) == a else None


def outside_the_subgroup() -> G2:
    """A point of the twist that is no multiple of the generator."""
    for x in range(1, 50):
        here: Fq2 = (x, 1)
        y = _square_root(fq2_add(fq2_mul(fq2_mul(here, here), here), TWIST_B))
        if y is not None:
            return here, y
    pytest.fail("half of all x have a point")


def test_points_outside_the_subgroup_are_neither_proofs_nor_keys(proven: Proven) -> None:
    from proving.bn254 import R

    point = outside_the_subgroup()
    assert point is not None and g2_is_on_curve(point) and g2_mul(point, R) is not None
    (x0, x1), (y0, y1) = point
    wrong = packed(x1, x0, y1, y0)
    assert not proven.verify(proof=proven.proof[:97] + wrong + proven.proof[225:])
    for place in (64, GAMMA, DELTA):
        with expect_revert("BadKeyPoint"):
            vk = proven.toy.vk[:place] + wrong + proven.toy.vk[place + 128 :]
            proven.system.send("registerKey", vk, sender=proven.made.stranger)


# -- statements --------------------------------------------------------------------------------------------------------


def own_part(core: Core, rollup_id: RollupId) -> tuple[object, ...]:
    """What a rollup's proof of a core is about: words of the header, own entries, and the root on which each stands."""
    place = [member.rollup_id for member in core.lockset].index(rollup_id)
    roots: list[tuple[int, ...]] = []
    seen: list[object] = []
    ordinals: dict[int, int] = {}
    for index, entry in enumerate(core.entries):
        before = tuple(m.pre_root for m in core.lockset) if entry.parent == NONE else roots[entry.parent]
        owner = [member.rollup_id for member in core.lockset].index(entry.trigger.rollup_id)
        roots.append(before[:owner] + (entry.new_root,) + before[owner + 1 :])
        if owner == place:
            ordinals[index] = len(ordinals) + 1
            seen.append((before[place], entry.new_root, entry.mid, ordinals.get(entry.reply_to, 0)))
            seen.append((entry.trigger, entry.next_action))
    return core.l2_time, core.fee_recipient, *seen


@pytest.mark.parametrize("base", [oracle_core(), two_rollup_core()], ids=["one rollup", "two rollups"])
def test_two_tables_with_the_same_words_are_the_same_to_the_rollup(base: Core) -> None:
    """Thousands of changes: the words of a rollup are equal exactly if its own part is, whatever became of the rest."""
    rng = random.Random(7)
    raw = encode_core(base)
    equal = different = 0
    for member in base.lockset:
        if all(entry.trigger.rollup_id != member.rollup_id for entry in base.entries):
            continue
        expected = words(base, member.rollup_id, TIER_S)
        for _ in range(2000):
            changed = bytearray(raw)
            for _ in range(rng.choice((1, 1, 2, 4))):
                changed[rng.randrange(len(raw))] = rng.randrange(256)
            try:
                core = decode_core(bytes(changed))
                found = words(core, member.rollup_id, TIER_S)
            except CodedError:
                continue
            is_same = own_part(core, member.rollup_id) == own_part(base, member.rollup_id)
            assert (found == expected) is is_same, bytes(changed).hex()
            equal, different = equal + is_same, different + (not is_same)
    assert min(equal, different) > 100


# -- gas ---------------------------------------------------------------------------------------------------------------


def test_no_amount_of_gas_makes_a_false_proof_true(proven: Proven) -> None:
    """Precompiles that run out of gas fail, and a failure is a no."""
    false = proven.proof[:1] + packed(TOY_H + 1) + proven.proof[33:]
    verdicts: dict[bytes, set[bool]] = {proven.proof: set(), false: set()}
    for proof, seen in verdicts.items():
        arguments = (proven.toy.family, proven.public_input, proven.statement, proof)
        data = call_data("Groth16ProofSystem", "verify", *arguments)
        for gas in range(60_000, 420_000, 12_000):
            call = Call(sender=proven.made.stranger, to=proven.system.address, data=data, gas=gas)
            outcome = proven.made.world.try_out(call)
            if outcome.succeeded:
                seen.add(bool(decode_output("Groth16ProofSystem", "verify", outcome.output)[0]))
    assert verdicts[false] == {False}
    assert True in verdicts[proven.proof]


@pytest.mark.parametrize(("others", "size"), [(255, 0), (200, 100), (52, 960)])
def test_the_largest_tables_are_verified_within_the_gas_of_one_proof(proven: Proven, others: int, size: int) -> None:
    """A rollup's part does not become unprovable because other rollups of the table have many entries, or long data."""
    made = proven.made
    own = l1_call(made.user, ROLLUP, data=b"\x11\x22\x33\x44")
    calls = [l1_call(made.user, 1, data=i.to_bytes(2, "big") + b"\7" * size) for i in range(others)]
    core = made.core(
        [
            Entry(mid=False, new_root=5 + i, trigger=call, next_action=answer(call))
            for i, call in enumerate((own, *calls))
        ],
        (1, ROLLUP),
    )
    assert others == 255 or len(encode_core(core)) > 60_000
    statement = ROLLUP.to_bytes(8, "big") + encode_core(core)
    data = call_data("Groth16ProofSystem", "verify", proven.toy.family, ZERO_HASH, statement, proven.proof)
    call = Call(sender=made.stranger, to=proven.system.address, data=data, gas=30_000_000)
    outcome = made.world.try_out(call)
    assert outcome.succeeded
    assert outcome.gas_used < VERIFY_GAS // 2


# -- votes -------------------------------------------------------------------------------------------------------------


def test_two_of_two_is_two_systems_and_not_one_twice(made: Setup, who: Party) -> None:
    """In a claim: the market asks the same questions as a load."""
    systems = sorted(made.world.deploy("AcceptAllProofSystem").address for _ in range(2))
    outsider = made.accept_all.address
    config = ([f"0x{s.hex()}" for s in systems], [FAMILY, FAMILY], 2)
    made.rollups.send("createRollup", config, bytes(20), 0, word(3000), GENESIS, sender=made.stranger)
    trigger = l1_call(who.requester.address, 3)
    entry = Entry(mid=False, new_root=3001, trigger=trigger, next_action=answer(trigger))
    core = made.core([entry], (3,), executor=Address(who.requester.address))
    right = lockset_systems_hash([config_hash(2, [Address(s) for s in systems], [FAMILY, FAMILY])])
    one_of_two = lockset_systems_hash([config_hash(1, [Address(s) for s in systems], [FAMILY, FAMILY])])
    agreement = agree(made, who, core, systems_hash=right)
    weaker = agree(made, who, core, systems_hash=one_of_two)

    def claims(order: tuple[bytes, ...], about: object = agreement, rollup_id: int = 3) -> None:
        items = tuple(ProofItem(rollup_id=RollupId(rollup_id), system=Address(s), proof=b"") for s in order)
        signed = agreement if about is agreement else weaker
        proofs = Proofs(payee=Address(who.payee), agreement_hash=Hash32(digest(made, signed)), items=items)
        settlement = settle_bytes(made, who, signed)
        made.market.send("claimWithProof", encode_core(core), _encode(proofs), settlement, b"", sender=made.stranger)

    first, second = systems
    for too_few in ((), (first,), (second,)):
        with expect_revert("ThresholdNotMet"):
            claims(too_few)
    for order in ((first, first), (second, second), (second, first), (first, outsider), (first, second, second)):
        with expect_revert("NotActiveSystem"):
            claims(order)
    with expect_revert("ThresholdNotMet"):
        claims((first, second), rollup_id=2)
    with expect_revert("SystemsMismatch"):
        claims((first, second), about=weaker)
    claims((first, second))
    assert paid(made, who) == PRICE


def _encode(proofs: Proofs) -> bytes:
    """Also what `encode_proofs` refuses to write: systems twice or out of order."""
    head = proofs.payee + proofs.agreement_hash + bytes((len(proofs.items),))
    return head + b"".join(
        item.rollup_id.to_bytes(8, "big") + item.system + len(item.proof).to_bytes(2, "big") + item.proof
        for item in proofs.items
    )


def test_proofs_of_two_members_are_not_interchangeable(made: Setup, who: Party) -> None:
    """One proof for both, both for one, in the wrong order, counted wrongly: none is the proof of a table of two."""
    entries = []
    for rollup_id in (1, 2):
        trigger = l1_call(who.requester.address, rollup_id)
        entries.append(Entry(mid=False, new_root=1000 * rollup_id + 1, trigger=trigger, next_action=answer(trigger)))
    core = made.core(entries, (1, 2), executor=Address(who.requester.address))
    agreement = agree(made, who, core)
    system = Address(made.accept_all.address)
    for ids in ((1,), (2,), (1, 1), (2, 2), (2, 1), (1, 2, 2), (1, 1, 2), (1, 3), (1, 2, 3), (0, 1, 2)):
        items = tuple(ProofItem(rollup_id=RollupId(i), system=system, proof=b"") for i in ids)
        proofs = _encode(Proofs(payee=Address(who.payee), agreement_hash=Hash32(digest(made, agreement)), items=items))
        with expect_revert("(ThresholdNotMet|NotActiveSystem|MalformedProofs)"):
            made.market.send(
                "claimWithProof", encode_core(core), proofs, settle_bytes(made, who, agreement), b"", sender=made.user
            )
    good = made.proofs(core, agreement.payee, digest(made, agreement))
    for count in (0, 1, 3, 255):
        wrong = good[:52] + bytes((count,)) + good[53:]
        with expect_revert("(ThresholdNotMet|MalformedProofs)"):
            made.market.send(
                "claimWithProof", encode_core(core), wrong, settle_bytes(made, who, agreement), b"", sender=made.user
            )
    for wrong in (good[:-1], good + b"\0", good[:52]):
        with expect_revert("MalformedProofs"):
            made.market.send(
                "claimWithProof", encode_core(core), wrong, settle_bytes(made, who, agreement), b"", sender=made.user
            )
    assert paid(made, who) == 0
