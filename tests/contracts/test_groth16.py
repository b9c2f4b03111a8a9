"""The Groth16 proof system with real proofs: what it accepts, and that nothing else passes."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from node.chain.precompiles import native_bn254_available
from protocol.constants import FIELD_ORDER
from protocol.contracts.artifacts import artifact, call_data, decode_output
from protocol.hashing import keccak256
from protocol.load import encode_expects
from protocol.table import core_id, encode_core, encode_triggers, family_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address
from tests.support.evmworld import Reverted
from tests.support.marketworld import PRICE
from tests.support.provenworld import ROLLUP, Proven, proven_world
from tests.support.rollupworld import (
    PROGRAM,
    expect_revert,
    word,
)
from tests.support.toyproofs import TOY_H, challenge

BASE_FIELD = 21888242871839275222246405745257275088696311157297823662689037894645226208583


@pytest.fixture(scope="module")
def _proven() -> Proven:
    return proven_world()


@pytest.fixture
def proven(_proven: Proven):  # type: ignore[no-untyped-def]
    """Put back after each test."""
    point = _proven.made.world.snapshot()
    yield _proven
    _proven.made.world.restore(point)


def test_a_real_proof_lands_and_settles(proven: Proven) -> None:
    receipt = proven.land()
    assert receipt.value == (word(1),)
    assert [e.name for e in receipt.events] == [
        "TableLoaded",
        "AgreementSettled",
        "ExecutionConsumed",
        "ExecutionConsumed",
    ]
    assert proven.made.root(ROLLUP) == 3002
    assert proven.made.market.view("payoutOf", proven.who.payee) == PRICE


def test_a_real_proof_claims(proven: Proven) -> None:
    proven.made.market.send(
        "claimWithProof",
        encode_core(proven.core),
        proven.proofs(),
        proven.settlement,
        b"",
        sender=proven.made.stranger,
    )
    assert proven.made.market.view("payoutOf", proven.who.payee) == PRICE


# -- nothing else passes -----------------------------------------------------------------------------------------------


def test_a_proof_for_another_binding_is_false(proven: Proven) -> None:
    core, who = proven.core, proven.who
    others = {
        "payee": proven.input_of(core, b"\x01" * 20, proven.agreement),
        "agreement": proven.input_of(core, who.payee, b"\x01" * 32),
        "epoch": proven.input_of(core, who.payee, proven.agreement, epoch=2),
        "core": proven.input_of(replace(core, l2_time=core.l2_time + 1), who.payee, proven.agreement),
        "zero": ZERO_HASH,
    }
    assert proven.verify()
    for name, binding in others.items():
        assert not proven.verify(public_input=binding), name


def test_a_copied_proof_does_not_pay_another_payee_or_agreement(proven: Proven) -> None:
    with expect_revert("InvalidProof"):
        proven.land(proofs=proven.proofs(payee=b"\x01" * 20))
    with expect_revert("InvalidProof"):
        proven.land(proofs=proven.proofs(agreement=b"\x01" * 32))
    with expect_revert("InvalidProof"):
        proven.land(proofs=proven.proofs(payee=ZERO_ADDRESS, agreement=ZERO_HASH), settlement=b"")


def test_every_field_of_the_statement_is_bound(proven: Proven) -> None:
    """The core changes but publicInput is taken from the original: only the words can tell."""
    core = proven.core
    first, second = core.entries
    changed = {
        "l2Time": replace(core, l2_time=core.l2_time - 1),
        "feeRecipient": replace(core, fee_recipient=Address(b"\xff" * 20)),
        "preRoot": replace(core, lockset=(replace(core.lockset[0], pre_root=1),)),
        "newRoot": replace(core, entries=(replace(first, new_root=9), second)),
        "last root": replace(core, entries=(first, replace(second, new_root=9))),
        "mid": replace(core, entries=(first, replace(second, mid=True))),
        "trigger data": replace(
            core, entries=(replace(first, trigger=replace(first.trigger, data=b"\x11\x22\x33\x44" + word(6))), second)
        ),
        "trigger value": replace(core, entries=(replace(first, trigger=replace(first.trigger, value=1)), second)),
        "trigger source": replace(
            core, entries=(replace(first, trigger=replace(first.trigger, source_address=PROGRAM)), second)
        ),
        "answer": replace(
            core, entries=(first, replace(second, next_action=replace(second.next_action, data=word(2))))
        ),
        "answer failed": replace(
            core, entries=(first, replace(second, next_action=replace(second.next_action, failed=True)))
        ),
        "fewer entries": replace(core, entries=(first,)),
    }
    for name, other in changed.items():
        assert not proven.verify(statement=ROLLUP.to_bytes(8, "big") + encode_core(other)), name


def test_a_point_chosen_by_the_prover_does_not_help(proven: Proven) -> None:
    """The toy proves any (h, z, y); the contract takes neither z nor y from anybody."""
    for h, z, y in ((TOY_H, 1, 1), (TOY_H, 0, 0), (0, 0, 0)):
        assert not proven.verify(proof=proven.toy.prove_inputs(h, z, y))


def test_a_proof_of_another_commitment_is_false(proven: Proven) -> None:
    swapped = proven.proof[:1] + (TOY_H + 1).to_bytes(32, "big") + proven.proof[33:]
    assert not proven.verify(proof=swapped)


def test_malformed_proofs_have_named_errors(proven: Proven) -> None:
    proof = proven.proof
    for length in (0, 1, 288, 290):
        with expect_revert("MalformedProof"):
            proven.verify(proof=proof[:length].ljust(length, b"\x00"))
    with expect_revert("UnknownTier"):
        proven.verify(proof=b"\x01" + proof[1:])
    with expect_revert("UnknownTier"):
        proven.verify(family=b"\x01" * 32)
    h = int.from_bytes(proof[1:33], "big")
    with expect_revert("NotCanonical"):
        proven.verify(proof=proof[:1] + (h + FIELD_ORDER).to_bytes(32, "big") + proof[33:])
    for place in range(33, 289, 32):
        coordinate = int.from_bytes(proof[place : place + 32], "big")
        moved = proof[:place] + (coordinate + BASE_FIELD).to_bytes(32, "big") + proof[place + 32 :]
        with expect_revert("NotCanonical"):
            proven.verify(proof=moved)


def test_malformed_statements_have_named_errors(proven: Proven) -> None:
    statement = proven.statement
    with expect_revert("MalformedStatement"):
        proven.verify(statement=statement[:7])
    with expect_revert("NotInLockset"):
        proven.verify(statement=b"\x00" * 8 + statement[8:])
    with expect_revert("Truncated"):
        proven.verify(statement=statement[:-1])
    with expect_revert("TrailingBytes"):
        proven.verify(statement=statement + b"\x00")


def test_points_at_infinity_prove_nothing(proven: Proven) -> None:
    assert not proven.verify(proof=proven.proof[:33] + bytes(256))
    for start, end in ((33, 97), (97, 225), (225, 289)):
        assert not proven.verify(proof=proven.proof[:start] + bytes(end - start) + proven.proof[end:])


def test_the_negated_proof_and_swapped_points_are_false(proven: Proven) -> None:
    proof = proven.proof
    y = int.from_bytes(proof[65:97], "big")
    assert not proven.verify(proof=proof[:65] + (BASE_FIELD - y).to_bytes(32, "big") + proof[97:])
    assert not proven.verify(proof=proof[:33] + proof[225:289] + proof[97:225] + proof[33:97])


def test_no_random_change_of_a_load_is_accepted(proven: Proven) -> None:
    """Changes of core, proof, payee, agreement and settlement; a change passes only if the load reverts by name."""
    rng = random.Random(20)
    core, proofs, settlement = encode_core(proven.core), proven.proofs(), proven.settlement
    reasons: Counter[str] = Counter()
    for _ in range(60):
        parts = [bytearray(core), bytearray(proofs), bytearray(settlement)]
        part = rng.choices(parts, weights=(5, 4, 1))[0]
        part[rng.randrange(len(part))] ^= 1 << rng.randrange(8)
        with pytest.raises(Reverted) as refused:
            proven.made.rollups.send(
                "loadAndRun",
                *map(bytes, parts[:2]),
                encode_expects(()),
                encode_triggers((0,)),
                bytes(parts[2]),
                sender=proven.who.requester.address,
            )
        assert refused.value.revert.name not in ("", "Panic", "Error"), refused.value
        reasons[refused.value.revert.name] += 1
    assert reasons["InvalidProof"] >= 25, reasons
    proven.land()  # the world still takes the true one
    assert proven.made.root(ROLLUP) == 3002


def mutations(proven: Proven, rng: random.Random) -> Iterator[dict[str, bytes]]:
    """Endless changes of verify's arguments, most of them well-formed, so that the pairing is reached."""
    first, second = proven.core.entries
    while True:
        match rng.randrange(4):
            case 0:
                data = rng.randbytes(rng.randrange(1, 128))
                core = replace(
                    proven.core,
                    entries=(
                        replace(first, new_root=rng.choice([first.new_root, rng.getrandbits(250)])),
                        replace(second, next_action=replace(second.next_action, data=data)),
                    ),
                )
                yield {"statement": ROLLUP.to_bytes(8, "big") + encode_core(core)}
            case 1:
                yield {"public_input": rng.randbytes(32)}
            case 2:
                h = rng.randrange(FIELD_ORDER)
                yield {"proof": proven.proof[:1] + h.to_bytes(32, "big") + proven.proof[33:]}
            case _:
                part = rng.choice(["statement", "proof"])
                changed = bytearray(getattr(proven, part))
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
                if part == "proof":
                    yield {part: bytes(changed)}
                else:  # what no word holds (executor, validity) is bound by the core's id in publicInput
                    binding = proven.bound_to(core_id(bytes(changed[8:])), proven.who.payee, proven.agreement)
                    yield {part: bytes(changed), "public_input": binding}


