"""Every point at which a node writes into its database, read from its source.

A write has a name, in a call of `Database.write`. A name that is made of a role and an event or effect stands for one
point per row of `market.lifecycle.TRANSITIONS`: what is added to that table is asked for here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Final

from market.lifecycle import TRANSITIONS, Role
from tests.support.tools import ROOT

ROLE_AND_EVENT: Final = "{order.role.value} {event.value}"
ROLE_AND_EFFECT: Final = "{pending.role.value} done {pending.effect.value}"
ROLE: Final = "{order.role.value}"
CHANGES: Final = frozenset({"insert", "update", "delete"})
WRITERS: Final = frozenset({"node/store/database.py", "node/store/schema.py"})
"""Where a transaction begins, and what runs in the one that opens the database."""


def written_names(name: str) -> frozenset[str]:
    """The points of one call's name."""
    match name:
        case _ if "{" not in name:
            return frozenset({name})
        case _ if name == ROLE_AND_EVENT:
            return frozenset(f"{state.role.value} {event.value}" for state, event in TRANSITIONS)
        case _ if name == ROLE_AND_EFFECT:
            return frozenset(
                f"{state.role.value} done {effect.value}"
                for (state, _), step in TRANSITIONS.items()
                for effect in step.effects
            )
        case _ if name.startswith(ROLE + " ") and name.count("{") == 1:
            return frozenset(name.replace(ROLE, role.value) for role in Role)
        case _:
            raise AssertionError(f"a point that the campaign cannot name: {name}")


def every_point(sources: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Names of all writes in (path, source) pairs."""
    return frozenset(
        point for path, source in sources for name in _names(path, source) for point in written_names(name)
    )


def node_sources() -> Iterator[tuple[str, str]]:
    """(path, source) of every module of the node."""
    for path in sorted((ROOT / "node").rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text()


def writes_elsewhere(sources: Iterable[tuple[str, str]]) -> list[str]:
    """Statements that change the database and are in no function that a `Database.write` runs, as PATH:LINE."""
    found = []
    for path, source in sources:
        if path in WRITERS:
            continue
        tree = ast.parse(source)
        if not any(isinstance(n, ast.ImportFrom) and n.module == "sqlalchemy" for n in ast.walk(tree)):
            continue
        inside = {id(node) for work in _works(tree) for node in ast.walk(work)}
        found += [
            f"{path}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in CHANGES
            and id(node) not in inside
        ]
    return found


def _works(tree: ast.Module) -> Iterator[ast.AST]:
    """Functions that take a connection: they run inside somebody's transaction. Lambdas in a write are in the call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(arg.arg == "connection" for arg in node.args.args):
            yield node
        elif _is_write(node):
            yield node


def _is_write(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "write"
        and ast.unparse(node.func.value).endswith(("database", "self"))
        and len(node.args) == 2
    )


def _names(path: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if _is_write(node):
            assert isinstance(node, ast.Call)
            yield _text(path, node.args[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self._on_commit":
            name = _text(path, node.args[0])
            if name.startswith("before ") and not name.endswith("{point}"):
                yield name.removeprefix("before ")


def _text(path: str, node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    assert isinstance(node, ast.JoinedStr), f"{path}:{node.lineno}: a point needs a name that can be read"
    return ast.unparse(node)[2:-1]
