"""Several proof systems of one rollup, some of them malicious; verifiers that only know a hash, behind the adapter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from node.chain.evm import Call
from protocol.contracts.artifacts import call_data
from protocol.hashing import abi_words, domain, keccak256
from protocol.load import ProofItem, Proofs, encode_expects, encode_proofs
from protocol.table import Core, core_id, encode_core, encode_triggers, public_input
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, RollupId
from tests.support.evmworld import CHAIN_ID, Contract, Receipt
from tests.support.rollupworld import GENESIS, Setup, direct, expect_revert, setup, word

KEY = b"\x4b" * 32
VERIFY_GAS = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """Rollup 3, which trusts one bare verifier through the adapter."""

    made: Setup
    adapter: Contract
    family: Hash32

    def core(self, new_root: int = 3001) -> Core:
        """A call that is answered at once."""
        return self.made.open_core([direct(self.made, 3, new_root)], members=(3,))

    def input(self, core: Core, payee: bytes = ZERO_ADDRESS, epoch: int = 1) -> Hash32:
        """What a proof of this core is bound to."""
        return public_input(
            chain_id=CHAIN_ID,
            rollups_contract=Address(self.made.rollups.address),
            core=core_id(encode_core(core)),
            rollup_id=RollupId(3),
            epoch=epoch,
            family=self.family,
            payee=Address(payee),
            agreement_hash=ZERO_HASH,
        )

    def land(self, core: Core, proof: bytes, payee: bytes = ZERO_ADDRESS, system: Contract | None = None) -> Receipt:
        """loadAndRun with one proof."""
        item = ProofItem(rollup_id=3, system=Address((system or self.adapter).address), proof=proof)
        proofs = encode_proofs(Proofs(payee=Address(payee), agreement_hash=ZERO_HASH, items=(item,)))
        arguments = (encode_core(core), proofs, encode_expects(()), encode_triggers((0,)), b"")
        return self.made.rollups.send("loadAndRun", *arguments, sender=self.made.user)


def toy_proof(public_input_: bytes) -> bytes:
    """What KeyedVerifier accepts."""
    return keccak256(KEY + public_input_)


def adapt(made: Setup, verifier: Contract) -> Adapted:
    """Rollup 3 behind an adapter of this verifier."""
    adapter = made.world.deploy("HashProofSystem", verifier.hex)
    family = Hash32(adapter.view("FAMILY"))
    made.rollups.send(
        "createRollup", ([adapter.hex], [family], 1), bytes(20), 0, word(3000), GENESIS, sender=made.stranger
    )
    return Adapted(made=made, adapter=adapter, family=family)


# -- the adapter -------------------------------------------------------------------------------------------------------


def test_a_verifier_that_knows_only_a_hash_serves_a_rollup(made: Setup) -> None:
    verifier = made.world.deploy("KeyedVerifier", KEY)
    world = adapt(made, verifier)
    assert world.family == keccak256(abi_words(domain("hash-family"), verifier.address.rjust(32, b"\0")))
    core = world.core()
    world.land(core, toy_proof(world.input(core)))
    assert made.root(3) == 3001


def test_a_proof_for_the_adapter_is_bound_to_core_payee_and_epoch(made: Setup) -> None:
    world = adapt(made, made.world.deploy("KeyedVerifier", KEY))
    core = world.core()
    good = toy_proof(world.input(core))
    wrong = [
        toy_proof(world.input(world.core(3002))),
        toy_proof(world.input(core, payee=b"\x01" * 20)),
        toy_proof(world.input(core, epoch=2)),
        toy_proof(replace(world, family=ZERO_HASH).input(core)),
        good[:-1],
        good + b"\x00",
        b"",
    ]
    for proof in wrong:
        with expect_revert("InvalidProof") as caught:
            world.land(core, proof)
        assert caught.value.revert.values["reason"] == b""  # a clean no
    with expect_revert("InvalidProof"):
        world.land(core, good, payee=b"\x01" * 20)
    world.land(core, good)


def test_the_adapter_answers_for_its_own_family_only(made: Setup) -> None:
    adapter = made.world.deploy("HashProofSystem", made.world.deploy("KeyedVerifier", KEY).hex)
    arguments = (word(7), b"", toy_proof(word(7)))
    assert adapter.view("verify", adapter.view("FAMILY"), *arguments) is True
    with expect_revert("UnknownFamily"):
        adapter.view("verify", b"\x01" * 32, *arguments)


def test_an_adapter_of_nothing_is_not_deployed(made: Setup) -> None:
    with expect_revert("NoCode"):
        made.world.deploy("HashProofSystem", "0x" + "11" * 20)


NO_VERDICT_BYTES = 4 + 3 * 32


@pytest.mark.parametrize(
    ("mode", "size"),
    [(0, None), (2, 32), (3, 64), (4, 36), (5, 0), (6, 0), (7, 200_000), (8, 0), (9, 0), (11, 31)],
)
def test_a_hostile_verifier_convinces_nobody_through_the_adapter(made: Setup, mode: int, size: int | None) -> None:
    odd = made.world.deploy("OddVerifier")
    world = adapt(made, odd)
    odd.send("set", mode, sender=made.stranger)
    with expect_revert("InvalidProof") as caught:
        world.land(world.core(), b"proof")
    reason = caught.value.revert.values["reason"]
    if size is None:
        assert reason == b""
    else:  # NoVerdict(size, data), cut where the checker cuts
        assert reason[:4] == keccak256(b"NoVerdict(uint256,bytes)")[:4]
        assert (int.from_bytes(reason[4:36], "big"), len(reason) <= 256) == (size, True)
    odd.send("set", 1, sender=made.stranger)
    world.land(world.core(), b"proof")
    assert made.root(3) == 3001


# -- m of n ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Council:
    """Rollup 3: two of three systems, of which one is malicious; the others are adapters of honest verifiers."""

    made: Setup
    honest: tuple[Adapted, Adapted]
    bad: Contract

    def proofs(self, core: Core, *systems: bytes) -> bytes:
        """Each named system's proof: the honest ones' real ones, the bad one's anything."""
        items = []
        for system in sorted(systems):
            owners = [each for each in self.honest if each.adapter.address == system]
            proof = toy_proof(owners[0].input(core)) if owners else b"\x00"
            items.append(ProofItem(rollup_id=3, system=Address(system), proof=proof))
        return encode_proofs(Proofs(payee=ZERO_ADDRESS, agreement_hash=ZERO_HASH, items=tuple(items)))

    def land(self, proofs: bytes, core: Core) -> Receipt:
        """loadAndRun of its one trigger."""
        arguments = (encode_core(core), proofs, encode_expects(()), encode_triggers((0,)), b"")
        return self.made.rollups.send("loadAndRun", *arguments, sender=self.made.user)

    @property
    def good(self) -> tuple[bytes, bytes]:
        """The honest systems' addresses."""
        return self.honest[0].adapter.address, self.honest[1].adapter.address


