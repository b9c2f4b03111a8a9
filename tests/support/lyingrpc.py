"""Endpoints that lie, break or lag, in front of an honest node: what a client must see through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from node.chain.transport import HttpTransport

Twist = Callable[[str, tuple[Any, ...], Callable[[], Any]], Any]
"""`twist(method, params, honest)` gives the answer; `honest()` asks the node."""


class TwistedTransport(HttpTransport):
    """Connections to a node through somebody who decides each answer."""

    def __init__(self, url: str, twist: Twist) -> None:
        super().__init__(url, timeout_s=30)
        self._twist = twist
        self.asked: list[str] = []

    def request(self, method: str, *params: Any) -> Any:
        """Answer of the one in between."""
        self.asked.append(method)
        return self._twist(method, params, lambda: HttpTransport.request(self, method, *params))

    def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Each call by itself."""
        return [self.request(method, *params) for method, params in calls]


def honest(_method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
    """No lie."""
    return ask()
