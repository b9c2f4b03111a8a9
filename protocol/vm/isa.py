"""Instruction set as data, programs and what makes them well-formed (SPEC §4.1 to §4.3).

API:
    OPS[op] -> OpSpec(op, rd, ra, rb, imm)     one row of the table of SPEC §4.3
    Instruction(op, rd, ra, rb, imm).word0, .packed
    unpack_instruction(packed) -> Instruction
    Program(instructions).code_hash            made by `make_program`, which checks
    encode_program / decode_program            program files, "UVM1"
    encode_instructions / read_program         count and instructions inside other formats
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final

from protocol.constants import MAX_PROGRAM, MAX_WORDS, TAG_CODE
from protocol.errors import DecodeError, ProgramError
from protocol.reader import Reader
from protocol.vm.poseidon import list_hash

INT_REGISTERS: Final = 12
REGISTERS: Final = 16
"""r0..r11 are numbers 0..11, f0..f3 are 12..15."""
U128: Final = 1 << 128
PROGRAM_MAGIC: Final = b"UVM1"
INSTRUCTION_BYTES: Final = 32


class Op(IntEnum):
    """Enabled instructions by their numbers; SPEC §4.3 reserves the others."""

    JMP = 0x01
    JZ = 0x02
    JNZ = 0x03
    RETURN = 0x04
    REVERT = 0x05
    XCALL = 0x06
    XTRY = 0x07
    XCALLV = 0x08
    XTRYV = 0x09
    ICALL = 0x0A
    LDI = 0x10
    MOV = 0x11
    ADD = 0x12
    SUB = 0x13
    LT = 0x14
    EQ = 0x15
    MUL = 0x16
    DIV = 0x17
    MOD = 0x18
    MIN = 0x19
    MAX = 0x1A
    AND = 0x1B
    OR = 0x1C
    XOR = 0x1D
    SHL = 0x1E
    SHR = 0x1F
    LDF = 0x20
    MOVF = 0x21
    ADDF = 0x22
    SUBF = 0x23
    MULF = 0x24
    EQF = 0x25
    ITOF = 0x26
    HASH = 0x27
    ADDR = 0x28
    FHI = 0x29
    FLO = 0x2A
    INVF = 0x2B
    LDFH = 0x2C
    CALLER = 0x30
    SELF = 0x31
    VALUE = 0x32
    TIME = 0x33
    SEL = 0x34
    ARGHI = 0x35
    ARGLO = 0x36
    ARGLEN = 0x37
    RETHI = 0x38
    RETLO = 0x39
    RETLEN = 0x3A
    BALANCE = 0x3B
    RETOK = 0x3C
    SLOAD = 0x40
    SSTORE = 0x41
    SLOADF = 0x42
    SSTOREF = 0x43
    OUT = 0x50


class Operand(Enum):
    """What a register field of an instruction names."""

    UNUSED = "-"
    INT = "i"
    FIELD = "f"


class Immediate(Enum):
    """What an immediate is, and so its range."""

    UNUSED = "-"
    TARGET = "t"
    """An instruction of the same program."""
    U128 = "u128"
    COUNT = "n"
    """Number of out words, 0..16."""
    WORD = "k"
    """Number of a word, 0..15."""
    XCALL = "x"
    """selector u32 + 2^32 * out words (0..16) + 2^40 * gas u64."""
    XTRY = "y"
    """As XCALL, gas not 0, + 2^104 if the callee's revert data is not wanted."""
    ICALL = "z"
    """As XCALL, without gas."""


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One row of the instruction table."""

    op: Op
    rd: Operand
    ra: Operand
    rb: Operand
    imm: Immediate


def _spec(op: Op, registers: str, imm: Immediate = Immediate.UNUSED) -> OpSpec:
    rd, ra, rb = (Operand(x) for x in registers)
    return OpSpec(op, rd, ra, rb, imm)


_TABLE: Final = (
    _spec(Op.JMP, "---", Immediate.TARGET),
    _spec(Op.JZ, "-i-", Immediate.TARGET),
    _spec(Op.JNZ, "-i-", Immediate.TARGET),
    _spec(Op.RETURN, "---", Immediate.COUNT),
    _spec(Op.REVERT, "---", Immediate.COUNT),
    _spec(Op.XCALL, "-f-", Immediate.XCALL),
    _spec(Op.XTRY, "-f-", Immediate.XTRY),
    _spec(Op.XCALLV, "-fi", Immediate.XCALL),
    _spec(Op.XTRYV, "-fi", Immediate.XTRY),
    _spec(Op.ICALL, "-fi", Immediate.ICALL),
    _spec(Op.LDI, "i--", Immediate.U128),
    _spec(Op.MOV, "ii-"),
    _spec(Op.ADD, "iii"),
    _spec(Op.SUB, "iii"),
    _spec(Op.LT, "iii"),
    _spec(Op.EQ, "iii"),
    *(_spec(op, "iii") for op in (Op.MUL, Op.DIV, Op.MOD, Op.MIN, Op.MAX, Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR)),
    _spec(Op.LDF, "f--", Immediate.U128),
    _spec(Op.MOVF, "ff-"),
    _spec(Op.ADDF, "fff"),
    _spec(Op.SUBF, "fff"),
    _spec(Op.MULF, "fff"),
    _spec(Op.EQF, "iff"),
    _spec(Op.ITOF, "fi-"),
    _spec(Op.HASH, "fff"),
    _spec(Op.ADDR, "fii"),
    _spec(Op.FHI, "if-"),
    _spec(Op.FLO, "if-"),
    _spec(Op.INVF, "ff-"),
    _spec(Op.LDFH, "ff-", Immediate.U128),
    _spec(Op.CALLER, "f--"),
    _spec(Op.SELF, "f--"),
    _spec(Op.VALUE, "i--"),
    _spec(Op.TIME, "i--"),
    _spec(Op.SEL, "i--"),
    _spec(Op.ARGHI, "i--", Immediate.WORD),
    _spec(Op.ARGLO, "i--", Immediate.WORD),
    _spec(Op.ARGLEN, "i--"),
    _spec(Op.RETHI, "i--", Immediate.WORD),
    _spec(Op.RETLO, "i--", Immediate.WORD),
    _spec(Op.RETLEN, "i--"),
    _spec(Op.BALANCE, "i--"),
    _spec(Op.RETOK, "i--"),
    _spec(Op.SLOAD, "if-"),
    _spec(Op.SSTORE, "-fi"),
    _spec(Op.SLOADF, "ff-"),
    _spec(Op.SSTOREF, "-ff"),
    _spec(Op.OUT, "-ii", Immediate.WORD),
)
OPS: Final = MappingProxyType({int(spec.op): spec for spec in _TABLE})
ENDS: Final = frozenset({Op.JMP, Op.RETURN, Op.REVERT})
"""Instructions that a program may end with: none of them falls through."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; fields that the op does not use are 0."""

    op: int
    rd: int = 0
    ra: int = 0
    rb: int = 0
    imm: int = 0

    @property
    def word0(self) -> int:
        """Op and registers as one u32 (SPEC §4.2)."""
        return self.op | self.rd << 8 | self.ra << 16 | self.rb << 24

    @property
    def packed(self) -> int:
        """The whole instruction as one data word: word0 is its hi, imm its lo."""
        return self.word0 << 128 | self.imm


