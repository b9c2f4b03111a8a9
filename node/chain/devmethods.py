"""JSON-RPC methods of the development L1: parameters in, JSON values out, over a `DevLedger`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from eth.abc import SignedTransactionAPI
from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_typing import Address

from node.chain.devledger import GAS_LIMIT, DevLedger, LedgerRefusal, MinedBlock, MinedLog, MinedTransaction
from node.chain.evm import FORK, Call, Outcome
from node.chain.precompiles import native_bn254_available

Json = Any
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
SERVER_ERROR: Final = -32000
EXECUTION_REVERTED: Final = 3
SUGGESTED_TIP_WEI: Final = 1_000_000_000  # 1 gwei
MAX_DATA_BYTES: Final = 262_144  # calldata of one call
MAX_FEE_HISTORY: Final = 1_024  # blocks
MAX_LOG_ADDRESSES: Final = 256
MAX_PROVEN_SLOTS: Final = 64
ESTIMATE_TOLERANCE: Final = 64  # the estimate is at most 1/64 above the least gas that works
_QUANTITY: Final = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})", re.IGNORECASE)
_SLOT: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA: Final = re.compile(r"0x([0-9a-f]{2})*", re.IGNORECASE)
_ERROR_STRING: Final = bytes.fromhex("08c379a0")  # selector of Error(string)


class MethodError(Exception):
    """A JSON-RPC error object."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class DevMethods:
    """The method table. `handle` runs one method."""

    def __init__(self, ledger: DevLedger) -> None:
        self._ledger = ledger
        self._methods: Mapping[str, Callable[..., Json]] = {
            "eth_chainId": lambda: _hex(ledger.chain_id),
            "net_version": lambda: str(ledger.chain_id),
            "web3_clientVersion": lambda: client_version(),
            "eth_syncing": lambda: False,
            "eth_accounts": lambda: [],
            "eth_blockNumber": lambda: _hex(ledger.head.number),
            "eth_gasPrice": lambda: _hex(ledger.next_base_fee_wei() + SUGGESTED_TIP_WEI),
            "eth_maxPriorityFeePerGas": lambda: _hex(SUGGESTED_TIP_WEI),
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": self._balance,
            "eth_getTransactionCount": self._transaction_count,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": self._send_raw,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getLogs": self._logs,
            "eth_getProof": self._proof,
            "evm_mine": self._mine,
            "evm_increaseTime": self._increase_time,
            "evm_setNextBlockTimestamp": self._set_next_timestamp,
            "evm_setAutomine": self._set_automine,
            "evm_snapshot": lambda: _hex(ledger.snapshot()),
            "evm_revert": lambda identifier: ledger.revert(_quantity(identifier)),
        }

    def handle(self, method: str, params: list[Json]) -> Json:
        """Run one method.

        Raises:
            MethodError: with the JSON-RPC code, message and data to answer.
        """
        function = self._methods.get(method)
        if function is None:
            raise MethodError(METHOD_NOT_FOUND, f"the method {method[:64]} does not exist")
        try:
            arguments = inspect.signature(function).bind(*params)
        except TypeError as error:
            raise MethodError(INVALID_PARAMS, f"wrong number of parameters for {method}") from error
        try:
            return function(*arguments.args)
        except LedgerRefusal as refusal:
            raise MethodError(SERVER_ERROR, refusal.reason) from refusal

    # -- accounts ----------------------------------------------------------------------------------------------

    def _balance(self, account: Json, tag: Json = "latest") -> Json:
        return _hex(self._ledger.state_at(self._tagged(tag)).get_balance(_address(account)))

    def _transaction_count(self, account: Json, tag: Json = "latest") -> Json:
        address = _address(account)
        if tag == "pending":
            return _hex(self._ledger.pending_nonce(address))
        return _hex(self._ledger.state_at(self._tagged(tag)).get_nonce(address))

    def _code(self, account: Json, tag: Json = "latest") -> Json:
        return _data_hex(self._ledger.state_at(self._tagged(tag)).get_code(_address(account)))

    def _storage(self, account: Json, slot: Json, tag: Json = "latest") -> Json:
        if not isinstance(slot, str) or not _SLOT.fullmatch(slot):
            raise MethodError(INVALID_PARAMS, "storage slot is not 0x and at most 64 hex digits")
        value = self._ledger.state_at(self._tagged(tag)).get_storage(_address(account), int(slot, 16))
        return _data_hex(value.to_bytes(32, "big"))

    def _proof(self, account: Json, slots: Json, tag: Json = "latest") -> Json:
        if not isinstance(slots, list) or len(slots) > MAX_PROVEN_SLOTS:
            raise MethodError(INVALID_PARAMS, f"storage keys are not a list of at most {MAX_PROVEN_SLOTS}")
        words = [int(each, 16) for each in slots if isinstance(each, str) and _SLOT.fullmatch(each)]
        if len(words) != len(slots):
            raise MethodError(INVALID_PARAMS, "storage slot is not 0x and at most 64 hex digits")
        proof = self._ledger.proof(self._tagged(tag), _address(account), words)
        return {
            "address": account,
            "nonce": _hex(proof.nonce),
            "balance": _hex(proof.balance_wei),
            "codeHash": _data_hex(proof.code_hash),
            "storageHash": _data_hex(proof.storage_root),
            "accountProof": [_data_hex(node) for node in proof.nodes],
            "storageProof": [
                {"key": key, "value": _hex(word), "proof": [_data_hex(node) for node in nodes]}
                for key, (word, nodes) in zip(slots, proof.slots, strict=True)
            ],
        }

    # -- execution ---------------------------------------------------------------------------------------------

    def _call(self, request: Json, tag: Json = "latest", accounts: Json = None, block: Json = None) -> Json:
        code, time = _overridden(accounts, block)
        outcome = self._ledger.call(
            _call_of(request), self._tagged(tag), on_pending=tag == "pending", code=code, timestamp=time
        )
        if not outcome.succeeded:
            raise _failure(outcome)
        return _data_hex(outcome.output)

    def _estimate(self, request: Json, tag: Json = "pending") -> Json:
        block, on_pending = self._tagged(tag), tag == "pending"
        call = _call_of(request)

        def run(gas: int) -> Outcome:
            limited = Call(
                sender=call.sender,
                to=call.to,
                value=call.value,
                data=call.data,
                gas=gas,
                max_fee_wei=call.max_fee_wei,
                tip_wei=call.tip_wei,
            )
            return self._ledger.call(limited, block, on_pending=on_pending)

        outcome = run(call.gas)
        if not outcome.succeeded:
            raise _failure(outcome)
        # A refund is only paid at the end, and a callee gets 63/64 of what is left: more than gas_used may be needed.
        enough, too_little = call.gas, outcome.gas_used - 1
        optimistic = (outcome.gas_used + outcome.gas_refund) * 64 // 63 + 2_300
        if optimistic < enough and run(optimistic).succeeded:
            enough = optimistic
        while enough - too_little > max(1, enough // ESTIMATE_TOLERANCE):
            middle = (enough + too_little) // 2
            if run(middle).succeeded:
                enough = middle
            else:
                too_little = middle
        return _hex(enough)

    def _send_raw(self, raw: Json) -> Json:
        return _data_hex(self._ledger.submit(_data(raw)))

    # -- chain -------------------------------------------------------------------------------------------------

    def _transaction(self, tx_hash: Json) -> Json:
        wanted = _hash(tx_hash)
        found = self._ledger.transaction(wanted)
        if found is not None:
            return _transaction_json(found[1].signed, found[0], found[1])
        waiting = self._ledger.pending(wanted)
        return None if waiting is None else _transaction_json(waiting, None, None)

    def _receipt(self, tx_hash: Json) -> Json:
        found = self._ledger.transaction(_hash(tx_hash))
        if found is None:
            return None
        block, mined = found
        signed = mined.signed
        return {
            "transactionHash": _data_hex(mined.hash),
            "transactionIndex": _hex(mined.index),
            "blockHash": _data_hex(block.hash),
            "blockNumber": _hex(block.number),
            "from": _data_hex(signed.sender),
            "to": _data_hex(signed.to) if signed.to else None,
            "cumulativeGasUsed": _hex(mined.cumulative_gas),
            "gasUsed": _hex(mined.gas_used),
            "effectiveGasPrice": _hex(mined.effective_gas_price_wei),
            "contractAddress": None if mined.created is None else _data_hex(mined.created),
            "logs": [_log_json(block, each) for each in mined.logs],
            "logsBloom": _data_hex(mined.bloom.to_bytes(256, "big")),
            "status": _hex(int(mined.succeeded)),
            "type": _hex(signed.type_id or 0),
        }

    def _block_by_number(self, tag: Json, full: Json = False) -> Json:
        number = self._number(tag)
        block = self._ledger.block(number)
        return None if block is None else _block_json(block, full)

    def _block_by_hash(self, block_hash: Json, full: Json = False) -> Json:
        block = self._ledger.block_by_hash(_hash(block_hash))
        return None if block is None else _block_json(block, full)

    def _logs(self, query: Json) -> Json:
        if not isinstance(query, dict):
            raise MethodError(INVALID_PARAMS, "log filter is not an object")
        if "blockHash" in query:
            if "fromBlock" in query or "toBlock" in query:
                raise MethodError(INVALID_PARAMS, "cannot give both blockHash and a range")
            block = self._ledger.block_by_hash(_hash(query["blockHash"]))
            if block is None:
                raise MethodError(SERVER_ERROR, "unknown block")
            first = last = block.number
        else:
            first = self._number(query.get("fromBlock", "latest"))
            last = self._number(query.get("toBlock", "latest"))
            if last < first:
                raise MethodError(INVALID_PARAMS, f"range ends at {last} before its start {first}")
        addresses = _one_or_many(query.get("address"), _address)
        topics = query.get("topics", [])
        if not isinstance(topics, list) or len(topics) > 4:
            raise MethodError(INVALID_PARAMS, "topics is not a list of at most 4")
        positions = tuple(_one_or_many(each, _hash) or None for each in topics)
        found = self._ledger.logs(first, last, addresses, positions)
        return [_log_json(block, each) for block, each in found]

    def _fee_history(self, count: Json, newest: Json, percentiles: Json = None) -> Json:
        wanted = count if isinstance(count, int) and not isinstance(count, bool) else _quantity(count)
        if not 1 <= wanted <= MAX_FEE_HISTORY:
            raise MethodError(INVALID_PARAMS, f"block count {wanted} is not in 1..{MAX_FEE_HISTORY}")
        last = self._tagged(newest).number
        first = max(0, last - wanted + 1)
        blocks = [block for height in range(first, last + 1) if (block := self._ledger.block(height)) is not None]
        following = self._ledger.block(last + 1)
        after = self._ledger.next_base_fee_wei() if following is None else following.header.base_fee_per_gas
        history = {
            "oldestBlock": _hex(first),
            "baseFeePerGas": [*(_hex(block.header.base_fee_per_gas) for block in blocks), _hex(after)],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
        }
        if percentiles:
            if not isinstance(percentiles, list) or len(percentiles) > 100:
                raise MethodError(INVALID_PARAMS, "percentiles is not a list of at most 100")
            history["reward"] = [[_hex(tip) for tip in _tips(block, percentiles)] for block in blocks]
        return history

    # -- what only a development chain has ---------------------------------------------------------------------

    def _mine(self, timestamp: Json = None) -> Json:
        self._ledger.mine(timestamp=None if timestamp is None else _loose_quantity(timestamp))
        return "0x0"

    def _increase_time(self, seconds: Json) -> Json:
        return _hex(self._ledger.increase_time(_loose_quantity(seconds)))

    def _set_next_timestamp(self, timestamp: Json) -> Json:
        self._ledger.set_next_timestamp(_loose_quantity(timestamp))
        return None

    def _set_automine(self, enabled: Json) -> Json:
        if not isinstance(enabled, bool):
            raise MethodError(INVALID_PARAMS, "automine is not a boolean")
        self._ledger.automine = enabled
        return None

    # -- block tags --------------------------------------------------------------------------------------------

    def _number(self, tag: Json) -> int:
        match tag:
            case "latest" | "pending" | "safe" | "finalized":
                return self._ledger.head.number
            case "earliest":
                return 0
            case _:
                return _quantity(tag)

    def _tagged(self, tag: Json) -> MinedBlock:
        if isinstance(tag, dict):  # EIP-1898
            block = (
                self._ledger.block_by_hash(_hash(tag["blockHash"]))
                if "blockHash" in tag
                else self._ledger.block(_quantity(tag.get("blockNumber")))
            )
        else:
            block = self._ledger.block(self._number(tag))
        if block is None:
            raise MethodError(SERVER_ERROR, "header not found")
        return block


def client_version() -> str:
    """What this chain is and what runs its precompiles."""
    precompiles = "pyrevm" if native_bn254_available() else "py-evm"
    return f"unveto-devchain/py-evm-{version('py-evm')}/{FORK}/bn254-{precompiles}"


def _failure(outcome: Outcome) -> MethodError:
    if not outcome.reverted:
        return MethodError(SERVER_ERROR, f"execution halted: {outcome.halt}")
    message = "execution reverted"
    if outcome.output[:4] == _ERROR_STRING:
        try:
            message += f": {abi_decode(['string'], outcome.output[4:])[0]}"
        except (DecodingError, UnicodeDecodeError):
            message += " with a malformed reason"
    return MethodError(EXECUTION_REVERTED, message, _data_hex(outcome.output))


def _call_of(request: Json) -> Call:
    if not isinstance(request, dict):
        raise MethodError(INVALID_PARAMS, "call is not an object")
    to = request.get("to")
    max_fee = request.get("maxFeePerGas", request.get("gasPrice"))
    tip = request.get("maxPriorityFeePerGas", request.get("gasPrice"))
    gas = _quantity(request["gas"]) if request.get("gas") is not None else GAS_LIMIT
    return Call(
        sender=_address(request["from"]) if request.get("from") is not None else b"\x00" * 20,
        to=None if to is None else _address(to),
        value=_quantity(request.get("value") or "0x0"),
        data=_data(request.get("input") or request.get("data") or "0x"),
        gas=min(gas, GAS_LIMIT),
        max_fee_wei=0 if max_fee is None else _quantity(max_fee),
        tip_wei=0 if tip is None or max_fee is None else _quantity(tip),
    )


def _overridden(accounts: Json, block: Json) -> tuple[dict[bytes, bytes], int | None]:
    """Code by account, and the time: of what clients let a call override, what this node's own client uses."""
    accounts, block = accounts or {}, block or {}
    if not isinstance(accounts, dict) or len(accounts) > MAX_LOG_ADDRESSES or not isinstance(block, dict):
        raise MethodError(INVALID_PARAMS, f"overrides are not objects of at most {MAX_LOG_ADDRESSES} members")
    if set(block) - {"time"} or any(not isinstance(each, dict) or set(each) - {"code"} for each in accounts.values()):
        raise MethodError(INVALID_PARAMS, "only code and time can be overridden")
    code = {bytes(_address(at)): _data(each["code"]) for at, each in accounts.items() if "code" in each}
    return code, _quantity(block["time"]) if "time" in block else None


def _tips(block: MinedBlock, percentiles: list[Json]) -> list[int]:
    base_fee = block.header.base_fee_per_gas or 0
    paid = sorted((each.effective_gas_price_wei - base_fee, each.gas_used) for each in block.transactions)
    tips = []
    for percentile in percentiles:
        if not isinstance(percentile, int | float) or not 0 <= percentile <= 100:
            raise MethodError(INVALID_PARAMS, "percentile is not a number in 0..100")
        gas_wanted = block.header.gas_used * percentile / 100
        gas_seen, tip = 0, 0
        for tip, gas_used in paid:  # noqa: B007 - the tip at which the wanted share of gas is reached
            gas_seen += gas_used
            if gas_seen >= gas_wanted:
                break
        tips.append(tip)
    return tips


def _block_json(block: MinedBlock, full: Json) -> Json:
    if not isinstance(full, bool):
        raise MethodError(INVALID_PARAMS, "second parameter is not a boolean")
    header = block.header
    return {
        "number": _hex(block.number),
        "hash": _data_hex(block.hash),
        "parentHash": _data_hex(header.parent_hash),
        "sha3Uncles": _data_hex(header.uncles_hash),
        "uncles": [],
        "nonce": _data_hex(header.nonce),
        "mixHash": _data_hex(header.mix_hash),
        "miner": _data_hex(header.coinbase),
        "stateRoot": _data_hex(header.state_root),
        "transactionsRoot": _data_hex(header.transaction_root),
        "receiptsRoot": _data_hex(header.receipt_root),
        "withdrawalsRoot": _data_hex(header.withdrawals_root),
        "withdrawals": [],
        "logsBloom": _data_hex(header.bloom.to_bytes(256, "big")),
        "difficulty": "0x0",
        "extraData": _data_hex(header.extra_data),
        "size": _hex(block.size_bytes),
        "gasLimit": _hex(header.gas_limit),
        "gasUsed": _hex(header.gas_used),
        "timestamp": _hex(header.timestamp),
        "baseFeePerGas": _hex(header.base_fee_per_gas),
        "blobGasUsed": _hex(header.blob_gas_used),
        "excessBlobGas": _hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": _data_hex(header.parent_beacon_block_root),
        "requestsHash": _data_hex(header.requests_hash),
        "transactions": [
            _transaction_json(each.signed, block, each) if full else _data_hex(each.hash) for each in block.transactions
        ],
    }


def _transaction_json(signed: SignedTransactionAPI, block: MinedBlock | None, mined: MinedTransaction | None) -> Json:
    type_id = signed.type_id or 0
    answer: dict[str, Json] = {
        "hash": _data_hex(signed.hash),
        "type": _hex(type_id),
        "chainId": None if signed.chain_id is None else _hex(signed.chain_id),
        "nonce": _hex(signed.nonce),
        "from": _data_hex(signed.sender),
        "to": _data_hex(signed.to) if signed.to else None,
        "value": _hex(signed.value),
        "gas": _hex(signed.gas),
        "input": _data_hex(signed.data),
        "gasPrice": _hex(signed.max_fee_per_gas if mined is None else mined.effective_gas_price_wei),
        "r": _hex(signed.r),
        "s": _hex(signed.s),
        "v": _hex(signed.y_parity if type_id else signed.v),  # type: ignore[attr-defined]
        "blockHash": None if block is None else _data_hex(block.hash),
        "blockNumber": None if block is None else _hex(block.number),
        "transactionIndex": None if mined is None else _hex(mined.index),
    }
    if type_id:
        answer["yParity"] = _hex(signed.y_parity)
        answer["accessList"] = [
            {"address": _data_hex(address), "storageKeys": [_data_hex(slot.to_bytes(32, "big")) for slot in slots]}
            for address, slots in signed.access_list
        ]
    if type_id >= 2:
        answer["maxFeePerGas"] = _hex(signed.max_fee_per_gas)
        answer["maxPriorityFeePerGas"] = _hex(signed.max_priority_fee_per_gas)
    return answer


def _log_json(block: MinedBlock, mined: MinedLog) -> Json:
    return {
        "address": _data_hex(mined.log.address),
        "topics": [_data_hex(topic) for topic in mined.log.topics],
        "data": _data_hex(mined.log.data),
        "blockNumber": _hex(block.number),
        "blockHash": _data_hex(block.hash),
        "blockTimestamp": _hex(block.header.timestamp),
        "transactionHash": _data_hex(mined.transaction_hash),
        "transactionIndex": _hex(mined.transaction_index),
        "logIndex": _hex(mined.index),
        "removed": False,
    }


def _hex(number: int | None) -> str:
    return hex(number or 0)


def _data_hex(data: bytes | None) -> str:
    return "0x" + bytes(data or b"").hex()


def _quantity(value: Json) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise MethodError(INVALID_PARAMS, "quantity is not 0x-prefixed hex without leading zeros")
    return int(value, 16)


def _loose_quantity(value: Json) -> int:
    """Development methods also take plain JSON integers, as other development chains do."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    number = _quantity(value)
    if number >= 1 << 63:
        raise MethodError(INVALID_PARAMS, "time is not below 2^63")
    return number


def _data(value: Json) -> bytes:
    if not isinstance(value, str) or len(value) > 2 + 2 * MAX_DATA_BYTES or not _DATA.fullmatch(value):
        raise MethodError(INVALID_PARAMS, f"data is not 0x-prefixed hex of at most {MAX_DATA_BYTES} bytes")
    return bytes.fromhex(value[2:])


def _address(value: Json) -> Address:
    if not isinstance(value, str) or len(value) != 42:
        raise MethodError(INVALID_PARAMS, "address is not 20 bytes of 0x-prefixed hex")
    return Address(_data(value))


def _hash(value: Json) -> bytes:
    if not isinstance(value, str) or len(value) != 66:
        raise MethodError(INVALID_PARAMS, "hash is not 32 bytes of 0x-prefixed hex")
    return _data(value)


def _one_or_many(value: Json, parse: Callable[[Json], bytes]) -> frozenset[bytes]:
    if value is None:
        return frozenset()
    if isinstance(value, list):
        if len(value) > MAX_LOG_ADDRESSES:
            raise MethodError(INVALID_PARAMS, f"more than {MAX_LOG_ADDRESSES} alternatives")
        return frozenset(parse(each) for each in value)
    return frozenset((parse(value),))
