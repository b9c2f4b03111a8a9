"""The table-VM circuit: one key for every program and every rollup of this kind (SPEC §7.1).

Public wires, in this order: h, z, y. Everything else is private: the statement words S', the program, the openings, the
steps. The contract computes z and y from its own words S; h = L(TAG_STATEMENT, S', C) and y = sum S'_i z^i force S' = S
but for a chance of n / r. Therefore S' needs no checks that the contract makes on S: ranges of header fields,
endpoints, lengths, zeros in unused places.

Layout: statement, program, entries and stretches opened, tree units opened, rows, stretches closed, tree units and
entries closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

from protocol.constants import ADDRESS_BITS, INT_BITS, TAG_STATEMENT
from protocol.constants import FIELD_ORDER as R
from proving.circuit.bits import flags, from_bits, raw_bits, select, to_bits, weighted
from proving.circuit.builder import Builder, CompiledCircuit, Expr, compile_circuit, plus, total, value
from proving.circuit.claims import Claim, claimed_ends, order_claims, tie_claims
from proving.circuit.ending import (
    CloseStretch,
    chosen_end,
    close_stretch,
    continue_reverted,
    link_parts,
    revert_units,
    units_for,
    waiting_frames,
)
from proving.circuit.entry import EntryHint, EntryWords, OpenEntry, close_entry, open_entry, read_record
from proving.circuit.integers import INTEGER_UNIT, OPERATIONS
from proving.circuit.links import Links
from proving.circuit.list_hash import list_hash
from proving.circuit.lookup import count_entries, lookup, lookup_wires
from proving.circuit.operations import CODES, unit_tag
from proving.circuit.poseidon import poseidon
from proving.circuit.program import PACKED, Code, Programs, load_programs
from proving.circuit.rows import Common, RowPool, RowsHint, StretchRead, StretchRows
from proving.circuit.services import ServiceHint, admit, orders, take_programs
from proving.circuit.step import REGISTERS, Machine, StepHint, StepShape
from proving.circuit.stretch import OpenStretch, StretchHint, open_stretch
from proving.circuit.tiers import SHAPES, Shape
from proving.circuit.tree_unit import (
    CellEnd,
    Role,
    StretchView,
    TreeHint,
    Trees,
    Unit,
    UnitHint,
    close_units,
    insertion_orders,
    keep_cells_apart,
    open_unit,
    tree_depths,
)

PUBLIC = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """A whole assignment's free choices; everything else follows."""

    public: tuple[int, int, int]
    """h, z, y."""
    words: Sequence[int]
    """Statement words."""
    programs: Sequence[Code]
    runs: Sequence[int | None]
    """For each stretch the number of the program that it runs."""
    hashes: Sequence[tuple[int, int]]
    """Inputs of each HASH unit."""
    integers: Sequence[tuple[int, int, int] | None]
    """Opcode and operands of each integer unit; None if it is not used."""
    entries: Sequence[EntryHint | None]
    stretches: Sequence[StretchHint | None]
    waiting: Sequence[int | None]
    """For each unit that hashes a frame the stretch that suspends it."""
    reverted: Sequence[int | None]
    """For each unit that holds a REVERT the stretch that leaves with it."""
    services: Sequence[ServiceHint | None]
    """For each place of a transaction, then for each of a deployment."""
    units: Sequence[UnitHint | None]
    """In the order of the shape's `roles`."""
    tree: TreeHint
    segments: Sequence[int | None]
    """Stretch that owns each segment of rows."""
    cells: Sequence[dict[int, int]]
    """For each stretch: storage slot -> unit."""