def council(made: Setup, bad: Contract) -> Council:
    """Create the rollup."""
    honest = []
    for _ in range(2):
        adapter = made.world.deploy("HashProofSystem", made.world.deploy("KeyedVerifier", KEY).hex)
        honest.append(Adapted(made=made, adapter=adapter, family=Hash32(adapter.view("FAMILY"))))
    families = {each.adapter.address: each.family for each in honest} | {bad.address: ZERO_HASH}
    systems = sorted(families)
    config = (["0x" + s.hex() for s in systems], [families[s] for s in systems], 2)
    made.rollups.send("createRollup", config, bytes(20), 0, word(3000), GENESIS, sender=made.stranger)
    return Council(made=made, honest=(honest[0], honest[1]), bad=bad)


MISBEHAVIOUR = [0, 2, 3, 4, 5, 6, 7, 8, 9, 11]


@pytest.mark.parametrize("mode", MISBEHAVIOUR)
def test_one_malicious_system_of_three_stops_nobody_and_proves_nothing(made: Setup, mode: int) -> None:
    bad = made.world.deploy("OddVerifier")
    bad.send("set", mode, sender=made.stranger)
    world = council(made, bad)
    core = world.honest[0].core()
    with expect_revert("InvalidProof"):  # a misbehaving system is no vote
        world.land(world.proofs(core, world.good[0], bad.address), core)
    with expect_revert("ThresholdNotMet"):
        world.land(world.proofs(core, world.good[0]), core)
    world.land(world.proofs(core, *world.good), core)
    assert made.root(3) == 3001


