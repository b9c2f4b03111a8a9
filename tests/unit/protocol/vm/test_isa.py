"""Programs: the table of SPEC §4.3, well-formedness, program files."""

from __future__ import annotations

import re

import pytest

from protocol.errors import CodedError, ProgramError
from protocol.vm.isa import (
    OPS,
    Immediate,
    Instruction,
    Op,
    check_program,
    decode_program,
    encode_program,
    make_program,
)
from protocol.vm.poseidon import list_hash
from tests.support.tools import ROOT

END = Instruction(Op.RETURN)


def test_the_table_equals_the_specification() -> None:
    """Numbers, names, operand classes and immediates of every row that is not reserved."""
    text = (ROOT / "protocol/SPEC.md").read_text()
    rows = re.findall(r"^\| (0x[0-9a-f]{2}) \| ([A-Z]+) \| (\S+) (\S+) (\S+) (\S+) \|", text, re.MULTILINE)
    expected = [(int(number, 16), name, *(x.replace("–", "-") for x in operands)) for number, name, *operands in rows]
    assert len(expected) > 30
    actual = [(n, s.op.name, s.rd.value, s.ra.value, s.rb.value, s.imm.value) for n, s in sorted(OPS.items())]
    assert actual == expected


def test_code_hash_and_file() -> None:
    """Both as SPEC §4.2 says, byte by byte."""
    program = make_program([Instruction(Op.ADD, 1, 2, 3), Instruction(Op.LDF, 12, 0, 0, (1 << 128) - 1), END])
    assert program.instructions[0].word0 == 0x03020112
    words = [0x03020112 << 128, (0x0C21 << 128) - 1, 0x04 << 128]
    assert program.code_hash == list_hash(1, words)
    raw = encode_program(program)
    assert raw[:6] == b"UVM1\x00\x03"
    assert raw[6:70] == bytes(12) + b"\x03\x02\x01\x12" + bytes(16 + 14) + b"\x0c\x20" + b"\xff" * 16
    assert decode_program(raw) == program
    assert decode_program(raw).code_hash == program.code_hash


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        ([], "PROGRAM_LENGTH"),
        ([END] * 4097, "PROGRAM_LENGTH"),
        ([Instruction(0), END], "PROGRAM_OP"),
        ([Instruction(0x0B), END], "PROGRAM_OP"),
        ([Instruction(0xFF), END], "PROGRAM_OP"),
        ([Instruction(Op.ADD, 12, 0, 0), END], "PROGRAM_REGISTER"),
        ([Instruction(Op.ADDF, 12, 12, 11), END], "PROGRAM_REGISTER"),
        ([Instruction(Op.ADDF, 12, 12, 16), END], "PROGRAM_REGISTER"),
        ([Instruction(Op.MOV, 1, 1, 1), END], "PROGRAM_REGISTER"),
        ([Instruction(Op.SSTORE, 1, 12, 1), END], "PROGRAM_REGISTER"),
        ([Instruction(Op.ADD, 1, 1, 1, 1), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.JMP, imm=1)], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.LDI, 1, imm=1 << 128), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.LDF, 12, imm=1 << 128), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.LDFH, 12, 12, imm=1 << 128), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.RETURN, imm=17)], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.OUT, imm=16), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.XCALL, 0, 12, 0, 17 << 32), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.XCALL, 0, 12, 0, 1 << 104), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.XTRY, 0, 12, 0, 0), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.XTRYV, 0, 12, 0, 1 << 104), END], "PROGRAM_IMMEDIATE"),
        ([Instruction(Op.ICALL, 0, 12, 0, 1 << 40), END], "PROGRAM_IMMEDIATE"),
        ([END, Instruction(Op.LDI)], "PROGRAM_END"),
        ([END, Instruction(Op.JZ)], "PROGRAM_END"),
    ],
)
def test_ill_formed_programs_are_refused(instructions: list[Instruction], reason: str) -> None:
    """Each rule by its reason."""
    with pytest.raises(ProgramError) as caught:
        check_program(instructions)
    assert caught.value.reason == reason


def test_every_op_has_its_own_boundary() -> None:
    """The largest allowed immediate is accepted, the next one refused, for every op that has one."""
    largest = {
        Immediate.UNUSED: 0,
        Immediate.TARGET: 1,
        Immediate.U128: (1 << 128) - 1,
        Immediate.COUNT: 16,
        Immediate.WORD: 15,
        Immediate.XCALL: ((1 << 64) - 1 << 40) + (16 << 32) + 0xFFFFFFFF,
        Immediate.XTRY: ((1 << 65) - 1 << 40) + (16 << 32) + 0xFFFFFFFF,
        Immediate.ICALL: (16 << 32) + 0xFFFFFFFF,
    }
    for number, spec in OPS.items():
        registers = [{"-": 0, "i": 11, "f": 15}[x.value] for x in (spec.rd, spec.ra, spec.rb)]
        check_program([Instruction(number, *registers, largest[spec.imm]), END])
        with pytest.raises(ProgramError):
            check_program([Instruction(number, *registers, largest[spec.imm] + 1), END])


FILE = encode_program(make_program([END]))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "PROGRAM_TRUNCATED"),
        (b"UVM2" + FILE[4:], "PROGRAM_MAGIC"),
        (FILE[:-1], "PROGRAM_TRUNCATED"),
        (FILE + b"\0", "PROGRAM_TRAILING_BYTES"),
        (FILE[:4] + b"\0\0", "PROGRAM_LENGTH"),
        (FILE[:4] + b"\xff\xff", "PROGRAM_LENGTH"),
        (FILE[:6] + b"\x01" + FILE[7:], "PROGRAM_WORD"),
        (FILE[:17] + b"\x01" + FILE[18:], "PROGRAM_WORD"),
        (FILE + bytes(200000), "PROGRAM_SIZE"),
        (FILE[:21] + b"\x00" + FILE[22:], "PROGRAM_OP"),
    ],
)
def test_other_files_are_refused(raw: bytes, reason: str) -> None:
    """Each rule of the format by its reason."""
    with pytest.raises(CodedError) as caught:
        decode_program(raw)
    assert caught.value.reason == reason