def test_none_of_500_random_changes_is_accepted_and_half_reach_the_pairing(proven: Proven) -> None:
    rng = random.Random(21)
    verify = native_verifier(proven)
    assert verify({})
    # without the native EVM a pairing takes half a second
    wanted = 500 if native_bn254_available() else 12
    false = named = 0
    for changes in itertools.islice(mutations(proven, rng), wanted):
        try:
            assert not verify(changes), changes
            false += 1
        except Reverted as refused:
            assert refused.revert.name not in ("", "Panic", "Error"), refused
            named += 1
    assert false >= wanted // 2 and named > 0, (false, named)


def native_verifier(proven: Proven) -> Callable[[dict[str, bytes]], bool]:
    """The deployed contract on pyrevm, where that is installed: code, key, and the one storage word it reads."""
    if not native_bn254_available():
        return lambda changes: proven.verify(**changes)
    from pyrevm import EVM, AccountInfo

    evm = EVM(gas_limit=1 << 60, spec_id="CANCUN")
    pointer = proven.system.view("keyOf", proven.toy.family, 0)
    for address in (proven.system.hex, pointer):
        evm.insert_account_info(address, AccountInfo(code=proven.made.world.code(bytes.fromhex(address[2:]))))
    (slot,) = [item["slot"] for item in artifact("Groth16ProofSystem").storage if item["label"] == "keyOf"]
    inner = keccak256(proven.toy.family + int(slot).to_bytes(32, "big"))
    evm.insert_account_storage(proven.system.hex, int.from_bytes(keccak256(bytes(32) + inner), "big"), int(pointer, 16))

    def verify(changes: dict[str, bytes]) -> bool:
        parts = {
            "family": proven.toy.family,
            "public_input": proven.public_input,
            "statement": proven.statement,
            "proof": proven.proof,
        } | changes
        data = call_data("Groth16ProofSystem", "verify", *parts.values())
        try:
            output = evm.message_call(caller="0x" + "07" * 20, to=proven.system.hex, calldata=data, gas=10_000_000)
        except RuntimeError as error:  # pyrevm tells revert data only in its message
            return proven.verify(**changes) if "Revert" in str(error) else bool(pytest.fail(str(error)))
        return bool(decode_output("Groth16ProofSystem", "verify", bytes(output))[0])

    return verify


