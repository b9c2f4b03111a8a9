"""Seeded ways of changing one thing about an honest `Attempt`, grouped by what is changed.

Each kind says what the contract answers. `InvalidProof` alone means that everything was well-formed and the pairing
check said no, `InvalidProof:Name` that the proof system refused with that error before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any, Final

from protocol.actions import Action, ActionKind, encode_action
from protocol.agreement import Agreement, Settlement, by_key, pack_settlement, unpack_settlement
from protocol.constants import FIELD_ORDER, NONE
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.messages import RollupProof
from protocol.signing import GROUP_ORDER, AccountKey, agreement_digest
from protocol.table import Core, Entry, decode_core, encode_core
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, RollupId
from proving import reference as ref
from proving.bn254 import Q, R
from proving.points import Proof
from proving.solidity import TableProof
from tests.support.attempts import CLAIM, LAND, PROVER, Attempt, ProvenWorld
from tests.support.cores import l2tx, revert_at

Mutator = Callable[[Random, ProvenWorld], Attempt]

PAIRING: Final = "InvalidProof"
TIER_PLACES: Final = 3  # entries of tier S


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of change."""

    name: str
    count: int
    """How many of it a run makes."""
    refused_by: frozenset[str]
    """Errors that may answer it; empty where it depends on the bit that was hit."""
    mutate: Mutator


KINDS: Final[list[Kind]] = []


def _kind(name: str, count: int, *refused_by: str) -> Callable[[Mutator], Mutator]:
    def register(mutate: Mutator) -> Mutator:
        KINDS.append(Kind(name=name, count=count, refused_by=frozenset(refused_by), mutate=mutate))
        return mutate

    return register


def mutations(seed: int, world: ProvenWorld) -> Iterator[tuple[Kind, Attempt]]:
    """Every kind's number of changed attempts, none of them the honest one; a seed always changes the same things."""
    for kind in KINDS:
        rng = Random(f"{seed}/{kind.name}")
        for _ in range(kind.count):
            made = kind.mutate(rng, world)
            while made in (world.honest, replace(world.honest, door=CLAIM)):
                made = kind.mutate(rng, world)
            yield kind, made


def _flip(rng: Random, data: bytes) -> bytes:
    """One bit changed."""
    at = rng.randrange(8 * len(data))
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def _other(rng: Random, value: int, limit: int) -> int:
    """Another integer below `limit`, often a neighbour."""
    near = [n for n in (value - 1, value + 1) if 0 <= n < limit]
    far = rng.randrange(limit)
    return rng.choice([*near, far if far != value else near[0]])


# -- the core ----------------------------------------------------------------------------------------------------------


def _with_core(world: ProvenWorld, door: str = LAND, **changes: Any) -> Attempt:
    core = replace(decode_core(world.honest.core), **changes)
    return replace(world.honest, core=encode_core(core), door=door)


def _core(world: ProvenWorld) -> Core:
    return decode_core(world.honest.core)


def _with_entry(world: ProvenWorld, index: int, door: str = LAND, **changes: Any) -> Attempt:
    entries = list(_core(world).entries)
    entries[index] = replace(entries[index], **changes)
    return _with_core(world, door, entries=tuple(entries))


def _with_action(world: ProvenWorld, index: int, which: str, door: str = LAND, **changes: Any) -> Attempt:
    action: Action = getattr(_core(world).entries[index], which)
    return _with_entry(world, index, door, **{which: replace(action, **changes)})


def _changed_data(rng: Random, data: bytes) -> bytes:
    """Call or answer data that still fits a tier: a bit flipped, a word more, or a byte less."""
    return rng.choice([_flip(rng, data) if data else b"\x01", data + rng.randbytes(32), data[:-1] or b"\x00"])


@_kind("entry: new root", 30, PAIRING)
def _new_root(rng: Random, world: ProvenWorld) -> Attempt:
    index = rng.randrange(2)
    root = _core(world).entries[index].new_root
    return _with_entry(world, index, rng.choice([LAND, CLAIM]), new_root=_other(rng, root, FIELD_ORDER))


@_kind("header: pre-root", 20, PAIRING)
def _pre_root(rng: Random, world: ProvenWorld) -> Attempt:
    (member,) = _core(world).lockset
    changed = replace(member, pre_root=_other(rng, member.pre_root, FIELD_ORDER))
    return _with_core(world, CLAIM, lockset=(changed,))