def table_vm(b: Builder, shape: Shape, hints: Hints | None) -> Late:
    """The circuit's body."""
    h, z, y = b.choices(PUBLIC, lambda: hints.public if hints else ())
    words = b.choices(shape.tier.words_total, lambda: hints.words if hints else ())
    _fold_statement(b, words, z, y)
    rollup_id, time = words[0], words[1]
    enabled = _enabled(b, words[3], shape.tier.entries)
    code = load_programs(b, chunks=shape.chunks, places=shape.programs, programs=hints.programs if hints else ())
    hashes = _hash_units(b, shape.hashes, hints)
    integers = _integer_units(b, shape.integers, hints)

    entries = [
        open_entry(
            b,
            words=_entry_words(words, shape, place),
            enabled=enabled[place],
            first=place == 0,
            unwinds=shape.reverts > 0,
            transacts=shape.transactions > 0,
            hint=hints.entries[place] if hints else None,
        )
        for place in range(shape.tier.entries)
    ]
    opened, numbers = _open_stretches(b, shape, entries, words[0], code.hashes, hints)
    claims = _claims(b, shape, opened, words, hints)
    units = _open_units(b, shape, opened, claims, hints)

    zero = b.define(0)
    keyed = [unit for unit in units if unit.role.kinds]
    cells = Machine(
        pc=zero,
        registers=[zero] * REGISTERS,
        out=[zero] * (2 * shape.tier.data_words),
        values=[unit.start[0] for unit in keyed],
        types=[unit.start[1] for unit in keyed],
        present=[unit.hit for unit in keyed],
    )
    pool = RowPool(
        b,
        step_shape(shape),
        segments=shape.segments,
        segment_rows=shape.segment_rows,
        reads=[_read(b, stretch, numbers[at], keyed, at, rollup_id) for at, stretch in enumerate(opened)],
        common=Common(time=time, hashes=hashes, integers=integers, slots=[unit.slot for unit in keyed]),
        hint=_rows_hint(hints),
    )
    rows, cells = pool.run(cells, zero)
    closed, reverted = _close_stretches(b, shape, entries, opened, rows, rollup_id, hints)
    links = Links()
    trees, kept = _close_trees(b, shape, links, entries, units, claims, cells, closed, hints)
    for at in range(1, len(closed)):
        # What the statement does not say came from the stretch before, or from the REVERT.
        stretch = opened[at]
        sent = [*kept[at - 1], *closed[at - 1].leaves]
        came = [stretch.tree_in, stretch.next_in, *stretch.came.wires()]
        for x, stated, undone, before in zip(came, stretch.stated, reverted[at], sent, strict=True):
            b.enforce(stretch.place.goes_on, before, x - stated - undone)
    return _close_late(b, code, pool.fetched, words, trees, links, h, z)


def _open_stretches(
    b: Builder,
    shape: Shape,
    entries: Sequence[OpenEntry],
    rollup_id: Expr,
    hashes: Sequence[Expr],
    hints: Hints | None,
) -> tuple[list[OpenStretch], list[Expr]]:
    """All stretches, and the number of the program that each of them runs."""
    opened: list[OpenStretch] = []
    numbers: list[Expr] = []
    for at in range(shape.stretches):
        hint = hints.stretches[at] if hints else None
        opened.append(
            open_stretch(
                b,
                entries=entries,
                earlier=opened,
                rollup_id=rollup_id,
                reverts=shape.reverts,
                transacts=shape.transactions > 0,
                deploys=shape.deployments > 0,
                hint=hint,
            )
        )
        runs = flags(b, len(hashes), lambda at=at: hints.runs[at] if hints else None)  # type: ignore[misc]
        b.equal(plus(runs), opened[-1].run)
        for flag, code_hash in zip(runs, hashes, strict=True):
            b.enforce(flag, opened[-1].frame.code_hash - code_hash, 0)
        numbers.append(weighted(runs))
    for e, entry in enumerate(entries[1:]):
        # Each entry has one first stretch.
        starts = [stretch.place.starts or () for stretch in opened]
        b.equal(plus(flags_[e] for flags_ in starts if e < len(flags_)), entry.enabled)
    return opened, numbers


def _claims(
    b: Builder, shape: Shape, opened: Sequence[OpenStretch], words: Sequence[Expr], hints: Hints | None
) -> list[Claim]:
    """What admissions and deployments look at."""
    none: list[ServiceHint | None] = [None] * (shape.transactions + shape.deployments)
    served = list(hints.services) if hints else none
    claims: list[Claim] = []
    if shape.transactions:
        claims += admit(b, opened, rollup_id=words[0], payee=words[2], hints=served[: shape.transactions])
    if shape.deployments:
        claims += take_programs(b, opened, hints=served[shape.transactions :])
    return claims


