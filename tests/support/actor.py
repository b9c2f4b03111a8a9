"""Programs of the test contract `Actor`: what an L1 contract does when it is called, as call data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

SELECTOR: Final = bytes.fromhex("ac70ac70")


class End(IntEnum):
    """How a program ends."""

    ANSWER = 2
    FAIL = 3
    BURN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call that the actor makes."""

    target: bytes
    value: int
    """wei."""
    data: bytes
    swallow: bool
    """Its failure does not become the actor's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Steps, then an end with data."""

    steps: tuple[Step, ...] = ()
    end: End = End.ANSWER
    data: bytes = b""

    def encode(self) -> bytes:
        """Call data."""
        steps = b"".join(
            bytes((1, step.swallow))
            + step.target
            + step.value.to_bytes(16, "big")
            + len(step.data).to_bytes(2, "big")
            + step.data
            for step in self.steps
        )
        return SELECTOR + steps + bytes((self.end,)) + self.data


def parse(data: bytes) -> Program:
    """Program of call data that `encode` made; anything else answers with nothing."""
    steps, at = [], len(SELECTOR)
    while at < len(data):
        if data[at] != 1:
            return Program(steps=tuple(steps), end=End(data[at]), data=data[at + 1 :])
        length = int.from_bytes(data[at + 38 : at + 40], "big")
        steps.append(
            Step(
                swallow=bool(data[at + 1]),
                target=data[at + 2 : at + 22],
                value=int.from_bytes(data[at + 22 : at + 38], "big"),
                data=data[at + 40 : at + 40 + length],
            )
        )
        at += 40 + length
    return Program(steps=tuple(steps))