@_kind("header: pre-root, landing", 5, "StaleTable")
def _stale_root(rng: Random, world: ProvenWorld) -> Attempt:
    return replace(_pre_root(rng, world), door=LAND)


@_kind("header: l2Time", 15, PAIRING)
def _l2_time(rng: Random, world: ProvenWorld) -> Attempt:
    return _with_core(world, rng.choice([LAND, CLAIM]), l2_time=_core(world).l2_time + rng.randint(1, 59))


@_kind("header: window", 15, PAIRING)
def _window(rng: Random, world: ProvenWorld) -> Attempt:
    core, shift = _core(world), rng.randint(1, 1000)
    return _with_core(
        world, rng.choice([LAND, CLAIM]), not_before=core.not_before - shift, valid_until=core.valid_until + shift
    )


@_kind("header: window is over", 5, "TableExpired", "NotYetValid")
def _outside_window(rng: Random, world: ProvenWorld) -> Attempt:
    shift = rng.randint(1, 1000)
    if rng.randrange(2):
        return _with_core(world, valid_until=world.now_s - shift)
    return _with_core(world, not_before=world.now_s + shift)


@_kind("header: executor", 12, PAIRING)
def _executor(rng: Random, world: ProvenWorld) -> Attempt:
    if rng.randrange(4) == 0:
        return _with_core(world, executor=ZERO_ADDRESS)
    return _with_core(world, CLAIM, executor=Address(_flip(rng, _core(world).executor)))


@_kind("header: executor, landing", 5, "NotExecutor")
def _other_executor(rng: Random, world: ProvenWorld) -> Attempt:
    return _with_core(world, executor=Address(_flip(rng, _core(world).executor)))


@_kind("header: triggersHash", 12, PAIRING)
def _triggers_hash(rng: Random, world: ProvenWorld) -> Attempt:
    if rng.randrange(4) == 0:
        return _with_core(world, triggers_hash=ZERO_HASH)
    return _with_core(world, CLAIM, triggers_hash=Hash32(_flip(rng, _core(world).triggers_hash)))


@_kind("header: feeRecipient", 15, PAIRING)
def _fee_recipient(rng: Random, world: ProvenWorld) -> Attempt:
    return _with_core(world, rng.choice([LAND, CLAIM]), fee_recipient=Address(rng.randbytes(20)))


@_kind("header: another member", 5, "UnknownRollup")
def _unknown_member(rng: Random, world: ProvenWorld) -> Attempt:
    (member,) = _core(world).lockset
    return _with_core(
        world,
        lockset=(member, replace(member, rollup_id=RollupId(member.rollup_id + rng.randint(50, 1 << 40)))),
    )


@_kind("entry: mid flag", 4, PAIRING)
def _mid(rng: Random, world: ProvenWorld) -> Attempt:
    index = rng.randrange(2)
    return _with_entry(world, index, rng.choice([LAND, CLAIM]), mid=not _core(world).entries[index].mid)


@_kind("trigger: data", 25, PAIRING)
def _trigger_data(rng: Random, world: ProvenWorld) -> Attempt:
    data = _core(world).entries[0].trigger.data
    return _with_action(world, 0, "trigger", rng.choice([LAND, CLAIM]), data=_changed_data(rng, data))


@_kind("trigger: value and source", 12, PAIRING)
def _trigger_value(rng: Random, world: ProvenWorld) -> Attempt:
    changes: dict[str, Any] = rng.choice(
        [{"value": rng.randrange(1, 1 << 90)}, {"source_address": Address(rng.randbytes(20))}]
    )
    return _with_action(world, 0, "trigger", CLAIM, **changes)


@_kind("trigger: value and source, landing", 6, PAIRING)
def _trigger_not_ours(rng: Random, world: ProvenWorld) -> Attempt:
    return replace(_trigger_value(rng, world), door=LAND)


@_kind("trigger: another account", 8, PAIRING)
def _trigger_destination(rng: Random, world: ProvenWorld) -> Attempt:
    destination = Address(rng.randbytes(20))
    return _with_action(world, 0, "trigger", rng.choice([LAND, CLAIM]), destination=destination)


@_kind("outgoing call: data and gas", 15, PAIRING)
def _call_out(rng: Random, world: ProvenWorld) -> Attempt:
    call = _core(world).entries[0].next_action
    changes: dict[str, Any] = rng.choice(
        [{"data": _changed_data(rng, call.data)}, {"gas": _other(rng, call.gas, 1 << 64)}]
    )
    return _with_action(world, 0, "next_action", rng.choice([LAND, CLAIM]), **changes)