def test_a_system_that_says_yes_to_everything_is_one_vote_of_the_two(made: Setup) -> None:
    bad = made.world.deploy("OddVerifier")
    bad.send("set", 1, sender=made.stranger)
    world = council(made, bad)
    forged = world.honest[0].core(6666)
    with expect_revert("ThresholdNotMet"):
        world.land(world.proofs(forged, bad.address), forged)
    wrong = ProofItem(rollup_id=3, system=Address(world.good[0]), proof=bytes(32))
    yes = ProofItem(rollup_id=3, system=Address(bad.address), proof=b"")
    both = sorted((wrong, yes), key=lambda item: item.system)
    with expect_revert("InvalidProof"):
        world.land(encode_proofs(Proofs(payee=ZERO_ADDRESS, agreement_hash=ZERO_HASH, items=tuple(both))), forged)
    assert made.root(3) == 3000


def test_a_burning_system_costs_at_most_its_cap(made: Setup) -> None:
    bad = made.world.deploy("OddVerifier")
    bad.send("set", 5, sender=made.stranger)
    world = council(made, bad)
    core = world.honest[0].core()
    arguments = (encode_core(core), world.proofs(core, world.good[0], bad.address), b"\x00", b"\x00\x00", b"")
    data = call_data("IRollups", "loadAndRun", *arguments)
    outcome = made.world.run(Call(sender=made.user, to=made.rollups.address, data=data))
    assert not outcome.succeeded
    assert VERIFY_GAS <= outcome.gas_used < VERIFY_GAS + 300_000


@pytest.mark.filterwarnings("ignore:SELFDESTRUCT opcode present:DeprecationWarning")
def test_a_system_whose_code_is_gone_is_no_vote() -> None:
    """It had code when the rollup was created and is destroyed by the end of that transaction.

    On py-evm: pyrevm, as NativeWorld drives it, ends no transaction and so destroys nothing.
    """
    made = setup()
    creator = made.world.deploy("FleetingOwner")
    gone = bytes.fromhex(creator.view("fleetingAddress")[2:])
    with expect_revert("BadConfig"):  # before it exists a plain configuration with it is refused
        council(made, Contract(made.world, "OddVerifier", gone))
    honest = []
    for _ in range(2):
        adapter = made.world.deploy("HashProofSystem", made.world.deploy("KeyedVerifier", KEY).hex)
        honest.append(Adapted(made=made, adapter=adapter, family=Hash32(adapter.view("FAMILY"))))
    families = {each.adapter.address: each.family for each in honest} | {gone: ZERO_HASH}
    order = sorted(families)
    systems = [bytes(20) if s == gone else s for s in order]
    creator.send("create", made.rollups.hex, (systems, [families[s] for s in order], 2), word(3000), sender=made.user)
    assert made.rollups.view("config", 3, 1)[0][0] == tuple("0x" + s.hex() for s in order)
    assert made.world.code(gone) == b""
    world = Council(made=made, honest=(honest[0], honest[1]), bad=Contract(made.world, "OddVerifier", gone))
    core = world.honest[0].core()
    with expect_revert("InvalidProof"):
        world.land(world.proofs(core, world.good[0], gone), core)
    world.land(world.proofs(core, *world.good), core)
    assert made.root(3) == 3001


def test_a_system_that_calls_back_changes_nothing_and_reads_what_anybody_reads(made: Setup) -> None:
    """Re-entrance by STATICCALL: views answer, anything that writes fails and takes the verdict with it."""
    bad = made.world.deploy("OddVerifier")
    world = council(made, bad)
    core = world.honest[0].core()
    inner = made.open_core([direct(made, 1, 1001)])
    writes = {
        "loadAndRun": call_data("IRollups", "loadAndRun", encode_core(inner), made.proofs(inner), b"\x00", b"", b""),
        "callL2": call_data("IRollups", "callL2", 1, b"\x01" * 20, b""),
        "getOrCreateProxy": call_data("IRollups", "getOrCreateProxy", b"\x01" * 20, 1),
        "claim": call_data("IRollups", "claim", made.user),
    }
    for what in writes.values():
        bad.send("callBack", made.rollups.hex, what, sender=made.stranger)
        with expect_revert("InvalidProof"):
            world.land(world.proofs(core, world.good[0], bad.address), core)
    bad.send("callBack", made.rollups.hex, call_data("IRollups", "rollup", 3), sender=made.stranger)
    world.land(world.proofs(core, world.good[0], bad.address), core)
    assert (made.root(1), made.root(3)) == (1000, 3001)
