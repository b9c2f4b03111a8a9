"""`unveto vm`: write programs of the table VM."""

from __future__ import annotations

import argparse
from pathlib import Path

from node.commands import Commands
from node.errors import NotFound
from node.output import Output
from protocol.vm.assembler import assemble
from protocol.vm.disassembler import disassemble
from protocol.vm.isa import decode_program, encode_program

MAX_FILE_BYTES = 1 << 20


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("vm", help="assemble and disassemble table VM programs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    asm = actions.add_parser("asm", parents=[common], help="source to program file")
    asm.add_argument("source", type=Path)
    asm.add_argument("program", type=Path, help="program file (.uvm1) to write")
    asm.set_defaults(run=run_asm)
    dis = actions.add_parser("disasm", parents=[common], help="program file to source")
    dis.add_argument("program", type=Path)
    dis.set_defaults(run=run_disasm)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFound(what="file", name=str(path)) from error


def run_asm(args: argparse.Namespace, out: Output) -> int:
    """Assemble a source file."""
    program = assemble(_read(args.source).decode(errors="replace"))
    args.program.write_bytes(encode_program(program))
    out.say(f"{len(program.instructions)} instructions, code hash {program.code_hash:#066x}: {args.program}")
    out.result({"instructions": len(program.instructions), "code_hash": f"{program.code_hash:#066x}"})
    return 0


def run_disasm(args: argparse.Namespace, out: Output) -> int:
    """Disassemble a program file."""
    program = decode_program(_read(args.program))
    text = disassemble(program)
    out.say(text.rstrip("\n"))
    out.result({"source": text, "code_hash": f"{program.code_hash:#066x}"})
    return 0