@_kind("outgoing call: another contract answers", 15, PAIRING)
def _other_oracle(rng: Random, world: ProvenWorld) -> Attempt:
    first, second = _core(world).entries
    oracle = Address(rng.randbytes(20))
    entries = (
        replace(first, next_action=replace(first.next_action, destination=oracle)),
        replace(second, trigger=replace(second.trigger, source_address=oracle)),
    )
    return _with_core(world, rng.choice([LAND, CLAIM]), entries=entries)


@_kind("answer: another price", 30, PAIRING)
def _price(rng: Random, world: ProvenWorld) -> Attempt:
    data = _core(world).entries[1].trigger.data
    price = _other(rng, int.from_bytes(data, "big"), 1 << 128).to_bytes(32, "big")
    return _with_action(world, 1, "trigger", rng.choice([LAND, CLAIM]), data=rng.choice([price, _flip(rng, data)]))


@_kind("answer: failed", 2, PAIRING)
def _failed(rng: Random, world: ProvenWorld) -> Attempt:
    return _with_action(world, 1, "trigger", rng.choice([LAND, CLAIM]), failed=True)


@_kind("result: data, failed, target", 25, PAIRING)
def _result(rng: Random, world: ProvenWorld) -> Attempt:
    result = _core(world).entries[1].next_action
    changes: dict[str, Any] = rng.choice(
        [
            {"data": _changed_data(rng, result.data)},
            {"failed": not result.failed},
            {"destination": Address(rng.randbytes(20))},
            {"source_address": Address(rng.randbytes(20))},
        ]
    )
    return _with_action(world, 1, "next_action", rng.choice([LAND, CLAIM]), **changes)


@_kind("entries: one less or one more", 8, PAIRING)
def _entries(rng: Random, world: ProvenWorld) -> Attempt:
    first, second = _core(world).entries
    if rng.randrange(4) == 0:
        return _with_core(world, rng.choice([LAND, CLAIM]), entries=(first,))
    more = replace(first, trigger=replace(first.trigger, data=rng.randbytes(4)))
    return _with_core(world, rng.choice([LAND, CLAIM]), entries=(first, second, more))


@_kind("entries: more than the tier has", 3, "InvalidProof:DoesNotFitTier")
def _too_many(rng: Random, world: ProvenWorld) -> Attempt:
    first, second = _core(world).entries
    more = [replace(first, trigger=replace(first.trigger, data=rng.randbytes(4))) for _ in range(TIER_PLACES - 1)]
    return _with_core(world, rng.choice([LAND, CLAIM]), entries=(first, second, *more))


@_kind("actions: more data than the tier has", 3, "InvalidProof:DoesNotFitTier")
def _too_long(rng: Random, world: ProvenWorld) -> Attempt:
    return _with_action(world, 0, "trigger", rng.choice([LAND, CLAIM]), data=rng.randbytes(rng.randint(133, 600)))


def _raw_core(world: ProvenWorld, **changes: Any) -> bytes:
    """An honest core whose second entry breaks a rule, so that no encoder would write it."""
    core = _core(world)
    second = replace(core.entries[1], **changes)
    honest_tail = _entry_bytes(core.entries[1])
    assert world.honest.core.endswith(honest_tail)
    return world.honest.core.removesuffix(honest_tail) + _entry_bytes(second)


def _entry_bytes(entry: Entry) -> bytes:
    head = b"".join(x.to_bytes(2, "big") for x in (entry.parent, entry.reply_to, entry.revert_of))
    return (
        head
        + bytes((entry.mid,))
        + entry.new_root.to_bytes(32, "big")
        + encode_action(entry.trigger)
        + encode_action(entry.next_action)
    )


@_kind("entry: broken rule", 12, "BadParent", "BadReplyTo", "BadRevertOf", "BadSource", "BadNext", "CallToSelf")
def _rules(rng: Random, world: ProvenWorld) -> Attempt:
    second = _core(world).entries[1]
    out = second.next_action
    changes: dict[str, Any] = rng.choice(
        [
            {"parent": rng.randint(1, NONE - 1)},
            {"reply_to": rng.choice([NONE, rng.randint(1, NONE - 1)])},
            {"revert_of": rng.randint(0, NONE - 1)},
            {"next_action": replace(out, source_rollup=RollupId(rng.randrange(1 << 64)))},
            {"next_action": rng.choice([l2tx(second.owner), revert_at(second.owner ^ 1, (0,))])},
            {"next_action": replace(out, kind=ActionKind.CALL, rollup_id=second.owner)},
        ]
    )
    return replace(world.honest, core=_raw_core(world, **changes))


