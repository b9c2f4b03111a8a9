"""Assembler and disassembler: what is accepted, what is refused and where."""

from __future__ import annotations

import pytest

from protocol.constants import FIELD_ORDER
from protocol.errors import AssemblyError
from protocol.vm.assembler import assemble, included_names
from protocol.vm.disassembler import disassemble
from protocol.vm.isa import Instruction, Op, xcall_immediate

SOURCE = """
; comments, names and labels
.const LIMIT = 0x10          ; a number
.const AGAIN = LIMIT
.const PRICE = selector("price()")
start:  LDI   r1, AGAIN
loop: again:
        add   R2, r2, r1     ; any case
        LT    r3, r2, r1
        JNZ   r3, again
        JZ    r3, end
        LDF   f2, 21888242871839275222246405745257275088548364400416034343698204186575808495616
        XCALL f2, selector("transfer(address,uint256)"), 2, 50000
        XCALL f2, PRICE, 0, 0
        JMP   loop
end:    RETURN 16
"""


def test_source_becomes_instructions() -> None:
    """Operands land in the fields of the instruction table."""
    program = assemble(SOURCE)
    assert program.instructions == (
        Instruction(Op.LDI, 1, 0, 0, 16),
        Instruction(Op.ADD, 2, 2, 1),
        Instruction(Op.LT, 3, 2, 1),
        Instruction(Op.JNZ, 0, 3, 0, 1),
        Instruction(Op.JZ, 0, 3, 0, 10),
        Instruction(Op.LDF, 14, 0, 0, (FIELD_ORDER - 1) % (1 << 128)),
        Instruction(Op.LDFH, 14, 14, 0, (FIELD_ORDER - 1) >> 128),
        Instruction(Op.XCALL, 0, 14, 0, xcall_immediate(0xA9059CBB, 2, 50000)),
        Instruction(Op.XCALL, 0, 14, 0, 0xA035B1FE),
        Instruction(Op.JMP, 0, 0, 0, 1),
        Instruction(Op.RETURN, 0, 0, 0, 16),
    )


def test_disassembly_assembles_to_the_same_program() -> None:
    """And is a fixed point of the pair."""
    program = assemble(SOURCE)
    text = disassemble(program)
    assert assemble(text) == program
    assert disassemble(assemble(text)) == text


@pytest.mark.parametrize(
    ("source", "reason", "line"),
    [
        ("", "ASM_LENGTH", 0),
        ("; nothing", "ASM_LENGTH", 0),
        ("\n" * 0x110000, "ASM_SIZE", 0),
        ("RETURN 0\nFLY r1\nRETURN 0", "ASM_OP", 2),
        ("RETURN", "ASM_OPERANDS", 1),
        ("RETURN 0, 1", "ASM_OPERANDS", 1),
        ("ADD r1, r2\nRETURN 0", "ASM_OPERANDS", 1),
        ("ADD r1, r2, r12\nRETURN 0", "ASM_REGISTER", 1),
        ("ADD r1, r2, f0\nRETURN 0", "ASM_REGISTER", 1),
        ("MOVF f0, r0\nRETURN 0", "ASM_REGISTER", 1),
        ("MOVF f0, f4\nRETURN 0", "ASM_REGISTER", 1),
        ("MOV r1, 5\nRETURN 0", "ASM_REGISTER", 1),
        ("ADD r1,, r2\nRETURN 0", "ASM_REGISTER", 1),
        ("LDI r1, MISSING\nRETURN 0", "ASM_NAME", 1),
        ("JMP nowhere", "ASM_NAME", 1),
        (".const A = 1\nJMP A", "ASM_NAME", 2),
        ("a:\na:\nRETURN 0", "ASM_DUPLICATE", 2),
        (".const a = 1\na: RETURN 0", "ASM_DUPLICATE", 2),
        (".const a = 1\n.const a = 2\nRETURN 0", "ASM_DUPLICATE", 2),
        (".const r1 = 1\nRETURN 0", "ASM_SYNTAX", 1),
        (".constant a = 1\nRETURN 0", "ASM_SYNTAX", 1),
        (".const a 1\nRETURN 0", "ASM_SYNTAX", 1),
        ("LDI r1, -1\nRETURN 0", "ASM_SYNTAX", 1),
        ('LDI r1, selector("price")\nRETURN 0', "ASM_SYNTAX", 1),
        ("LDI r1, 0x100000000000000000000000000000000\nRETURN 0", "ASM_RANGE", 1),
        ("ARGLO r1, 16\nRETURN 0", "ASM_RANGE", 1),
        ("\nRETURN 17", "ASM_RANGE", 2),
        ("XCALL f0, 0x100000000, 0, 0\nRETURN 0", "ASM_RANGE", 1),
        ("XCALL f0, 0, 17, 0\nRETURN 0", "ASM_RANGE", 1),
        ("XCALL f0, 0, 0, 0x10000000000000000\nRETURN 0", "ASM_RANGE", 1),
        ("LDI r1, 1", "ASM_END", 1),
        ("a: JZ r1, a", "ASM_END", 1),
        ("end:\nRETURN 0\n" + "MOV r1, r1\n" * 4096, "ASM_LENGTH", 4098),
    ],
)
def test_bad_source_is_refused_with_its_line(source: str, reason: str, line: int) -> None:
    """Every refusal by reason and line."""
    with pytest.raises(AssemblyError) as caught:
        assemble(source)
    assert (caught.value.reason, caught.value.values["line"]) == (reason, line)