def test_z_and_y_depend_on_every_word(proven: Proven) -> None:
    """The test's own derivation, against the contract's verdict, on a second statement."""
    other = replace(proven.core, fee_recipient=Address(b"\x01" * 20))
    binding = proven.input_of(other, proven.who.payee, proven.agreement)
    proof = proven.toy.prove(other, ROLLUP, binding)
    statement = ROLLUP.to_bytes(8, "big") + encode_core(other)
    assert proven.verify(statement=statement, public_input=binding, proof=proof)
    words = proven.system.view("statementWords", statement, 0)
    assert (
        challenge(proven.toy.family, 0, binding, words, TOY_H)[0]
        != challenge(proven.toy.family, 0, binding, words[:-1] + (1,), TOY_H)[0]
    )


# -- keys --------------------------------------------------------------------------------------------------------------


def test_keys_and_families_are_what_they_hash_to(proven: Proven) -> None:
    system, toy, anybody = proven.system, proven.toy, proven.made.user
    vk_hash = system.send("registerKey", toy.vk, sender=anybody)
    assert not vk_hash.events  # registered before
    pointer = system.view("pointerOf", vk_hash.value)
    assert proven.made.world.code(bytes.fromhex(pointer[2:])) == b"\x00" + toy.vk
    two = system.send("registerFamily", [vk_hash.value, vk_hash.value], sender=anybody).value
    assert two == family_hash((vk_hash.value, vk_hash.value)) != toy.family
    assert system.view("keyOf", two, 1) == pointer
    assert int(system.view("keyOf", two, 2), 16) == 0


def test_bad_families_are_refused(proven: Proven) -> None:
    for hashes, error in (
        ([], "BadFamilySize"),
        ([b"\x01" * 32] * 17, "BadFamilySize"),
        ([b"\x01" * 32], "UnknownKey"),
    ):
        with expect_revert(error):
            proven.system.send("registerFamily", hashes, sender=proven.made.user)


def test_malformed_keys_are_refused(proven: Proven) -> None:
    vk = proven.toy.vk
    samples = {
        "MalformedKey": [b"", vk[:-1], vk + b"\x00", vk[:448] + (3).to_bytes(4, "big") + vk[452:]],
        "BadKeyPoint": [
            BASE_FIELD.to_bytes(32, "big") + vk[32:],
            bytes(64) + vk[64:],
            vk[:192] + bytes(128) + vk[320:],
            vk[:644] + bytes(64),
            (1).to_bytes(32, "big") + (1).to_bytes(32, "big") + vk[64:],
            vk[:320] + vk[320:352][::-1] + vk[352:],
            vk[:452] + (1).to_bytes(32, "big") + (1).to_bytes(32, "big") + vk[516:],
        ],
    }
    for error, keys in samples.items():
        for key in keys:
            with expect_revert(error):
                proven.system.send("registerKey", key, sender=proven.made.user)
