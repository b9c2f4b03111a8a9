// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {IRollupsExecution} from "./interfaces/IRollupsExecution.sol";
import {PackedAction} from "./PackedAction.sol";
import {ProxyFactory} from "./ProxyFactory.sol";
import {ReturnData} from "./ReturnData.sol";
import {Transient} from "./Transient.sol";

/// @title Execution: from a trigger, entry by entry, to its RESULT (SPEC §8.4).
/// @notice What may have to be undone runs in a call of this contract to itself, so that undoing is the EVM's: roots, ether, entries,
///         sessions and every effect on L1 go together. A failure of such a call is taken as an answer only if it is this
///         contract's own word for exactly that answer; everything else goes up and ends the flow.
abstract contract Flow is ProxyFactory {
    /// @dev enough for an ExecutionNotFound with the longest action
    uint256 internal constant MAX_REVERT_DATA = 2048;
    /// @dev more than what this contract itself reverts with
    uint256 private constant MAX_OWN_REVERT = 4096;
    /// @dev for a call with value to a proxy (9,000), and its reading of what it was told
    uint256 private constant CALL_RESERVE = 12_000;
    /// @dev what the proxy keeps back (40,000), and what it spends before it looks
    uint256 private constant PROXY_RESERVE = 45_000;

    // --- triggers

    /// @dev A CALL made on L1, packed.
    function _callFromL1(uint64 rollupId, address destination, address source, bytes calldata data)
        internal
        view
        returns (bytes memory)
    {
        _rollup(rollupId);
        if (msg.value > type(uint128).max) revert ValueTooLarge(msg.value);
        if (data.length > PackedAction.MAX_DATA) revert CoreCodec.DataTooLong(0, data.length);
        return bytes.concat(
            abi.encodePacked(PackedAction.CALL, uint8(0), rollupId, destination, uint128(msg.value)),
            abi.encodePacked(uint64(0), uint64(0), source, uint8(0), uint16(data.length), data)
        );
    }

    /// @dev A trigger whose failure is the caller's revert, unless it is a transaction of the rollup, which is done either way.
    function _fire(bytes memory data, uint256 start, bytes32 pin, bool listed)
        internal
        returns (bool failed, bytes memory answer)
    {
        (failed, answer) = _trigger(data, start, pin, listed);
        if (failed && PackedAction.kind(data, start) != PackedAction.L2TX) revert CallReverted(answer);
    }

    /// @dev Runs a trigger up to its RESULT. `data` holds the packed action at `start`.
    function _trigger(bytes memory data, uint256 start, bytes32 pin, bool listed)
        private
        returns (bool failed, bytes memory answer)
    {
        bytes32 actionHash = ActionHash.hash(data, start, 0);
        uint64 rollupId = PackedAction.rollupId(data, start);
        bool isCall = PackedAction.isCall(data, start);
        bytes32 coreId = pin == 0 ? _resolve(rollupId, actionHash, isCall) : pin;
        (bool found, Table memory t) = _tableOf(coreId);
        if (!found) revert ExecutionNotFound(actionHash, PackedAction.copy(data, start));
        bytes32[] memory outer = _enter(t, data, start, listed);
        uint256 midsBefore = _midCount;
        _moveEther(PackedAction.sourceRollup(data, start), rollupId, PackedAction.amount(data, start));
        bytes memory record = _run(t, 0, _consume(t, actionHash, data, start));
        // suspended frames are resumed by whoever began them. Here, and not when all is done: a caller that takes failures takes this
        // one too, and its flow goes on
        if (_midCount != midsBefore) revert FlowNotFinal(_midCount);
        _leave(t, outer);
        return (PackedAction.flags(record, RECORD_HEADER) & PackedAction.FAILED != 0, PackedAction.payload(record, RECORD_HEADER));
    }

    /// @dev Starts a frame. Entering a table that is not running makes it the table of its members, and asks for its executor:
    ///      transient tables only he can have loaded in this transaction; a stored one, or a transaction of a rollup, which names
    ///      no source, he must fire himself.
    /// @return outer sessions to restore, empty if the table was running already
    function _enter(Table memory t, bytes memory data, uint256 start, bool listed)
        private
        returns (bytes32[] memory outer)
    {
        _depth++;
        bytes32 active = _activeSlot(t.coreId);
        if (Transient.get(active) == RUNNING) return outer;
        if (t.triggersFixed && !listed) revert TriggersFixed(t.coreId);
        if (t.executor != address(0)) {
            bool isTransaction = PackedAction.kind(data, start) == PackedAction.L2TX;
            address who = isTransaction ? msg.sender : PackedAction.sourceAddress(data, start);
            bool mustBe = isTransaction || t.lane == LANE_PERSISTENT;
            if (mustBe && (who != t.executor || PackedAction.sourceRollup(data, start) != 0)) {
                revert NotExecutor(who, t.executor);
            }
        }
        Transient.set(active, RUNNING);
        outer = new bytes32[](t.lockset.length);
        for (uint256 i = 0; i < outer.length; i++) {
            outer[i] = _session(t.lockset[i]);
            if (outer[i] != t.coreId) _setSession(t.lockset[i], t.coreId);
        }
    }

    function _leave(Table memory t, bytes32[] memory outer) private {
        if (outer.length != 0) {
            Transient.set(_activeSlot(t.coreId), FINISHED);
            for (uint256 i = 0; i < outer.length; i++) {
                if (outer[i] != t.coreId) _setSession(t.lockset[i], outer[i]);
            }
        }
        _depth--;
    }

    // --- scopes

    /// @dev Follows next actions from the one in `record` on, as long as they lie in the scope of which `length` items are open: the
    ///      first `length` of that action's own scope.
    /// @return the record whose next action lies outside, or is the RESULT
    function _run(Table memory t, uint256 length, bytes memory record) private returns (bytes memory) {
        uint256 start = RECORD_HEADER;
        uint256 path = PackedAction.scopePath(record, start, length);
        while (true) {
            uint8 kind = PackedAction.kind(record, start);
            uint256 scope = PackedAction.scopeLength(record, start);
            bool isInside = scope >= length && PackedAction.scopePath(record, start, length) == path;
            if (kind == PackedAction.RESULT || !isInside) return record;
            if (scope > length) record = _inScope(t, length + 1, record);
            else if (kind == PackedAction.REVERT) _undo(record);
            else record = _exchange(t, record);
        }
        // not reached; without it the compiler warns
        return record;
    }

    /// @dev Opens one more scope. If it is reverted, nothing of what happened in it is left but the word of it, and the rollup's
    ///      REVERT_CONTINUE is met at the roots that were live before.
    function _inScope(Table memory t, uint256 length, bytes memory record) private returns (bytes memory) {
        (bool ok, bytes memory answer) =
            _callSelf(abi.encodeCall(IRollupsExecution.newScope, (t.coreId, length, record)));
        if (ok) return abi.decode(answer, (bytes));
        if (answer.length != 68 || bytes4(answer) != UndoScope.selector) ReturnData.bubble(answer);
        (uint256 index, bytes32 link) = abi.decode(PackedAction.slice(answer, 4, 64), (uint256, bytes32));
        uint64 rollupId = PackedAction.sourceRollup(record, RECORD_HEADER);
        emit ScopeReverted(t.coreId, uint16(index), rollupId);
        bytes memory scope = PackedAction.slice(record, PackedAction.scopeAt(RECORD_HEADER), 4 * length);
        bytes memory action = bytes.concat(
            abi.encodePacked(PackedAction.REVERT_CONTINUE, uint8(0), rollupId, address(0), uint128(0), uint64(0)),
            abi.encodePacked(rollupId, address(0), uint8(length), scope, uint16(0))
        );
        return _consume(t, ActionHash.hash(action, 0, link), action, 0);
    }

    /// @inheritdoc IRollupsExecution
    function newScope(bytes32 coreId, uint256 length, bytes calldata record)
        external
        override
        returns (bytes memory)
    {
        _requireSelf();
        (, Table memory t) = _tableOf(coreId);
        return _run(t, length, record);
    }

    /// @dev Ends the scope that is open: to be called only in the frame of newScope that opened it.
    function _undo(bytes memory record) private pure {
        (uint16 index,, bytes32 newRoot) = _head(record);
        bytes32 revertHash = ActionHash.hash(record, RECORD_HEADER, 0);
        revert UndoScope(index, ActionHash.continueLink(revertHash, newRoot));
    }

    // --- calls

    /// @dev Makes a rollup's call, the next action in `record`, and meets its answer.
    function _exchange(Table memory t, bytes memory record) private returns (bytes memory) {
        uint256 start = RECORD_HEADER;
        bool failed;
        bytes memory answer;
        if (PackedAction.rollupId(record, start) == 0) (failed, answer) = _callL1(record, start);
        else if (PackedAction.kind(record, start) == PackedAction.TRY_CALL) (failed, answer) = _try(PackedAction.copy(record, start));
        else (, answer) = _fire(record, start, 0, false);
        if (failed && PackedAction.flags(record, start) & PackedAction.OPAQUE != 0) answer = "";
        bytes memory result = _resultOf(record, start, failed, answer);
        return _consume(t, ActionHash.hash(result, 0, ActionHash.hash(record, start, 0)), result, 0);
    }

    /// @dev A call to L1, by the proxy of its source. That of a TRY_CALL may fail: then nothing of it is left and its value is back.
    function _callL1(bytes memory data, uint256 start) private returns (bool failed, bytes memory answer) {
        uint256 value = PackedAction.amount(data, start);
        uint64 source = PackedAction.sourceRollup(data, start);
        uint64 gasLimit = PackedAction.gasLimit(data, start);
        bool isTry = PackedAction.kind(data, start) == PackedAction.TRY_CALL;
        _moveEther(source, 0, value);
        address proxy = getOrCreateProxy(PackedAction.sourceAddress(data, start), source);
        bytes memory payload =
            abi.encodePacked(PackedAction.destination(data, start), gasLimit, PackedAction.payload(data, start));
        // whoever sends the transaction chooses its gas, and must not choose the branch with it
        if (isTry) _requireGas(uint256(gasLimit) + gasLimit / 63 + PROXY_RESERVE);
        uint256 size;
        // assembly: a callee's return data must not be copied without bound
        assembly ("memory-safe") {
            failed := iszero(call(gas(), proxy, value, add(payload, 32), mload(payload), 0, 0))
            size := returndatasize()
        }
        if (!failed) {
            if (size > PackedAction.MAX_DATA) revert AnswerTooLong(size);
            return (false, ReturnData.head(PackedAction.MAX_DATA));
        }
        answer = ReturnData.head(MAX_REVERT_DATA);
        if (_isUnavailable(answer)) ReturnData.bubble(answer);
        if (!isTry) revert CallFailed(answer);
        _moveEther(0, source, value);
        if (answer.length > PackedAction.MAX_DATA) answer = PackedAction.slice(answer, 0, PackedAction.MAX_DATA);
    }

    /// @dev Whether a callee failed because a table deeper down is not there, or not for this flow. That is the business of whoever sends
    ///      the transaction, or of who came before it, and no answer: it comes through as it is.
    function _isUnavailable(bytes memory answer) private pure returns (bool) {
        if (answer.length < 4) return false;
        bytes4 what = bytes4(answer);
        return what == ExecutionNotFound.selector || what == TriggersFixed.selector || what == NotExecutor.selector
            || what == ForcedFirst.selector || what == TimeSkew.selector;
    }

    /// @dev The gas that a call made next will have, if all is given to it.
    function _requireGas(uint256 wanted) internal view {
        uint256 left = gasleft();
        uint256 available = left < CALL_RESERVE ? 0 : (left - CALL_RESERVE) / 64 * 63;
        if (available < wanted) revert InsufficientGas(wanted, available);
    }

    /// @dev A call to a rollup of which only the proven failure is an answer, and leaves nothing behind.
    function _try(bytes memory action) private returns (bool, bytes memory) {
        (bool ok, bytes memory answer) = _callSelf(abi.encodeCall(IRollupsExecution.attempt, (action)));
        if (ok) return (false, abi.decode(answer, (bytes)));
        if (bytes4(answer) != TriedCallFailed.selector) ReturnData.bubble(answer);
        return (true, _reasonOf(answer));
    }

    /// @dev What a TriedCallFailed carries.
    function _reasonOf(bytes memory answer) private pure returns (bytes memory) {
        return abi.decode(PackedAction.slice(answer, 4, answer.length - 4), (bytes));
    }

    /// @inheritdoc IRollupsExecution
    function attempt(bytes calldata action) external override returns (bytes memory answer) {
        _requireSelf();
        bytes memory data = action;
        bool failed;
        (failed, answer) = _trigger(data, 0, 0, false);
        if (failed) revert TriedCallFailed(answer);
    }

    /// @dev tryCallL2; what is sent along and not taken is the caller's.
    function _tryFromL1(bytes memory action) internal returns (uint8 status, bytes memory answer) {
        bool ok;
        (ok, answer) = _callSelf(abi.encodeCall(IRollupsExecution.attempt, (action)));
        if (ok) return (0, abi.decode(answer, (bytes)));
        _claimable[msg.sender] += msg.value;
        if (bytes4(answer) != TriedCallFailed.selector) return (2, answer);
        return (1, _reasonOf(answer));
    }

    function _callSelf(bytes memory data) private returns (bool ok, bytes memory answer) {
        assembly ("memory-safe") {
            ok := call(gas(), address(), 0, add(data, 32), mload(data), 0, 0)
        }
        answer = ReturnData.head(MAX_OWN_REVERT);
    }

    function _requireSelf() private view {
        if (msg.sender != address(this)) revert NotSelf(msg.sender);
    }

    // --- entries

    /// @dev Meets an action at the live roots: moves its owner's root and returns the record, which holds the next action.
    function _consume(Table memory t, bytes32 actionHash, bytes memory data, uint256 start)
        private
        returns (bytes memory record)
    {
        uint64 rollupId = PackedAction.rollupId(data, start);
        (bytes32 key, uint64 epoch) = _keyOf(t, actionHash, rollupId);
        record = _takeRecord(t, key);
        if (record.length == 0) revert ExecutionNotFound(actionHash, PackedAction.copy(data, start));

        uint64 item = 0;
        bytes32 dataHash;
        if (PackedAction.isForced(data, start)) {
            item = PackedAction.gasLimit(data, start);
            dataHash = keccak256(PackedAction.payload(data, start));
        }
        _checkForced(t.coreId, t.lane, rollupId, item, dataHash);
        (uint16 index, bool mid, bytes32 newRoot) = _head(record);
        Rollup storage owner = _rollups[rollupId];
        if (owner.stateRoot != newRoot) {
            uint64 lastL2Time = owner.lastL2Time;
            if (t.l2Time < lastL2Time) revert TimeSkew(t.l2Time, lastL2Time, block.timestamp);
            owner.stateRoot = newRoot;
            // not after the block that loaded the table
            if (t.l2Time != lastL2Time) owner.lastL2Time = uint40(t.l2Time);
        }
        _setMid(rollupId, mid);
        emit ExecutionConsumed(t.coreId, index, rollupId, newRoot, epoch);
    }

    function _head(bytes memory record) private pure returns (uint16 index, bool mid, bytes32 newRoot) {
        uint256 head;
        assembly ("memory-safe") {
            head := mload(add(record, 32))
            newRoot := mload(add(record, 35))
        }
        return (uint16(head >> 240), uint8(head >> 232) != 0, newRoot);
    }

    function _setMid(uint64 rollupId, bool mid) private {
        bytes32 slot = _midSlot(rollupId);
        if ((Transient.get(slot) != 0) == mid) return;
        Transient.set(slot, bytes32(uint256(mid ? 1 : 0)));
        if (mid) _midCount++;
        else _midCount--;
    }

    /// @dev The packed RESULT that answers the call at `start`: it goes back from the call's target to its source.
    function _resultOf(bytes memory data, uint256 start, bool failed, bytes memory answer)
        private
        pure
        returns (bytes memory)
    {
        return bytes.concat(
            abi.encodePacked(PackedAction.RESULT, failed, uint224(PackedAction.source(data, start)), uint192(0)),
            abi.encodePacked(uint224(PackedAction.target(data, start)), uint8(0), uint16(answer.length), answer)
        );
    }
}
