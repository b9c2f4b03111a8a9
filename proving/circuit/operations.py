"""Operations as the circuit groups them: opcode numbers and register classes (SPEC §4.3).

The circuit names what it proves; a test compares this table with the machine's.
"""

from __future__ import annotations

from functools import cache
from typing import Final

_TABLE: Final = """
    0x01 JMP     - - -
    0x02 JZ      - i -
    0x03 JNZ     - i -
    0x04 RETURN  - - -
    0x05 REVERT  - - -
    0x06 XCALL   - f -
    0x07 XTRY    - f -
    0x08 XCALLV  - f i
    0x09 XTRYV   - f i
    0x0a ICALL   - f i
    0x10 LDI     i - -
    0x11 MOV     i i -
    0x12 ADD     i i i
    0x13 SUB     i i i
    0x14 LT      i i i
    0x15 EQ      i i i
    0x16 MUL     i i i
    0x17 DIV     i i i
    0x18 MOD     i i i
    0x19 MIN     i i i
    0x1a MAX     i i i
    0x1b AND     i i i
    0x1c OR      i i i
    0x1d XOR     i i i
    0x1e SHL     i i i
    0x1f SHR     i i i
    0x20 LDF     f - -
    0x21 MOVF    f f -
    0x22 ADDF    f f f
    0x23 SUBF    f f f
    0x24 MULF    f f f
    0x25 EQF     i f f
    0x26 ITOF    f i -
    0x27 HASH    f f f
    0x28 ADDR    f i i
    0x29 FHI     i f -
    0x2a FLO     i f -
    0x2b INVF    f f -
    0x2c LDFH    f f -
    0x30 CALLER  f - -
    0x31 SELF    f - -
    0x32 VALUE   i - -
    0x33 TIME    i - -
    0x34 SEL     i - -
    0x35 ARGHI   i - -
    0x36 ARGLO   i - -
    0x37 ARGLEN  i - -
    0x38 RETHI   i - -
    0x39 RETLO   i - -
    0x3a RETLEN  i - -
    0x3b BALANCE i - -
    0x3c RETOK   i - -
    0x40 SLOAD   i f -
    0x41 SSTORE  - f i
    0x42 SLOADF  f f -
    0x43 SSTOREF - f f
    0x50 OUT     - i i
"""
_ROWS: Final = tuple(line.split() for line in _TABLE.strip().splitlines())

CODES: Final = {name: int(code, 16) for code, name, *_ in _ROWS}
"""Opcode of each operation that the circuit proves."""


GROUPS: Final = {
    "INTEGERS": ("MUL", "DIV", "MOD", "MIN", "MAX", "AND", "OR", "XOR", "SHL", "SHR"),
    "HALVES": ("FHI", "FLO"),
    "INVERSE": ("INVF",),
}
"""Operations that integer units do, by the classes of their registers. A row has one flag for each group."""
GROUP_OF: Final = {name: group for group, names in GROUPS.items() for name in names}


GROUP_BIT: Final = 40
"""Above word0, so that one group cannot pass for another with a shifted opcode."""


@cache
def with_register(operand: int, kind: str) -> tuple[str, ...]:
    """Operations and groups whose operand (0 rd, 1 ra, 2 rb) is a register of the class `i` or `f`."""
    names = (row[1] for row in _ROWS if row[2 + operand] == kind)
    return tuple(dict.fromkeys(GROUP_OF.get(name, name) for name in names))


def unit_tag(name: str) -> int:
    """Number by which a row names what it wants of an integer unit: opcode and group; never 0."""
    return CODES[name] + ((1 + list(GROUPS).index(GROUP_OF[name])) << GROUP_BIT)


JUMPS: Final = ("JMP", "JZ", "JNZ")
CALLS: Final = ("XCALL", "XTRY", "XCALLV", "XTRYV")
"""Calls out of the rollup."""
TRIES: Final = ("XTRY", "XTRYV")
VALUED: Final = ("XCALLV", "XTRYV", "ICALL")
NUMBERS: Final = (*JUMPS, *CALLS, "ICALL", "RETURN", "REVERT", "LDI", "LDF", "LDFH")
"""`imm` is a number below 2^128; for the others it is a word's number or 0."""
WORD_OPERATIONS: Final = ("ARGHI", "ARGLO", "RETHI", "RETLO", "OUT")
"""`imm` names a data word."""
ENVIRONMENT: Final = ("CALLER", "SELF", "VALUE", "TIME", "SEL", "ARGLEN", "RETLEN", "BALANCE", "RETOK")
"""rd becomes something that is fixed for the stretch."""