def _open_units(
    b: Builder, shape: Shape, opened: Sequence[OpenStretch], claims: Sequence[Claim], hints: Hints | None
) -> list[Unit]:
    """All tree units; each fresh frame has exactly one for its account, which shows code hash and balance."""
    addresses = [stretch.address for stretch in opened]
    claimed = [claim.key for claim in claims]
    units = [
        open_unit(b, role, addresses=addresses, claimed=claimed, hint=hints.units[i] if hints else None)
        for i, role in enumerate(shape.roles)
    ]
    keep_cells_apart(b, units)
    keyed = [unit for unit in units if unit.role.kinds]
    tie_claims(b, claims, keyed)
    for group in orders(shape.transactions, shape.deployments):
        order_claims(b, group, keyed)
    for at, stretch in enumerate(opened):
        b.equal(plus(unit.accounts[at] for unit in keyed), stretch.account)
        if at:
            b.equal(plus(unit.payers[at - 1] for unit in keyed if unit.payers), stretch.pays)
        before = select(b, [unit.accounts[at] for unit in keyed], [unit.start[0] for unit in keyed])
        stretch.balance = _balance(b, before + stretch.credit)
        # A credit that would reach 2^128 fails, instead of making the nonce grow: the balance before is not negative.
        to_bits(b, stretch.balance - stretch.credit, INT_BITS)
        for unit in keyed:
            # A frame's code hash is what the account says when it begins.
            b.enforce(unit.accounts[at], unit.start[1] - stretch.frame.code_hash, 0)
    return units


def _balance(b: Builder, packed: Expr) -> Expr:
    """The balance in the first word of an account leaf (SPEC §3.2)."""
    balance = from_bits(raw_bits(b, lambda: value(packed) % (1 << INT_BITS), INT_BITS))
    nonce = from_bits(raw_bits(b, lambda: value(packed) >> INT_BITS, 64))
    b.equal(nonce * (1 << INT_BITS) + balance, packed)
    return b.define(balance)


def _close_stretches(
    b: Builder,
    shape: Shape,
    entries: Sequence[OpenEntry],
    opened: Sequence[OpenStretch],
    rows: Sequence[StretchRows],
    rollup_id: Expr,
    hints: Hints | None,
) -> tuple[list[CloseStretch], list[list[Expr]]]:
    """All stretches, and what the REVERTs say to those that a REVERT_CONTINUE opens."""
    waiting = units_for(b, shape.waiting, shape.stretches, hints.waiting if hints else None)
    reverted = units_for(b, shape.reverts, shape.stretches, hints.reverted if hints else None)
    hashed = [plus(column) for column in zip(*waiting, strict=True)] + [0]
    closed: list[CloseStretch] = []
    for at, (stretch, last) in enumerate(zip(opened, rows, strict=True)):
        hint = hints.stretches[at] if hints else None
        closed.append(
            close_stretch(
                b,
                stretch=stretch,
                behind=opened[at + 1].place if at + 1 < len(opened) else None,
                entries=entries,
                rollup_id=rollup_id,
                last=last,
                hashed=hashed[at],
                known_hash=hint.frame_hash if hint else 0,
                can_revert=shape.reverts > 0,
                earlier=closed,
            )
        )
    waiting_frames(b, waiting, closed)
    continued = continue_reverted(b, closed, revert_units(b, reverted, closed))
    links = link_parts(b, closed, [ordinal for _, ordinal in continued], len(entries))
    for entry, link in zip(entries, links, strict=True):
        b.equal(entry.words.link, link)
    return closed, [said for said, _ in continued]


