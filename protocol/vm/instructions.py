"""What each instruction does, and the loop that does them (SPEC §4.3).

API:
    execute(run) -> (outcome, trap)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.constants import ADDRESS_BITS, ENDPOINT_BITS, FIELD_ORDER, INT_BITS, MAX_SCOPE
from protocol.types import endpoint
from protocol.vm.execution import Execution, Outcome, Step, Trap, Trapped
from protocol.vm.isa import U128, Instruction, Op
from protocol.vm.poseidon import P
from protocol.vm.state import FIELD_WORD, INTEGER_WORD


def execute(run: Execution) -> tuple[Outcome, Trap | None]:
    """Run until the frame ends or is suspended; `pc` stays at the last instruction."""
    code, steps = run.program.instructions, run.trace
    while True:
        if run.steps >= run.stop:
            return Outcome.TRAP, Trap.STEPS
        pc = run.pc
        instruction = code[pc]
        run.steps += 1
        run.next_pc = pc + 1
        before = () if steps is None else tuple(run.r)
        trap = None
        try:
            _HANDLERS[instruction.op](run, instruction)
        except Trapped as trapped:
            trap = trapped.trap
            run.ended = Outcome.TRAP
        if run.ended is not None:
            run.next_pc = pc
        if steps is not None:
            step = Step(
                pc=pc,
                instruction=instruction,
                before=before,
                after=tuple(run.r),
                next_pc=run.next_pc,
                storage=run.storage,
                trap=trap,
            )
            steps.append(step)
            run.storage = None
        if run.ended is not None:
            return run.ended, trap
        run.pc = run.next_pc


def _jmp(m: Execution, i: Instruction) -> None:
    m.next_pc = i.imm


def _jz(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] == 0:
        m.next_pc = i.imm


def _jnz(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] != 0:
        m.next_pc = i.imm


def _return(m: Execution, i: Instruction) -> None:
    m.ended = Outcome.RETURN


def _revert(m: Execution, i: Instruction) -> None:
    m.ended = Outcome.REVERT


def _require_outside(m: Execution, i: Instruction) -> None:
    target = m.r[i.ra]
    if m.confined or target >> ENDPOINT_BITS or target >> ADDRESS_BITS == m.rollup_id:
        raise Trapped(Trap.ENDPOINT)


def _pay(m: Execution, value: int) -> None:
    if not m.ledger.debit(m.address, value):
        raise Trapped(Trap.BALANCE)


def _xcall(m: Execution, i: Instruction) -> None:
    _require_outside(m, i)
    m.ended = Outcome.XCALL


def _xtry(m: Execution, i: Instruction) -> None:
    _require_outside(m, i)
    m.ended = Outcome.XTRY


def _xcallv(m: Execution, i: Instruction) -> None:
    _require_outside(m, i)
    _pay(m, m.r[i.rb])
    m.ended = Outcome.XCALL


def _xtryv(m: Execution, i: Instruction) -> None:
    _require_outside(m, i)
    _pay(m, m.r[i.rb])
    m.ended = Outcome.XTRY


def _icall(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] >> ADDRESS_BITS != m.rollup_id:
        raise Trapped(Trap.ENDPOINT)
    if len(m.scope) == MAX_SCOPE:
        raise Trapped(Trap.DEPTH)
    # The call's failure gives the value back, so it is moved where the call begins; that it is there is shown here.
    value = m.r[i.rb]
    if value and m.ledger.balance_of(m.address) < value:
        raise Trapped(Trap.BALANCE)
    m.ended = Outcome.ICALL


def _load_immediate(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = i.imm


def _move(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra]


def _add(m: Execution, i: Instruction) -> None:
    total = m.r[i.ra] + m.r[i.rb]
    if total >= U128:
        raise Trapped(Trap.OVERFLOW)
    m.r[i.rd] = total


def _sub(m: Execution, i: Instruction) -> None:
    difference = m.r[i.ra] - m.r[i.rb]
    if difference < 0:
        raise Trapped(Trap.OVERFLOW)
    m.r[i.rd] = difference


def _lt(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = int(m.r[i.ra] < m.r[i.rb])


def _eq(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = int(m.r[i.ra] == m.r[i.rb])


def _mul(m: Execution, i: Instruction) -> None:
    product = m.r[i.ra] * m.r[i.rb]
    if product >= U128:
        raise Trapped(Trap.OVERFLOW)
    m.r[i.rd] = product


def _div(m: Execution, i: Instruction) -> None:
    if m.r[i.rb] == 0:
        raise Trapped(Trap.DIVISION)
    m.r[i.rd] = m.r[i.ra] // m.r[i.rb]


def _mod(m: Execution, i: Instruction) -> None:
    if m.r[i.rb] == 0:
        raise Trapped(Trap.DIVISION)
    m.r[i.rd] = m.r[i.ra] % m.r[i.rb]


def _min(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = min(m.r[i.ra], m.r[i.rb])


def _max(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = max(m.r[i.ra], m.r[i.rb])


def _and(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] & m.r[i.rb]


def _or(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] | m.r[i.rb]


def _xor(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] ^ m.r[i.rb]


def _shl(m: Execution, i: Instruction) -> None:
    shifted = m.r[i.ra] << min(m.r[i.rb], INT_BITS)
    if shifted >= U128:
        raise Trapped(Trap.OVERFLOW)
    m.r[i.rd] = shifted


def _shr(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] >> min(m.r[i.rb], INT_BITS)


def _addf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = (m.r[i.ra] + m.r[i.rb]) % FIELD_ORDER


def _subf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = (m.r[i.ra] - m.r[i.rb]) % FIELD_ORDER


def _mulf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] * m.r[i.rb] % FIELD_ORDER


def _hash(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = P(2, (m.r[i.ra], m.r[i.rb]))


def _addr(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] >> 32:
        raise Trapped(Trap.ADDRESS)
    m.r[i.rd] = (m.r[i.ra] << 128) + m.r[i.rb]


def _fhi(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] >> INT_BITS


def _flo(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.r[i.ra] & (U128 - 1)


def _invf(m: Execution, i: Instruction) -> None:
    if m.r[i.ra] == 0:
        raise Trapped(Trap.DIVISION)
    m.r[i.rd] = pow(m.r[i.ra], -1, FIELD_ORDER)


def _load_high(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = (m.r[i.ra] + (i.imm << 128)) % FIELD_ORDER


def _caller(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.caller


def _self(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = endpoint(m.rollup_id, m.address.to_bytes(20, "big"))


def _value(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.value


def _time(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.l2_time


def _sel(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args_meta & 0xFFFFFFFF


def _arghi(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args[i.imm][0]


def _arglo(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args[i.imm][1]


def _arglen(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.args_meta >> 32


def _rethi(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.answer[i.imm][0]


def _retlo(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.answer[i.imm][1]


def _retlen(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.answer_meta >> 32


def _balance(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.ledger.balance_of(m.address)


def _retok(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.answer_ok


def _sload(m: Execution, i: Instruction) -> None:
    value, kind = m.read(m.r[i.ra])
    if kind == FIELD_WORD:
        raise Trapped(Trap.TYPE)
    m.r[i.rd] = value


def _sloadf(m: Execution, i: Instruction) -> None:
    m.r[i.rd] = m.read(m.r[i.ra])[0]


def _sstore(m: Execution, i: Instruction) -> None:
    m.write(m.r[i.ra], m.r[i.rb], INTEGER_WORD)


def _sstoref(m: Execution, i: Instruction) -> None:
    m.write(m.r[i.ra], m.r[i.rb], FIELD_WORD)


def _out(m: Execution, i: Instruction) -> None:
    m.out[i.imm] = (m.r[i.ra], m.r[i.rb])


_HANDLERS: Final[dict[int, Callable[[Execution, Instruction], None]]] = {
    Op.JMP: _jmp,
    Op.JZ: _jz,
    Op.JNZ: _jnz,
    Op.RETURN: _return,
    Op.REVERT: _revert,
    Op.XCALL: _xcall,
    Op.XTRY: _xtry,
    Op.XCALLV: _xcallv,
    Op.XTRYV: _xtryv,
    Op.ICALL: _icall,
    Op.LDI: _load_immediate,
    Op.MOV: _move,
    Op.ADD: _add,
    Op.SUB: _sub,
    Op.LT: _lt,
    Op.EQ: _eq,
    Op.MUL: _mul,
    Op.DIV: _div,
    Op.MOD: _mod,
    Op.MIN: _min,
    Op.MAX: _max,
    Op.AND: _and,
    Op.OR: _or,
    Op.XOR: _xor,
    Op.SHL: _shl,
    Op.SHR: _shr,
    Op.LDF: _load_immediate,
    Op.MOVF: _move,
    Op.ADDF: _addf,
    Op.SUBF: _subf,
    Op.MULF: _mulf,
    Op.EQF: _eq,
    Op.ITOF: _move,
    Op.HASH: _hash,
    Op.ADDR: _addr,
    Op.FHI: _fhi,
    Op.FLO: _flo,
    Op.INVF: _invf,
    Op.LDFH: _load_high,
    Op.CALLER: _caller,
    Op.SELF: _self,
    Op.VALUE: _value,
    Op.TIME: _time,
    Op.SEL: _sel,
    Op.ARGHI: _arghi,
    Op.ARGLO: _arglo,
    Op.ARGLEN: _arglen,
    Op.RETHI: _rethi,
    Op.RETLO: _retlo,
    Op.RETLEN: _retlen,
    Op.BALANCE: _balance,
    Op.RETOK: _retok,
    Op.SLOAD: _sload,
    Op.SSTORE: _sstore,
    Op.SLOADF: _sloadf,
    Op.SSTOREF: _sstoref,
    Op.OUT: _out,
}
