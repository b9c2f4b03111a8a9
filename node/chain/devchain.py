"""A development L1: one process that speaks Ethereum JSON-RPC over HTTP on loopback, made of pip packages only.

    python -m node.chain.devchain --port 0

prints one JSON line with its URL, then serves until it is stopped. With --exit-with-stdin it ends when its standard
input closes, so that it cannot outlive the process that started it (see `node.chain.launch`).
"""

from __future__ import annotations

import argparse
import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from node.chain.devaccounts import DEV_BALANCE_WEI, DEV_CHAIN_ID, dev_accounts
from node.chain.devledger import DevLedger
from node.chain.devmethods import INVALID_REQUEST, PARSE_ERROR, DevMethods, MethodError, client_version

MAX_BODY_BYTES: Final = 2 << 20  # 2 MiB: a batch of the largest transactions that the pool takes
MAX_BATCH: Final = 256  # requests
THREAD_STACK_BYTES: Final = 64 << 20  # 1,024 nested EVM calls; only what is used gets memory


class DevServer(socketserver.ThreadingTCPServer):
    """Serves one ledger; requests run one at a time."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, methods: DevMethods) -> None:
        self.methods = methods
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle of an answer is nobody's error; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def answer(self, body: bytes) -> bytes:
        """Reply to one HTTP body: a request or a batch."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return _encode(_error(None, PARSE_ERROR, "body is not JSON"))
        if isinstance(request, list):
            if not 1 <= len(request) <= MAX_BATCH:
                return _encode(_error(None, INVALID_REQUEST, f"batch of {len(request)} is not in 1..{MAX_BATCH}"))
            return _encode([self._answer_one(each) for each in request])
        return _encode(self._answer_one(request))

    def _answer_one(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, INVALID_REQUEST, "request is not an object with a method")
        identifier, params = request.get("id"), request.get("params", [])
        if not isinstance(identifier, str | int | None) or not isinstance(params, list):
            return _error(None, INVALID_REQUEST, "id is not a scalar or params is not a list")
        try:
            with self.lock:
                result = self.methods.handle(request["method"], params)
        except MethodError as error:
            return _error(identifier, error.code, error.message, error.data)
        return {"jsonrpc": "2.0", "id": identifier, "result": result}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive: a client makes thousands of small requests
    disable_nagle_algorithm = True
    wbufsize = -1
    server: DevServer

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._reply(411, b'{"error":"Content-Length is required"}', close=True)
            return
        if int(length) > MAX_BODY_BYTES:
            self._reply(413, b'{"error":"body is too large"}', close=True)
            return
        body = self.rfile.read(int(length))
        if len(body) == int(length):
            self._reply(200, self.server.answer(body))

    def log_message(self, *_: Any) -> None:
        """Requests are not logged."""

    def _reply(self, status: int, body: bytes, *, close: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run the chain until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m node.chain.devchain", description="development L1 over JSON-RPC")
    parser.add_argument("--port", type=int, default=8545, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--chain-id", type=int, default=DEV_CHAIN_ID)
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input closes")
    options = parser.parse_args(arguments)
    balances = {account.address: DEV_BALANCE_WEI for account in dev_accounts()}
    ledger = DevLedger(chain_id=options.chain_id, balances_wei=balances, clock=lambda: int(time.time()))
    threading.stack_size(THREAD_STACK_BYTES)
    with DevServer(options.port, DevMethods(ledger)) as server:
        line = {"url": server.url, "kind": "py-evm", "chain_id": options.chain_id, "client": client_version()}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        if options.exit_with_stdin:
            threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 130
    return 0


def _exit_at_end_of_stdin() -> None:
    while sys.stdin.buffer.read(4_096):
        pass
    os._exit(0)  # nothing to save, and a running request must not keep the process


def _encode(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()


def _error(identifier: Any, code: int, message: str, data: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": identifier, "error": error}


if __name__ == "__main__":
    sys.exit(main())