@_kind("core bytes: longer or shorter", 6, "Truncated", "TrailingBytes", "BadVersion", "BadLockset", "BadEntryCount")
def _core_length(rng: Random, world: ProvenWorld) -> Attempt:
    core = world.honest.core
    return replace(
        world.honest, core=rng.choice([core + rng.randbytes(rng.randint(1, 40)), core[: rng.randrange(len(core))]])
    )


@_kind("core bytes: a bit anywhere", 60)
def _core_bit(rng: Random, world: ProvenWorld) -> Attempt:
    return replace(world.honest, core=_flip(rng, world.honest.core), door=rng.choice([LAND, CLAIM]))


# -- who is paid, and for what -----------------------------------------------------------------------------------------


@_kind("payee", 20, PAIRING)
def _payee(rng: Random, world: ProvenWorld) -> Attempt:
    honest = world.honest
    payee = rng.choice([bytes(20), world.user.address, rng.randbytes(20), _flip(rng, honest.payee)])
    return replace(honest, payee=payee, door=rng.choice([LAND, CLAIM]))


@_kind("agreement hash", 20, PAIRING)
def _agreement_hash(rng: Random, world: ProvenWorld) -> Attempt:
    honest = world.honest
    if rng.randrange(5) == 0:
        return replace(honest, agreement_hash=bytes(32), settlement=b"")
    return replace(honest, agreement_hash=_flip(rng, honest.agreement_hash), door=rng.choice([LAND, CLAIM]))


def _changed_agreement(rng: Random, agreement: Agreement, *keep: str) -> Agreement:
    names = [name for name in Agreement.__dataclass_fields__ if name not in keep]
    name = rng.choice(names)
    value: Any = getattr(agreement, name)
    limit = {"rank": 1 << 8, "requester_ticket": 1 << 32, "prover_ticket": 1 << 32}.get(name, 1 << 64)
    changes: dict[str, Any] = {name: _flip(rng, value) if isinstance(value, bytes) else _other(rng, value, limit)}
    return replace(agreement, **changes)


@_kind("agreement: a field, unsigned", 30, "AgreementMismatch")
def _agreement_field(rng: Random, world: ProvenWorld) -> Attempt:
    settled = unpack_settlement(world.honest.settlement)
    changed = _changed_agreement(rng, settled.agreement)
    return replace(world.honest, settlement=pack_settlement(replace(settled, agreement=changed)), agreement=changed)


@_kind("agreement: another, signed by both", 30, PAIRING)
def _agreed_again(rng: Random, world: ProvenWorld) -> Attempt:
    """Requester and prover themselves cannot move a proof to another agreement."""
    settled = unpack_settlement(world.honest.settlement)
    # Other signers' keys are not at hand.
    changed = _changed_agreement(rng, settled.agreement, "requester", "prover")
    digest = agreement_digest(world.chain_id, world.market, changed)
    settlement = Settlement(
        agreement=changed,
        salt=settled.salt,
        requester_signature=by_key(AccountKey(world.user.key).sign_digest(digest)),
        prover_signature=by_key(PROVER.sign_digest(digest)),
    )
    return replace(
        world.honest,
        settlement=pack_settlement(settlement),
        agreement=changed,
        agreement_hash=digest,
        payee=changed.payee,
    )


@_kind("settlement: salt", 6, "StatementMismatch")
def _salt(rng: Random, world: ProvenWorld) -> Attempt:
    settled = unpack_settlement(world.honest.settlement)
    changed = replace(settled, salt=_flip(rng, settled.salt))
    return replace(world.honest, settlement=pack_settlement(changed), door=rng.choice([LAND, CLAIM]))


