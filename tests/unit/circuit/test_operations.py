"""The circuit's table of operations is the machine's."""

from __future__ import annotations

from protocol.vm.isa import OPS, Immediate, Operand
from proving.circuit.operations import CODES, GROUP_OF, GROUPS, WORD_OPERATIONS, unit_tag, with_register


def test_every_proven_operation_has_the_machine_s_code() -> None:
    """The machine may have more: `fits` refuses a run that meets them."""
    machine = {spec.op.name: int(spec.op) for spec in OPS.values()}
    assert {name: machine.get(name) for name in CODES} == CODES


def test_register_classes_are_the_same() -> None:
    """For each operand, integer and field registers."""
    for operand, name in enumerate(("rd", "ra", "rb")):
        for kind, letter in ((Operand.INT, "i"), (Operand.FIELD, "f")):
            expected = {spec.op.name for spec in OPS.values() if getattr(spec, name) is kind and spec.op.name in CODES}
            made = with_register(operand, letter)
            assert expected == {name for x in made for name in GROUPS.get(x, (x,))}
            assert not set(GROUP_OF) & set(made)


def test_word_operations_are_those_whose_immediate_is_a_word() -> None:
    """ARGHI, ARGLO, RETHI, RETLO, OUT."""
    assert {spec.op.name for spec in OPS.values() if spec.imm is Immediate.WORD} == set(WORD_OPERATIONS)


def test_no_operation_of_one_group_can_pass_for_one_of_another() -> None:
    """A row subtracts its own group's number: what is left must not be an opcode, nor any word0 with registers."""
    for name in GROUP_OF:
        for group, members in GROUPS.items():
            left = {unit_tag(name) - (unit_tag(member) - CODES[member]) for member in members}
            assert left == {CODES[name]} if name in members else all(not 0 <= x < 1 << 32 for x in left), group