def unpack_instruction(packed: int) -> Instruction:
    """The instruction that a word packs.

    Args:
        packed: 256 bits.

    Raises:
        DecodeError: PROGRAM_WORD: word0 is 2^32 or more.
    """
    word0 = packed >> 128
    if word0 >> 32:
        raise DecodeError("PROGRAM_WORD", word=packed)
    op, rd, ra, rb = word0.to_bytes(4, "little")
    return Instruction(op, rd, ra, rb, packed & (U128 - 1))


@dataclass(frozen=True, slots=True)
class Program:
    """A well-formed program; make it with `make_program`."""

    instructions: tuple[Instruction, ...]
    code_hash: int = field(compare=False)
    """L(TAG_CODE, packed_0, packed_1, ...)."""


def xcall_immediate(selector: int, out_words: int, gas: int, opaque: bool = False) -> int:
    """Immediate of a call; the ranges are checked by `check_program`."""
    return selector | out_words << 32 | gas << 40 | opaque << 104


def split_xcall(imm: int) -> tuple[int, int, int]:
    """(selector, out words, gas) of a call's immediate."""
    return imm & 0xFFFFFFFF, (imm >> 32) & 0xFF, (imm >> 40) & 0xFFFFFFFFFFFFFFFF


def is_opaque(imm: int) -> bool:
    """Whether a trying call wants no revert data."""
    return bool(imm >> 104 & 1)