@_kind("settlement: signatures", 20, "BadSignature")
def _signature(rng: Random, world: ProvenWorld) -> Attempt:
    settled = unpack_settlement(world.honest.settlement)
    name = rng.choice(["requester_signature", "prover_signature"])
    good: bytes = getattr(settled, name)[1:]
    s = int.from_bytes(good[32:64], "big")
    high = good[:32] + (GROUP_ORDER - s).to_bytes(32, "big") + bytes((55 - good[64],))
    changes: dict[str, Any] = {name: by_key(rng.choice([_flip(rng, good), _flip(rng, good), high]))}
    settlement = pack_settlement(replace(settled, **changes))
    return replace(world.honest, settlement=settlement, door=rng.choice([LAND, CLAIM]))


@_kind("settlement: length", 6, "MalformedSettlement", "MalformedSignature")
def _settlement_length(rng: Random, world: ProvenWorld) -> Attempt:
    whole = world.honest.settlement
    changed = rng.choice([whole[: rng.randrange(1, len(whole))], whole + rng.randbytes(rng.randint(1, 40))])
    return replace(world.honest, settlement=changed, door=rng.choice([LAND, CLAIM]))


# -- the proof ---------------------------------------------------------------------------------------------------------


def _with_proof(world: ProvenWorld, door: str = LAND, **changes: Any) -> Attempt:
    (good,) = world.honest.proofs
    return replace(world.honest, proofs=(replace(good, **changes),), door=door)


def _table_proof(world: ProvenWorld) -> TableProof:
    return TableProof.from_bytes(world.honest.proofs[0].proof)


def _with_points(world: ProvenWorld, door: str = LAND, **points: Any) -> Attempt:
    table = _table_proof(world)
    return _with_proof(world, door, proof=replace(table, proof=replace(table.proof, **points)).to_bytes())


@_kind("proof: tier", 6, "InvalidProof:UnknownTier")
def _tier(rng: Random, world: ProvenWorld) -> Attempt:
    proof = world.honest.proofs[0].proof
    return _with_proof(world, rng.choice([LAND, CLAIM]), proof=bytes((rng.randint(1, 255),)) + proof[1:])


@_kind("proof: h", 25, PAIRING)
def _digest(rng: Random, world: ProvenWorld) -> Attempt:
    table = _table_proof(world)
    return _with_proof(world, rng.choice([LAND, CLAIM]), proof=replace(table, h=_other(rng, table.h, R)).to_bytes())


@_kind("proof: h not below r", 5, "InvalidProof:NotCanonical")
def _large_digest(rng: Random, world: ProvenWorld) -> Attempt:
    table = _table_proof(world)
    return _with_proof(
        world, rng.choice([LAND, CLAIM]), proof=replace(table, h=table.h + R * rng.randint(1, 3)).to_bytes()
    )


@_kind("proof: other points of the groups", 50, PAIRING)
def _points(rng: Random, world: ProvenWorld) -> Attempt:
    good = _table_proof(world).proof
    scalar = rng.choice([2, 3, R - 1, rng.randrange(1, R)])
    points: dict[str, Any] = rng.choice(
        [
            {"a": ref.g1_mul(good.a, scalar)} if scalar != 1 else {"a": good.c},
            {"a": ref.g1_add(good.a, ref.g1_mul(ref.G1_GENERATOR, scalar))},
            {"c": ref.g1_mul(good.c, scalar)},
            {"c": ref.g1_add(good.c, ref.g1_mul(ref.G1_GENERATOR, scalar))},
            {"a": good.c, "c": good.a},
            {"b": ref.g2_neg(good.b)},
            {"b": ref.g2_add(good.b, ref.G2_GENERATOR)},
            {"b": ref.g2_mul(ref.G2_GENERATOR, rng.randrange(2, 1 << 16))},
            {"a": ref.g1_neg(good.a), "c": ref.g1_neg(good.c)},
        ]
    )
    return _with_points(world, rng.choice([LAND, CLAIM]), **points)


@_kind("proof: zero points", 6, PAIRING)
def _zeros(rng: Random, world: ProvenWorld) -> Attempt:
    zeros: dict[str, Any] = {"a": (0, 0), "b": ((0, 0), (0, 0)), "c": (0, 0)}
    chosen = rng.sample(sorted(zeros), rng.randint(1, 3))
    return _with_points(world, rng.choice([LAND, CLAIM]), **{name: zeros[name] for name in chosen})


@_kind("proof: a coordinate plus q", 12, "InvalidProof:NotCanonical")
def _coordinate(rng: Random, world: ProvenWorld) -> Attempt:
    proof = world.honest.proofs[0].proof
    at = 33 + 32 * rng.randrange(8)
    value = int.from_bytes(proof[at : at + 32], "big") + Q * rng.randint(1, 4)
    return _with_proof(
        world, rng.choice([LAND, CLAIM]), proof=proof[:at] + value.to_bytes(32, "big") + proof[at + 32 :]
    )