def _close_trees(
    b: Builder,
    shape: Shape,
    links: Links,
    entries: Sequence[OpenEntry],
    units: Sequence[Unit],
    claims: Sequence[Claim],
    cells: Machine,
    closed: Sequence[CloseStretch],
    hints: Hints | None,
) -> tuple[Trees, list[tuple[Expr, Expr]]]:
    """Rewrite leaves and make new roots; also the tree and nextIndex that each stretch leaves."""
    views = [
        StretchView(
            used=end.opened.used,
            # Less what goes out with the next action.
            credit=end.opened.credit - b.mul(end.suspended, end.sent),
            debit=end.opened.debit,
            failed=end.failed,
            tree_in=end.opened.tree_in,
            next_in=end.opened.next_in,
        )
        for end in closed
    ]
    keyed = [unit for unit in units if unit.role.kinds]
    states = zip(cells.values, cells.types, cells.present, strict=True)
    depths = tree_depths(b, [(x.enabled, x.count) for x in entries], hints.tree.depth if hints else None)
    trees = close_units(
        b,
        links,
        units,
        claimed_ends(b, claims, keyed, [CellEnd(value=v, type=t, present=p) for v, t, p in states]),
        views,
        depths=depths,
        nodes=shape.nodes,
        hint=hints.tree if hints else None,
    )
    kept: list[tuple[Expr, Expr]] = []
    for end, left in zip(closed, trees.after, strict=True):
        # A failed frame leaves the tree from before it began (SPEC §4.6).
        start = (end.opened.frame.start_tree, end.opened.frame.start_next)
        tree, following = (b.mul_add(end.failed, x - y, y) for x, y in zip(start, left, strict=True))
        kept.append((tree, following))
    for e, entry in enumerate(entries):
        parts = [chosen_end(b, closed, column, e) for column in zip(*kept, strict=True)]
        frames = chosen_end(b, closed, [end.frames for end in closed], e)
        close_entry(b, entry, tree=parts[0], following=parts[1], frames=frames)
    return trees, kept


@dataclass(slots=True, kw_only=True)
class Late:
    """What a witness is finished with when z is known. Integers while a witness is made."""

    h: Expr
    fetched: list[Expr]
    table: list[Expr]
    counts: list[Expr]
    links: Links


def _close_late(
    b: Builder,
    code: Programs,
    fetched: Sequence[Expr],
    words: Sequence[Expr],
    trees: Trees,
    links: Links,
    h: Expr,
    z: Expr,
) -> Late:
    """Every row's instruction is one of the table's, and leaves and nodes are linked.

    h commits to all that both arguments read, so that z comes after it: to the rows' words, to hashes and structure of
    the programs, and so to the table, to the counts, and to what links leaves and nodes.
    """
    table = [*code.table, b.define(0)]  # what a row looks up that runs nothing

    @cache
    def occurrences() -> list[int]:
        known = [value(x) for x in table]
        return count_entries([word for x in fetched if (word := value(x)) in known], known)

    width = len(fetched).bit_length()
    bits = [raw_bits(b, lambda at=at: occurrences()[at], width) for at in range(len(table))]  # type: ignore[misc]
    counts = [from_bits(count_bits) for count_bits in bits]
    per = PACKED // width
    packed = [
        b.define(total((1 << width * i, x) for i, x in enumerate(counts[at : at + per])))
        for at in range(0, len(counts), per)
    ]
    choices = [bit for bits in trees.bits for bit in bits]
    packed += [b.define(from_bits(choices[at : at + PACKED])) for at in range(0, len(choices), PACKED)]
    made = list_hash(b, TAG_STATEMENT, [*words, *fetched, *code.hashes, *code.structure, *trees.words, *packed])
    b.equal(made, h)
    lookup(b, z, fetched, table, counts)
    links.close(b, z)
    return Late(h=made, fetched=list(fetched), table=table, counts=counts, links=links)


def _fold_statement(b: Builder, words: Sequence[Expr], z: Expr, y: Expr) -> None:
    # Horner's rule comes first, lookup and links come last: all are filled once z is known (`finish_public`).
    folded: Expr = words[-1]
    for word in reversed(words[:-1]):
        folded = b.mul_add(folded, z, word)
    b.enforce(folded, z, y)


def finish_public(values: list[int], words: Sequence[int], late: Late, z: int) -> None:
    """Put z, and everything that depends on it, into an assignment that was made with any other z."""
    at = 1 + PUBLIC + len(words)
    folded = words[-1]
    for i, word in enumerate(reversed(words[:-1])):
        folded = (folded * z + word) % R
        values[at + i] = folded
    values[1:4] = value(late.h), z, folded * z % R
    looked = [[value(x) for x in xs] for xs in (late.fetched, late.table, late.counts)]
    last = [*lookup_wires(z, *looked), *late.links.wires(z)]
    values[len(values) - len(last) :] = last


