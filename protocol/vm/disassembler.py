"""Disassembler: a program to source text that assembles to the same program.

API:
    disassemble(program) -> str
    instruction_text(instruction) -> str
"""

from __future__ import annotations

from protocol.vm.isa import INT_REGISTERS, OPS, Immediate, Instruction, Op, Operand, Program, is_opaque, split_xcall


def _register(number: int) -> str:
    return f"f{number - INT_REGISTERS}" if number >= INT_REGISTERS else f"r{number}"


def instruction_text(instruction: Instruction) -> str:
    """One instruction as source; a jump target is the label that `disassemble` gives it."""
    spec = OPS[instruction.op]
    numbers = ((spec.rd, instruction.rd), (spec.ra, instruction.ra), (spec.rb, instruction.rb))
    operands = [_register(number) for operand, number in numbers if operand is not Operand.UNUSED]
    match spec.imm:
        case Immediate.UNUSED:
            pass
        case Immediate.TARGET:
            operands.append(f"at_{instruction.imm}")
        case Immediate.XCALL | Immediate.XTRY | Immediate.ICALL:
            selector, count, gas = split_xcall(instruction.imm)
            operands += [f"0x{selector:08x}", str(count)]
            operands += [] if spec.imm is Immediate.ICALL else [str(gas)]
            operands += ["opaque"] if is_opaque(instruction.imm) else []
        case _:
            operands.append(str(instruction.imm) if instruction.imm < 1 << 64 else hex(instruction.imm))
    return f"{Op(instruction.op).name:<8}{', '.join(operands)}".rstrip()


def disassemble(program: Program) -> str:
    """Source text: one instruction per line, a label `at_<pc>:` on a line of its own before each jump target."""
    targets = {x.imm for x in program.instructions if OPS[x.op].imm is Immediate.TARGET}
    lines = [f"; {len(program.instructions)} instructions, code hash {program.code_hash:#066x}"]
    for pc, instruction in enumerate(program.instructions):
        if pc in targets:
            lines.append(f"at_{pc}:")
        lines.append("    " + instruction_text(instruction))
    return "\n".join(lines) + "\n"
