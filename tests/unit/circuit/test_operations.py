"""The circuit's table of operations is the machine's."""

from __future__ import annotations

from protocol.vm.isa import OPS, Immediate, Operand
from proving.circuit.operations import CODES, WORD_OPERATIONS, with_register


def test_every_proven_operation_has_the_machine_s_code() -> None:
    """The machine may have more: `fits` refuses a run that meets them."""
    machine = {spec.op.name: int(spec.op) for spec in OPS.values()}
    assert {name: machine.get(name) for name in CODES} == CODES


def test_register_classes_are_the_same() -> None:
    """For each operand, integer and field registers."""
    for operand, name in enumerate(("rd", "ra", "rb")):
        for kind, letter in ((Operand.INT, "i"), (Operand.FIELD, "f")):
            expected = {spec.op.name for spec in OPS.values() if getattr(spec, name) is kind and spec.op.name in CODES}
            assert expected == set(with_register(operand, letter))


def test_word_operations_are_those_whose_immediate_is_a_word() -> None:
    """ARGHI, ARGLO, RETHI, RETLO, OUT."""
    assert {spec.op.name for spec in OPS.values() if spec.imm is Immediate.WORD} == set(WORD_OPERATIONS)