@_kind("proof: a bit of a point", 25, PAIRING, "InvalidProof:NotCanonical")
def _point_bit(rng: Random, world: ProvenWorld) -> Attempt:
    proof = world.honest.proofs[0].proof
    return _with_proof(world, rng.choice([LAND, CLAIM]), proof=proof[:33] + _flip(rng, proof[33:]))


@_kind("proof: b outside the subgroup", 4, PAIRING)
def _outside(rng: Random, world: ProvenWorld) -> Attempt:
    b = ref.g2_add(_table_proof(world).proof.b, ref.g2_mul(point_outside_subgroup(), rng.randint(1, 50)))
    return _with_points(world, rng.choice([LAND, CLAIM]), b=b)


@_kind("proof: length", 8, "InvalidProof:MalformedProof")
def _proof_length(rng: Random, world: ProvenWorld) -> Attempt:
    proof = world.honest.proofs[0].proof
    changed = rng.choice([proof[: rng.randrange(len(proof))], proof + rng.randbytes(rng.randint(1, 60))])
    return _with_proof(world, rng.choice([LAND, CLAIM]), proof=changed)


@_kind("proofs: system", 5, "NotActiveSystem")
def _system(rng: Random, world: ProvenWorld) -> Attempt:
    return _with_proof(world, rng.choice([LAND, CLAIM]), system=_flip(rng, world.honest.proofs[0].system))


@_kind("proofs: rollup", 5, "ThresholdNotMet")
def _rollup(rng: Random, world: ProvenWorld) -> Attempt:
    return _with_proof(world, rng.choice([LAND, CLAIM]), rollup_id=rng.randrange(1 << 40, 1 << 64))


@_kind("proofs: none, twice, more", 6, "ThresholdNotMet", "NotActiveSystem", "MalformedProofs")
def _proof_count(rng: Random, world: ProvenWorld) -> Attempt:
    honest, (good,) = world.honest, world.honest.proofs
    item = ProofItem(rollup_id=good.rollup_id, system=Address(good.system), proof=good.proof)
    one = encode_proofs(
        Proofs(payee=Address(honest.payee), agreement_hash=Hash32(honest.agreement_hash), items=(item,))
    )
    header, rest = one[:52], one[53:]
    packed = rng.choice([header + b"\x00", header + b"\x02" + rest + rest, one + rng.randbytes(3), one[:-2]])
    return replace(honest, packed=packed, door=rng.choice([LAND, CLAIM]))


@_kind("triggers", 5, "WrongTriggers", "MalformedTriggers")
def _triggers(rng: Random, world: ProvenWorld) -> Attempt:
    return replace(world.honest, triggers=rng.choice([b"", rng.randbytes(2), bytes(4), bytes(3), bytes(1)]))


@cache
def point_outside_subgroup() -> tuple[ref.Fq2, ref.Fq2]:
    """A point of the twist whose order does not divide r: the first x = (k, 0) with a square right-hand side."""
    for k in range(1, 100):
        root = _fq2_sqrt(ref.fq2_add((k**3 % Q, 0), ref.TWIST_B))
        if root is not None and not ref.g2_is_in_subgroup(((k, 0), root)):
            return (k, 0), root
    raise AssertionError("no point found")


def _fq2_sqrt(a: ref.Fq2) -> ref.Fq2 | None:
    """A square root in Fq2: ((|a| + a0) / 2)^(1/2) and what follows from it (q = 3 mod 4); None if there is none."""
    norm = pow(a[0] * a[0] + a[1] * a[1], (Q + 1) // 4, Q)
    for sign in (norm, -norm):
        half = (a[0] + sign) * pow(2, -1, Q) % Q
        x = pow(half, (Q + 1) // 4, Q)
        if x * x % Q == half and x:
            root = (x, a[1] * pow(2 * x, -1, Q) % Q)
            if ref.fq2_mul(root, root) == a:
                return root
    return None


def rollup_proof_with(world: ProvenWorld, proof: Proof) -> tuple[RollupProof, ...]:
    """The honest proofs with other Groth16 points."""
    (good,) = world.honest.proofs
    return (replace(good, proof=replace(_table_proof(world), proof=proof).to_bytes()),)
