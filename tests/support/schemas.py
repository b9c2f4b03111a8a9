"""Validates what a command printed with `--json` against its published schema (`node/schemas`)."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Final

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # types come apart, for one import
from referencing import Registry, Resource

FOLDER: Final = resources.files("node").joinpath("schemas")


@cache
def schemas() -> dict[str, Any]:
    """All of them by name."""
    found = (entry for entry in FOLDER.iterdir() if entry.name.endswith(".json"))
    return {entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8")) for entry in found}


@cache
def _registry() -> Registry[Any]:
    return Registry().with_resources(
        (f"{name}.json", Resource.from_contents(schema)) for name, schema in schemas().items()
    )


def problems(name: str, value: object) -> list[str]:
    """How a value differs from the schema `name`; empty if it does not."""
    validator = Draft202012Validator(schemas()[name], registry=_registry())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def check_schemas() -> None:
    """Raises jsonschema.SchemaError unless all of them are schemas."""
    for schema in schemas().values():
        Draft202012Validator.check_schema(schema)


def check_output(name: str, value: object) -> None:
    """Fails with the differences."""
    assert [] == problems(name, value)
