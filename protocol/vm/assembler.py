"""Assembler of the table VM: source text to a well-formed program.

API:
    assemble(source, includes={}) -> Program
    included_names(source) -> names that a source includes

Syntax, one item per line; `;` starts a comment:
    .const NAME = VALUE         a name for a number; names may be used wherever numbers may
    .include FILE               the constants of another source, which has nothing else
    label:                      may stand before an instruction on the same line
    OP operand, operand, ..     rd, ra, rb as the op uses them, then the immediate; OP in any case
Registers are r0..r11 and f0..f3. A VALUE is a decimal or 0x number, a name, selector("price()"), the first bytes of
keccak, or endpoint(ROLLUP, ADDRESS) of two values. Jump targets are labels. Calls take registers, selector, out words,
then gas (not ICALL); XTRY and XTRYV may end with `opaque`. `LDF f, VALUE` with a field element of 2^128 or more becomes
two instructions, LDF and LDFH.
Source is at most MAX_SOURCE characters. A refusal is an AssemblyError with reason and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.constants import ADDRESS_BITS, FIELD_ORDER, MAX_PROGRAM
from protocol.errors import AssemblyError, ProgramError
from protocol.hashing import selector
from protocol.vm.isa import (
    ENDS,
    INT_REGISTERS,
    OPS,
    U128,
    Immediate,
    Instruction,
    Op,
    Operand,
    OpSpec,
    Program,
    make_program,
    xcall_immediate,
)

NO_INCLUDES: Final[Mapping[str, str]] = MappingProxyType({})
MAX_SOURCE: Final = 1 << 20
"""Characters of source."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*:")
_CONST: Final = re.compile(r"\.const\s+([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.+)")
_INCLUDE: Final = re.compile(r"\.include\s+([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})")
_ENDPOINT: Final = re.compile(r"endpoint\(\s*([^,()\s]+)\s*,\s*([^,()\s]+)\s*\)")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,64}|[0-9]{1,80}")
_SELECTOR: Final = re.compile(r'selector\(\s*"([A-Za-z_$][A-Za-z0-9_$]*\([A-Za-z0-9_,()\[\]]*\))"\s*\)')
_REGISTER: Final = re.compile(r"([rf])([0-9]{1,2})")
_RESERVED: Final = re.compile(r"([rf][0-9]+)|selector|opaque|endpoint")
MAX_INCLUDES: Final = 8
"""Of one source inside another."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    op: Op
    operands: tuple[str, ...]


def included_names(source: str) -> tuple[str, ...]:
    """What a source includes itself, in order: the caller finds the texts."""
    return tuple(match[1] for _, text in _statements(source) if (match := _INCLUDE.fullmatch(text)) is not None)


def assemble(source: str, includes: Mapping[str, str] = NO_INCLUDES) -> Program:
    """Translate source text.

    Args:
        includes: texts by the names that `.include` gives; those that they include, too.

    Raises:
        AssemblyError: ASM_SIZE, ASM_SYNTAX, ASM_OP, ASM_OPERANDS, ASM_REGISTER, ASM_NAME (unknown), ASM_DUPLICATE,
            ASM_RANGE, ASM_LENGTH, ASM_END (control can run past the end), ASM_INCLUDE (unknown, or too deep);
            values["line"] is 1-based, of the main source; values["file"] names the included one that is wrong.
    """
    if len(source) > MAX_SOURCE:
        raise AssemblyError("ASM_SIZE", line=0, size=len(source))
    constants: dict[str, int] = {}
    labels: dict[str, int] = {}
    lines: list[_Line] = []
    for number, text in _statements(source):
        while (match := _LABEL.match(text)) is not None:
            _define(labels, match[1], len(lines), number, other=constants)
            text = text[match.end() :].strip()
        if text.startswith("."):
            _directive(text, constants, labels, includes, number)
        elif text:
            if len(lines) == MAX_PROGRAM:
                raise AssemblyError("ASM_LENGTH", line=number, limit=MAX_PROGRAM)
            lines.append(_parse(text, number))
    if not lines:
        raise AssemblyError("ASM_LENGTH", line=0, limit=MAX_PROGRAM)
    if lines[-1].op not in ENDS:
        raise AssemblyError("ASM_END", line=lines[-1].number)
    lines, places = _expanded(lines, constants)
    labels = {name: places[number] for name, number in labels.items()}
    if len(lines) > MAX_PROGRAM:
        raise AssemblyError("ASM_LENGTH", line=lines[MAX_PROGRAM].number, limit=MAX_PROGRAM)
    try:
        return make_program([_translate(line, constants, labels) for line in lines])
    except ProgramError as error:
        pc = error.values.get("pc")
        assert isinstance(pc, int)
        raise AssemblyError("ASM_RANGE", line=lines[pc].number, cause=error.reason) from error


def _directive(
    text: str,
    constants: dict[str, int],
    labels: Mapping[str, int],
    includes: Mapping[str, str],
    line: int,
    depth: int = 0,
) -> None:
    """A line that makes no instruction."""
    if (match := _CONST.fullmatch(text)) is not None:
        _define(constants, match[1], _value(match[2].strip(), constants, line), line, other=labels)
        return
    if (match := _INCLUDE.fullmatch(text)) is None:
        raise AssemblyError("ASM_SYNTAX", line=line, text=text)
    name = match[1]
    included = includes.get(name)
    if included is None or depth == MAX_INCLUDES:
        raise AssemblyError("ASM_INCLUDE", line=line, name=name)
    if len(included) > MAX_SOURCE:
        raise AssemblyError("ASM_SIZE", line=line, size=len(included))
    for number, inner in _statements(included):
        try:
            _directive(inner, constants, labels, includes, number, depth + 1)
        except AssemblyError as error:
            where = {"file": f"{name}:{number}", **error.values, "line": line}  # the innermost file stays
            raise AssemblyError(error.reason, **where) from error


def _expanded(lines: list[_Line], constants: Mapping[str, int]) -> tuple[list[_Line], list[int]]:
    """Each large LDF as two lines; and the place that each line, and the end, has then."""
    out: list[_Line] = []
    places = []
    for line in lines:
        places.append(len(out))
        if line.op is Op.LDF and len(line.operands) == 2:
            register, value = line.operands[0], _value(line.operands[1], constants, line.number)
            if value >= FIELD_ORDER:
                raise AssemblyError("ASM_RANGE", line=line.number, cause="LDF")
            out.append(_Line(line.number, Op.LDF, (register, str(value % U128))))
            if value >= U128:
                out.append(_Line(line.number, Op.LDFH, (register, register, str(value // U128))))
        else:
            out.append(line)
    return out, [*places, len(out)]


def _statements(source: str) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(source.splitlines(), start=1):
        stripped = text.partition(";")[0].strip()
        if stripped:
            yield number, stripped


def _define(names: dict[str, int], name: str, value: int, line: int, *, other: Mapping[str, int]) -> None:
    if name in names or name in other:
        raise AssemblyError("ASM_DUPLICATE", line=line, name=name)
    if _RESERVED.fullmatch(name):
        raise AssemblyError("ASM_SYNTAX", line=line, text=name)
    names[name] = value


def _value(text: str, constants: Mapping[str, int], line: int) -> int:
    if _NUMBER.fullmatch(text):
        return int(text, 16 if text[:2] in ("0x", "0X") else 10)
    match = _SELECTOR.fullmatch(text)
    if match is not None:
        return selector(match[1])
    match = _ENDPOINT.fullmatch(text)
    if match is not None:
        rollup_id, account = (_value(each, constants, line) for each in match.groups())
        if rollup_id >> 64 or account >> ADDRESS_BITS:
            raise AssemblyError("ASM_RANGE", line=line, cause="endpoint")
        return rollup_id << ADDRESS_BITS | account
    if _NAME.fullmatch(text):
        if text not in constants:
            raise AssemblyError("ASM_NAME", line=line, name=text)
        return constants[text]
    raise AssemblyError("ASM_SYNTAX", line=line, text=text)


def _parse(text: str, number: int) -> _Line:
    mnemonic, _, rest = text.partition(" ")
    try:
        op = Op[mnemonic.upper()]
    except KeyError:
        raise AssemblyError("ASM_OP", line=number, op=mnemonic) from None
    return _Line(number, op, _split(rest))


def _split(rest: str) -> tuple[str, ...]:
    """Cut at commas outside of quotes and brackets, for selectors and endpoints contain commas."""
    parts = [""]
    quoted, depth = False, 0
    for character in rest.strip():
        quoted ^= character == '"'
        depth += (character == "(") - (character == ")")
        if character == "," and not quoted and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return () if parts == [""] else tuple(part.strip() for part in parts)


def _register(text: str, operand: Operand, line: int) -> int:
    match = _REGISTER.fullmatch(text.lower())
    if match is None:
        raise AssemblyError("ASM_REGISTER", line=line, text=text)
    is_field, number = match[1] == "f", int(match[2])
    if is_field != (operand is Operand.FIELD) or number >= (4 if is_field else INT_REGISTERS):
        raise AssemblyError(
            "ASM_REGISTER", line=line, text=text, wanted="f0..f3" if operand.value == "f" else "r0..r11"
        )
    return number + INT_REGISTERS if is_field else number


_CALLS: Final = (Immediate.XCALL, Immediate.XTRY, Immediate.ICALL)
_OPAQUE: Final = "opaque"


def _operand_count(spec: OpSpec) -> int:
    registers = sum(x is not Operand.UNUSED for x in (spec.rd, spec.ra, spec.rb))
    counts = {Immediate.UNUSED: 0, Immediate.XCALL: 3, Immediate.XTRY: 3, Immediate.ICALL: 2}
    return registers + counts.get(spec.imm, 1)


def _call(spec: OpSpec, rest: list[str], constants: Mapping[str, int], line: int, opaque: bool) -> int:
    numbers = [_value(text, constants, line) for text in rest]
    chosen, count, gas = (*numbers, 0)[:3]
    if chosen >> 32 or count >> 8 or gas >> 64:
        raise AssemblyError("ASM_RANGE", line=line, cause=spec.op.name)
    return xcall_immediate(chosen, count, gas, opaque)


def _translate(line: _Line, constants: Mapping[str, int], labels: Mapping[str, int]) -> Instruction:
    spec = OPS[line.op]
    rest = list(line.operands)
    opaque = spec.imm is Immediate.XTRY and rest[-1:] == [_OPAQUE]
    if opaque:
        rest.pop()
    wanted = _operand_count(spec)
    if len(rest) != wanted:
        raise AssemblyError("ASM_OPERANDS", line=line.number, op=line.op.name, wanted=wanted, found=len(rest))
    rd, ra, rb = (
        0 if operand is Operand.UNUSED else _register(rest.pop(0), operand, line.number)
        for operand in (spec.rd, spec.ra, spec.rb)
    )
    imm = 0
    if spec.imm is Immediate.TARGET:
        if rest[0] not in labels:
            raise AssemblyError("ASM_NAME", line=line.number, name=rest[0])
        imm = labels[rest[0]]
    elif spec.imm in _CALLS:
        imm = _call(spec, rest, constants, line.number, opaque)
    elif spec.imm is not Immediate.UNUSED:
        imm = _value(rest[0], constants, line.number)
    return Instruction(line.op, rd, ra, rb, imm)
