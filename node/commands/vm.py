"""`unveto vm`: write programs of the table VM, and try them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from node.commands import Commands
from node.commands.arguments import call_bytes, endpoint_of, hexadecimal, slot_of, wei
from node.commands.vm_calls import add_sign, deploy
from node.commands.vm_proof import prove_trial
from node.errors import NotFound, UsageError
from node.output import Output
from protocol.actions import ActionKind
from protocol.constants import STEP_LIMIT
from protocol.types import Address, split_endpoint
from protocol.vm.assembler import assemble, included_names
from protocol.vm.disassembler import disassemble
from protocol.vm.isa import PROGRAM_MAGIC, Program, decode_program, encode_program
from protocol.vm.machine import EntryRun
from protocol.vm.trial import TRIAL_CALLER, trace_lines, try_program

MAX_FILE_BYTES: Final = 1 << 20
MAX_INCLUDED_FILES: Final = 64
MAX_ANSWERS: Final = 64
DEFAULT_STEPS: Final = 10_000
"""Some seconds, were every step a write to storage."""
FAILED_ANSWER: Final = "fail"


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("vm", help="assemble, disassemble and try table VM programs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    asm = actions.add_parser("asm", parents=[common], help="source to program file")
    asm.add_argument("source", type=Path)
    asm.add_argument("program", type=Path, help="program file (.uvm1) to write")
    asm.set_defaults(run=run_asm)
    dis = actions.add_parser("disasm", parents=[common], help="program file to source")
    dis.add_argument("program", type=Path)
    dis.set_defaults(run=run_disasm)
    deployment = actions.add_parser("deploy", parents=[common], help="call data that deploys a program")
    deployment.add_argument("program", type=Path, help="program file or assembler source")
    deployment.add_argument("--caller", required=True, metavar="[ROLLUP:]ADDRESS", help="who will call")
    deployment.add_argument("--salt", type=int, default=0, metavar="N", help="another one gives another address")
    deployment.set_defaults(run=run_deploy)
    add_sign(actions.add_parser("sign", parents=[common], help="sign a transaction of a rollup"))
    _add_run(actions.add_parser("run", parents=[common], help="call a program, without a rollup or a chain"))


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("program", type=Path, help="program file or assembler source")
    run.add_argument("--call", metavar="'NAME(TYPES) VALUES'", help="function to call, e.g. 'add(uint256) 5'")
    run.add_argument("--data", metavar="HEX", help="call data instead of --call")
    run.add_argument("--caller", metavar="[ROLLUP:]ADDRESS", help="who calls; without ROLLUP an account of L1")
    run.add_argument("--value", default="0", metavar="AMOUNT", help="wei, or ether as in 0.5ether")
    run.add_argument(
        "--slot",
        action="append",
        default=[],
        metavar="SLOT=VALUE",
        help="storage from the start; VALUE is a number or ROLLUP:ADDRESS",
    )
    run.add_argument(
        "--answer",
        action="append",
        default=[],
        metavar="HEX",
        help=f"what the next outgoing call answers, or '{FAILED_ANSWER}'; repeat it for more calls",
    )
    run.add_argument("--time", type=int, default=0, metavar="SECONDS", help="what TIME gives")
    run.add_argument("--max-steps", type=int, default=DEFAULT_STEPS, metavar="N", help="give up after N steps")
    run.add_argument("--trace", action="store_true", help="print each step")
    run.add_argument(
        "--with",
        dest="others",
        action="append",
        default=[],
        metavar="ADDRESS=FILE",
        help="another program of the same rollup, for ICALL; repeat it for more",
    )
    run.add_argument("--prove", action="store_true", help="then prove the trial with a developer key, and verify")
    run.set_defaults(run=run_run)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFound(what="file", name=str(path)) from error


def run_asm(args: argparse.Namespace, out: Output) -> int:
    """Assemble a source file."""
    program = _assembled(args.source, _read(args.source))
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


def _program(path: Path) -> Program:
    raw = _read(path)
    return decode_program(raw) if raw.startswith(PROGRAM_MAGIC) else _assembled(path, raw)


def _assembled(path: Path, raw: bytes) -> Program:
    """Assemble a source; what it includes lies beside it."""
    source = raw.decode(errors="replace")
    includes: dict[str, str] = {}
    wanted = list(included_names(source))
    while wanted and len(includes) < MAX_INCLUDED_FILES:
        name = wanted.pop()
        if name not in includes:
            includes[name] = _read(path.parent / name).decode(errors="replace")
            wanted += included_names(includes[name])
    return assemble(source, includes)


def _other(text: str) -> tuple[Address, Program]:
    where, found, path = text.partition("=")
    if not found:
        raise UsageError(problem=f"--with is ADDRESS=FILE, not {text!r}")
    return split_endpoint(endpoint_of(where))[1], _program(Path(path))


def _answer(text: str) -> bytes | None:
    return None if text == FAILED_ANSWER else hexadecimal("--answer", text)


def run_deploy(args: argparse.Namespace, out: Output) -> int:
    """Call data that deploys a program."""
    return deploy(_program(args.program), args.caller, args.salt, out)


def run_run(args: argparse.Namespace, out: Output) -> int:
    """Call a program in a world of its own. A program that fails is a result, not an error."""
    if not 1 <= args.max_steps <= STEP_LIMIT:
        raise UsageError(problem=f"--max-steps is from 1 to {STEP_LIMIT}")
    if not 0 <= args.time < 1 << 64:
        raise UsageError(problem="--time is in unix seconds, below 2^64")
    if len(args.answer) > MAX_ANSWERS:
        raise UsageError(problem=f"at most {MAX_ANSWERS} answers")
    runs = try_program(
        _program(args.program),
        data=call_bytes(args.call, args.data),
        value=wei(args.value),
        caller=TRIAL_CALLER if args.caller is None else endpoint_of(args.caller),
        slots=dict(slot_of(each) for each in args.slot),
        others=dict(_other(each) for each in args.others),
        answers=tuple(_answer(each) for each in args.answer),
        l2_time=args.time,
        budget=args.max_steps,
    )
    proven = prove_trial(runs, l2_time=args.time, out=out) if args.prove else {}
    _show(runs, args.trace, len(args.answer), proven, out)
    return 0


def _show(runs: tuple[EntryRun, ...], trace: bool, answers: int, proven: Mapping[str, object], out: Output) -> None:
    last = runs[-1]
    spare = answers - sum(run.trigger.kind is ActionKind.RESULT for run in runs)
    for number, run in enumerate(runs):
        ended = run.outcome.value if run.trap is None else f"{run.outcome.value} {run.trap.value}"
        out.say(f"{run.trigger.kind.name.lower()}: {ended} after {run.step_count} steps")
        if trace:
            for line in trace_lines(run):
                out.say("  " + line)
        if run.suspended is not None and number == len(runs) - 1:
            out.say("the program waits for an answer: give --answer")
    if spare:
        out.say(f"{spare} answers were not asked for")
    action = last.next_action
    if action.kind is ActionKind.RESULT:
        out.say(f"{'failed' if action.failed else 'answered'}: 0x{action.data.hex()}")
    else:
        carried = f" with {action.value} wei" if action.value else ""
        out.say(f"calls {_where(action.target)}{carried}: 0x{action.data.hex()}")
    out.result(
        {
            "outcome": last.outcome.value,
            "failed": action.failed,
            "data": "0x" + action.data.hex(),
            "steps": sum(run.step_count for run in runs),
            "unused_answers": spare,
            "runs": [_run_json(run, trace) for run in runs],
            **proven,
        }
    )


def _run_json(run: EntryRun, trace: bool) -> dict[str, object]:
    action = run.next_action
    made: dict[str, object] = {
        "trigger": run.trigger.kind.name,
        "outcome": run.outcome.value,
        "trap": None if run.trap is None else run.trap.value,
        "steps": run.step_count,
        "root": f"{run.new_root:#066x}",
        "suspended": run.mid,
        "next": {
            "kind": action.kind.name,
            "target": _where(action.target),
            "failed": action.failed,
            "gas": action.gas,
            "data": "0x" + action.data.hex(),
        },
    }
    if trace:
        made["trace"] = list(trace_lines(run))
    return made


def _where(target: int) -> str:
    rollup, account = split_endpoint(target)
    return f"{rollup}:0x{account.hex()}"
