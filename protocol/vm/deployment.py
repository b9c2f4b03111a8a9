"""Programs that arrive by calls: the account DEPLOYER takes them in chunks (SPEC §4.7).

API:
    deploy(ledger, code, caller, meta, words) -> Deployed or None (refused)
    deployed_address(caller, salt)
    deploy_calls(program, salt) -> call data, one for each chunk
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.actions import Words, bytes_from_words
from protocol.constants import ADDRESS_BITS, DEPLOY_CHUNK, INT_BITS, MAX_PROGRAM, NS_DEPLOY, TAG_ADDRESS, TAG_CODE
from protocol.errors import DecodeError, ProgramError
from protocol.hashing import selector
from protocol.vm.isa import U128, Instruction, Program, check_instruction, unpack_instruction
from protocol.vm.ledger import Ledger
from protocol.vm.poseidon import P
from protocol.vm.state import Drafts, account_key

DEPLOY: Final = selector("deploy(uint256,bytes32[15])")
"""The last chunk's words are cut where the program ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Programs that a state knows (see `VmState`)."""

    programs: Mapping[int, Program]
    drafts: Drafts


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What a deploying call did."""

    data: bytes
    """Its answer: the address, and how many instructions are there."""
    code: Code


def deployed_address(caller: int, salt: int) -> int:
    """Address of the program that an endpoint deploys under a salt below 2^128."""
    return P(3, (TAG_ADDRESS, caller, salt)) % (1 << ADDRESS_BITS)


def deploy_key(address: int) -> int:
    """Tree key of the leaf that says how much of a program is there."""
    return P(3, (NS_DEPLOY, address, 0))


def deploy(ledger: Ledger, code: Code, *, caller: int, meta: int, words: Words) -> Deployed | None:
    """Do a call to the deployer; None, and nothing has changed, if it fails.

    Args:
        caller: endpoint.
        meta, words: of the call data.
    """
    if not 2 <= len(words) <= 1 + DEPLOY_CHUNK or meta != ((4 + 32 * len(words)) << 32) + DEPLOY:
        return None
    (count, salt), *chunk = words
    if not 1 <= count <= MAX_PROGRAM:
        return None
    address = deployed_address(caller, salt)
    _, code_hash = ledger.read(account_key(address))
    running, progress = ledger.read(deploy_key(address))
    if progress == 0:
        running, progress = P(2, (TAG_CODE, count)), count << 32
    done = progress & 0xFFFFFFFF
    if code_hash or progress >> 32 != count or len(chunk) != min(DEPLOY_CHUNK, count - done):
        return None
    instructions = _instructions(chunk, done, count)
    if instructions is None:
        return None
    packed = [x.packed for x in instructions]
    before, running = running, P(16, (running, *packed, *[0] * (DEPLOY_CHUNK - len(packed))))
    done += len(chunk)
    ledger.put(deploy_key(address), running, (count << 32) + done)
    programs, drafts = code.programs, {**code.drafts, running: (before, instructions)}
    if done == count:
        v0, _ = ledger.tree.get(account_key(address))
        ledger.put(account_key(address), v0, running)
        whole = _whole(drafts, running, count)
        if whole is not None:
            programs = {**programs, running: Program(whole, running)}
    answer = bytes_from_words(((address >> INT_BITS, address % U128), (0, done)))
    return Deployed(data=answer, code=Code(programs=programs, drafts=drafts))


def _whole(drafts: Drafts, running: int, count: int) -> tuple[Instruction, ...] | None:
    """All chunks up to a running hash: whoever follows has them, a prover of the last chunk may not."""
    chunks: list[tuple[Instruction, ...]] = []
    while sum(map(len, chunks)) < count:
        if running not in drafts:
            return None
        running, chunk = drafts[running]
        chunks.append(chunk)
    return tuple(x for chunk in reversed(chunks) for x in chunk)


def _instructions(chunk: list[tuple[int, int]], done: int, count: int) -> tuple[Instruction, ...] | None:
    made = []
    for place, (hi, lo) in enumerate(chunk):
        try:
            instruction = unpack_instruction(hi << 128 | lo)
            check_instruction(instruction, done + place, count)
        except (DecodeError, ProgramError):
            return None
        made.append(instruction)
    return tuple(made)


def deploy_calls(program: Program, salt: int) -> tuple[bytes, ...]:
    """Call data of the calls to DEPLOYER that deploy a program, in order.

    Args:
        salt: below 2^128; together with the caller it makes the address.
    """
    words = [x.packed.to_bytes(32, "big") for x in program.instructions]
    head = DEPLOY.to_bytes(4, "big") + len(words).to_bytes(16, "big") + salt.to_bytes(16, "big")
    return tuple(head + b"".join(words[i : i + DEPLOY_CHUNK]) for i in range(0, len(words), DEPLOY_CHUNK))
