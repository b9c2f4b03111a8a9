"""One table for each thing that a machine must get right, made by the machine: for the committed vectors."""

from __future__ import annotations

from dataclasses import replace

from protocol.actions import Action
from protocol.constants import NONE
from protocol.table import Core
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.deployment import deploy_calls
from protocol.vm.eddsa import SigningKey
from protocol.vm.genesis import Genesis, GenesisAccount, GenesisSlot, state_from_genesis
from protocol.vm.transactions import sign_transaction, transaction_domain
from tests.support.cores import OTHER_PROGRAM, PROGRAM, call, l2tx, word
from tests.support.machines import L2_TIME
from tests.support.vmtables import VmTable

KEY = SigningKey(bytes(range(32)))
DOMAIN = transaction_domain(1, Address(b"\x42" * 20))
DEPLOYER = Address(bytes(19) + b"\x01")
CALLS_OUT = "LDF f2, 12\nLDI r1, 3\nXTRYV f2, r1, 0x01020304, 1, 50000, opaque\nRETOK r1\nOUT r11, r1, 0\n"
INSIDE = f"LDF f1, {endpoint(1, OTHER_PROGRAM)}\nLDI r2, 5\nOUT r2, r2, 1\nICALL f1, r2, 0xaabbccdd, 2\n"
SHOWS = "RETOK r1\nRETLO r2, 0\nOUT r1, r2, 0\nLDF f3, 7\nSSTORE f3, r1\nRETURN 1"
ARITHMETIC = """
        ARGLO r1, 0
        ARGLO r2, 1
        MUL   r3, r1, r2
        DIV   r4, r3, r2
        MOD   r5, r1, r2
        MIN   r6, r1, r2
        MAX   r7, r1, r2
        AND   r8, r1, r2
        OR    r9, r1, r2
        XOR   r10, r1, r2
        SHL   r3, r3, r5
        SHR   r4, r4, r5
        OUT   r3, r4, 0
        OUT   r6, r7, 1
        OUT   r8, r9, 2
        OUT   r10, r5, 3
        LDF   f1, 0x123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        FHI   r1, f1
        FLO   r2, f1
        INVF  f2, f1
        MULF  f2, f2, f1
        SSTOREF f3, f2
        OUT   r1, r2, 4
        RETURN 5
"""


def _world(outer: str, inner: str = "RETURN 0") -> Genesis:
    accounts = (
        GenesisAccount(address=PROGRAM, program=assemble(outer)),
        GenesisAccount(address=OTHER_PROGRAM, program=assemble(inner), slots=(GenesisSlot(slot=1, kind=0, value=9),)),
    )
    return Genesis(accounts=accounts, domain=DOMAIN)


def _signed(nonce: int, **changes: object) -> Action:
    fields: dict[str, object] = {"domain": DOMAIN, "rollup_id": 1, "nonce": nonce, "destination": PROGRAM, "fee": 2}
    return l2tx(data=sign_transaction(KEY, **(fields | changes)))  # type: ignore[arg-type]


def flows() -> dict[str, tuple[Genesis, Core]]:
    """Name to genesis of rollup 1 and a table on it."""
    made: dict[str, tuple[Genesis, VmTable]] = {}

    def begin(name: str, genesis: Genesis) -> VmTable:
        made[name] = genesis, VmTable({1: state_from_genesis(genesis)}, l2_time=L2_TIME)
        return made[name][1]

    table = begin("integers and field", _world(ARITHMETIC))
    table.begins(call(value=0, data=b"\1\2\3\4" + word(0xFEDCBA) + word(0x1234)))

    table = begin("a try, both answers", _world(CALLS_OUT + SHOWS))
    asked = table.begins(call(value=10))
    table.answered(asked, word(8))
    table.answered(asked, failed=True)

    table = begin(
        "a call inside, one that fails, one to nobody",
        _world(INSIDE + SHOWS, "VALUE r1\nJNZ r1, no\nRETURN 0\nno: OUT r1, r1, 0\nREVERT 1"),
    )
    table.begins(call(value=10))
    table.begins(call(value=1, destination=Address(b"\x99" * 20)), after=0)

    table = begin("a scope that is undone", _world(INSIDE + SHOWS, CALLS_OUT + "REVERT 1"))
    asked = table.begins(call(value=10))
    for failed in (False, True):
        table.continues(table.answered(asked, b"" if failed else word(1), failed=failed))

    table = begin("transactions", _world(CALLS_OUT + "REVERT 1"))
    funded = table.begins(call(value=100, destination=KEY.address))
    asked = table.begins(_signed(0, value=20, words=((1, 2),)), after=funded)
    done = table.continues(table.answered(asked, word(1)))
    table.begins(_signed(1, value=1000), after=done)

    table = begin("a forced transaction", _world(SHOWS))
    table.begins(replace(_signed(0, fee=0), gas=1))

    table = begin("a forced one that is skipped", _world(SHOWS))
    table.begins(replace(l2tx(data=b"\x02no transaction"), gas=1))

    table = begin("a deployment in two parts, and a call of what is there", _world("RETURN 0"))
    at = NONE
    for data in deploy_calls(assemble("MOV r1, r1\n" * 16 + SHOWS), salt=5):
        at = table.begins(call(value=0, destination=DEPLOYER, data=data), after=at)
    address = table.entries[at].next_action.data[12:32]
    table.begins(call(value=4, destination=Address(address)), after=at)
    return {name: (genesis, each.core()) for name, (genesis, each) in made.items()}