def _enabled(b: Builder, count: Expr, entries: int) -> list[Expr]:
    """For each place 1 if it is used; at least the first one is."""
    exactly = flags(b, entries, lambda: value(count) - 1)
    b.equal(plus(exactly), 1)
    b.equal(weighted(exactly) + 1, count)
    return [1, *(plus(exactly[place:]) for place in range(1, entries))]


def _entry_words(words: Sequence[Expr], shape: Shape, place: int) -> EntryWords:
    record = shape.tier.record_words
    at = 4 + place * (3 + 2 * record)
    return EntryWords(
        link=words[at],
        pre_root=words[at + 1],
        new_root=words[at + 2],
        trigger=read_record(words[at + 3 : at + 3 + record]),
        next=read_record(words[at + 3 + record : at + 3 + 2 * record]),
    )


def _hash_units(b: Builder, count: int, hints: Hints | None) -> list[tuple[Expr, Expr, Expr]]:
    units = []
    for i in range(count):
        pair = b.choices(2, lambda i=i: hints.hashes[i] if hints else ())  # type: ignore[misc]
        (digest,) = b.stamp(poseidon(2), pair)
        units.append((pair[0], pair[1], digest))
    return units


def _integer_units(b: Builder, count: int, hints: Hints | None) -> list[tuple[Expr, Expr, Expr, Expr, Expr]]:
    units = []
    for i in range(count):
        wanted = hints.integers[i] if hints else None

        def chosen(wanted: tuple[int, int, int] | None = wanted) -> int | None:
            return None if wanted is None else [CODES[name] for name in OPERATIONS].index(wanted[0])

        made = flags(b, len(OPERATIONS), chosen)
        b.enforce(plus(made), plus(made) - 1, 0)
        operands = b.choices(2, lambda wanted=wanted: wanted[1:] if wanted else (0, 0))  # type: ignore[misc]
        result, trap = b.stamp(INTEGER_UNIT, [*made, *operands])
        tag = total((unit_tag(name), flag) for name, flag in zip(OPERATIONS, made, strict=True))
        units.append((b.define(tag), operands[0], operands[1], b.define(result), b.define(trap)))
    return units


def step_shape(shape: Shape) -> StepShape:
    """Sizes of the step template."""
    return StepShape(
        data_words=shape.tier.data_words,
        hashes=shape.hashes,
        integers=shape.integers,
        cells=sum(bool(role.kinds) for role in shape.roles),
        inserting=tuple(i for i, role in enumerate(shape.roles) if role is Role.INSERT),
    )


def _read(
    b: Builder, stretch: OpenStretch, program: Expr, units: Sequence[Unit], at: int, rollup_id: Expr
) -> StretchRead:
    frame = stretch.frame
    own = frame.address + rollup_id * (1 << ADDRESS_BITS)
    answer = [stretch.answer_length, stretch.balance, stretch.succeeded]
    return StretchRead(
        stretch=stretch,
        program=program,
        both=insertion_orders(b, units, at),
        environment=[frame.caller, own, frame.value, frame.selector, frame.length, *answer],
        cells=[unit.cells[at] for unit in units],
    )


def _rows_hint(hints: Hints | None) -> RowsHint | None:
    if hints is None:
        return None
    numbers = {pair: i for i, pair in reversed(list(enumerate(hints.hashes)))}
    wanted = {x: i for i, x in enumerate(hints.integers) if x is not None}
    codes = [() if number is None else hints.programs[number] for number in hints.runs]
    steps = [
        StepHint(program=code, cells=cells, hashes=numbers, integers=wanted)
        for code, cells in zip(codes, hints.cells, strict=True)
    ]
    return RowsHint(owners=hints.segments, steps=steps)


@cache
def circuit_for(tier: int) -> CompiledCircuit:
    """The circuit of a tier, by its number.

    Raises:
        KeyError: no such tier.
    """
    shape = SHAPES[tier]
    return compile_circuit(partial(table_vm, shape=shape, hints=None), PUBLIC)