INCLUDES = {"slots.inc": "; shared\n.const A = 5\n.include more.inc", "more.inc": ".const B = 6"}


def test_constants_can_be_shared() -> None:
    """Also through an include of an include; endpoints are numbers like others."""
    source = (
        ".include slots.inc\n.const HOME = endpoint(3, 0x10)\n"
        "LDI r1, A\nLDI r2, B\nLDF f1, HOME\nLDF f2, endpoint(0, B)\nRETURN 0"
    )
    code = assemble(source, INCLUDES).instructions
    assert [x.imm for x in code[:5]] == [5, 6, (3 << 160 | 16) & ((1 << 128) - 1), 3 << 32, 6]
    assert included_names(source) == ("slots.inc",)


@pytest.mark.parametrize(
    ("source", "includes", "reason", "line"),
    [
        (".include nowhere\nRETURN 0", {}, "ASM_INCLUDE", 1),
        ("\n.include a\nRETURN 0", {"a": ".include a"}, "ASM_INCLUDE", 2),
        (".include a\nRETURN 0", {"a": "LDI r1, 1"}, "ASM_SYNTAX", 1),
        (".include a\nRETURN 0", {"a": ".const A = B"}, "ASM_NAME", 1),
        (".include a\n.include a\nRETURN 0", {"a": ".const A = 1"}, "ASM_DUPLICATE", 2),
        (".include ../a\nRETURN 0", {"../a": ""}, "ASM_SYNTAX", 1),
        ("LDF f1, endpoint(1)\nRETURN 0", {}, "ASM_SYNTAX", 1),
        (f"LDF f1, endpoint(1, {1 << 160})\nRETURN 0", {}, "ASM_RANGE", 1),
        (f"LDF f1, endpoint({1 << 64}, 1)\nRETURN 0", {}, "ASM_RANGE", 1),
        ("XTRY f1, 0, 0, 1, clear\nRETURN 0", {}, "ASM_OPERANDS", 1),
        ("XCALL f1, 0, 0, 1, opaque\nRETURN 0", {}, "ASM_OPERANDS", 1),
        ("XTRY f1, 0, 0, 0\nRETURN 0", {}, "ASM_RANGE", 1),
        ("ICALL f1, r1, 0, 17\nRETURN 0", {}, "ASM_RANGE", 1),
    ],
)
def test_wrong_includes_and_calls_are_refused(source: str, includes: dict[str, str], reason: str, line: int) -> None:
    """With the line of the main source; an include names its own line, too."""
    with pytest.raises(AssemblyError) as caught:
        assemble(source, includes)
    assert (caught.value.reason, caught.value.values["line"]) == (reason, line)
