"""The proposer's execution client (`node.injector.ExecutionClient`), over JSON-RPC and unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from node.chain.errors import ChainError, Recoverable, RpcRefused
from node.chain.rpc import Rpc
from node.injector import Inclusion
from node.l1port import asked
from node.ports import Refused, TryAgain
from protocol.hashing import keccak256


@dataclass(slots=True, kw_only=True)
class RpcExecutionClient:
    """One execution client."""

    rpc: Rpc

    async def inject(self, raw: bytes) -> None:
        """Hands a transaction over; a client that has it already refuses it and is content."""
        try:
            await self.rpc.send_raw(raw)
        except RpcRefused as error:
            if not await asked(partial(self.rpc.is_known, keccak256(raw))):
                raise Refused(error.code, str(error)) from error
        except Recoverable as error:
            raise TryAgain(error.code, str(error)) from error
        except ChainError as error:
            raise Refused(error.code, str(error)) from error

    async def inclusion(self, tx_hash: bytes) -> Inclusion | None:
        """From its receipt and the header of its block."""
        receipt = await asked(partial(self.rpc.receipt, tx_hash))
        if receipt is None:
            return None
        block = await asked(partial(self.rpc.block, receipt.block_hash))
        if block is None:
            raise TryAgain("REORG", receipt.block_hash.hex())
        return Inclusion(
            block_number=receipt.block_number,
            time_s=block.timestamp,
            succeeded=receipt.succeeded,
            gas_used=receipt.gas_used,
            tip_wei=receipt.gas_used * (receipt.effective_gas_price_wei - block.base_fee_wei),
        )