def _fits(kind: Immediate, imm: int, count: int) -> bool:
    match kind:
        case Immediate.UNUSED:
            return imm == 0
        case Immediate.TARGET:
            return 0 <= imm < count
        case Immediate.U128:
            return 0 <= imm < U128
        case Immediate.COUNT:
            return 0 <= imm <= MAX_WORDS
        case Immediate.WORD:
            return 0 <= imm < MAX_WORDS
        case Immediate.XCALL:
            return 0 <= imm < 1 << 104 and split_xcall(imm)[1] <= MAX_WORDS
        case Immediate.XTRY:
            return 0 <= imm < 1 << 105 and split_xcall(imm)[1] <= MAX_WORDS and split_xcall(imm)[2] > 0
        case Immediate.ICALL:
            return 0 <= imm < 1 << 40 and split_xcall(imm)[1] <= MAX_WORDS


def _register_fits(operand: Operand, number: int) -> bool:
    match operand:
        case Operand.UNUSED:
            return number == 0
        case Operand.INT:
            return 0 <= number < INT_REGISTERS
        case Operand.FIELD:
            return INT_REGISTERS <= number < REGISTERS


def check_instruction(instruction: Instruction, pc: int, count: int) -> None:
    """Check one instruction of a program of `count`, by itself.

    Raises:
        ProgramError: PROGRAM_OP, PROGRAM_REGISTER, PROGRAM_IMMEDIATE, PROGRAM_END; values name the pc.
    """
    spec = OPS.get(instruction.op)
    if spec is None:
        raise ProgramError("PROGRAM_OP", pc=pc, op=instruction.op)
    for name in ("rd", "ra", "rb"):
        if not _register_fits(getattr(spec, name), getattr(instruction, name)):
            raise ProgramError("PROGRAM_REGISTER", pc=pc, field=name, number=getattr(instruction, name))
    if not _fits(spec.imm, instruction.imm, count):
        raise ProgramError("PROGRAM_IMMEDIATE", pc=pc, op=spec.op.name, imm=instruction.imm)
    if pc == count - 1 and instruction.op not in ENDS:
        raise ProgramError("PROGRAM_END", pc=pc, op=instruction.op)


def check_program(instructions: Sequence[Instruction]) -> None:
    """Check that a program is well-formed (SPEC §4.2).

    Raises:
        ProgramError: PROGRAM_LENGTH, or the reasons of `check_instruction`.
    """
    count = len(instructions)
    if not 1 <= count <= MAX_PROGRAM:
        raise ProgramError("PROGRAM_LENGTH", count=count)
    for pc, instruction in enumerate(instructions):
        check_instruction(instruction, pc, count)


def code_hash(instructions: Sequence[Instruction]) -> int:
    """Hash of a program's instructions."""
    return list_hash(TAG_CODE, [x.packed for x in instructions])


def make_program(instructions: Sequence[Instruction]) -> Program:
    """Check a program and hash it.

    Raises:
        ProgramError: not well-formed.
    """
    check_program(instructions)
    return Program(tuple(instructions), code_hash(instructions))


def encode_instructions(program: Program) -> bytes:
    """count u16 and one word for each instruction."""
    return len(program.instructions).to_bytes(2, "big") + b"".join(
        x.packed.to_bytes(INSTRUCTION_BYTES, "big") for x in program.instructions
    )


def read_instructions(reader: Reader, count: int) -> Program:
    """Read `count` instructions of a program.

    Raises:
        DecodeError: truncated, PROGRAM_WORD.
        ProgramError: not well-formed.
    """
    if not 1 <= count <= MAX_PROGRAM:
        raise ProgramError("PROGRAM_LENGTH", count=count)
    return make_program([unpack_instruction(reader.uint(INSTRUCTION_BYTES)) for _ in range(count)])


def encode_program(program: Program) -> bytes:
    """Bytes of a program file."""
    return PROGRAM_MAGIC + encode_instructions(program)


def decode_program(raw: bytes) -> Program:
    """Decode a program file.

    Raises:
        DecodeError: PROGRAM_SIZE, PROGRAM_MAGIC, PROGRAM_WORD, truncated, trailing bytes.
        ProgramError: not well-formed.
    """
    if len(raw) > 6 + INSTRUCTION_BYTES * MAX_PROGRAM:
        raise DecodeError("PROGRAM_SIZE", size=len(raw))
    reader = Reader(raw, "PROGRAM")
    if reader.take(4) != PROGRAM_MAGIC:
        raise DecodeError("PROGRAM_MAGIC")
    program = read_instructions(reader, reader.uint(2))
    reader.end()
    return program
