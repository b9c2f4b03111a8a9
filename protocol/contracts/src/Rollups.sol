// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {IRollupsExecution} from "./interfaces/IRollupsExecution.sol";
import {ProofMarket} from "./ProofMarket.sol";
import {ProxyFactory} from "./ProxyFactory.sol";
import {ReturnData} from "./ReturnData.sol";
import {TableReader} from "./TableReader.sol";
import {Transient} from "./Transient.sol";

/// @title Rollups: loads proven tables and executes them (SPEC §8).
/// @notice Calls only proxies that it created, proof systems by STATICCALL, its own market, and accounts that claim.
contract Rollups is ProxyFactory {
    uint256 private constant EXPECT_BYTES = 80;
    /// @dev enough for an ExecutionNotFound with the longest action
    uint256 private constant MAX_REVERT_DATA = 2048;

    IProofMarket private immutable MARKET;
    TableReader private immutable READER;

    address private immutable MODULE;

    /// @param reader_ a TableReader
    /// @param module_ a RollupsAdmin. Whoever uses a Rollups contract must know the code at both: they cannot be changed later
    constructor(address reader_, address module_) {
        if (reader_.code.length == 0) revert NoCode(reader_);
        if (module_.code.length == 0) revert NoCode(module_);
        READER = TableReader(reader_);
        MODULE = module_;
        MARKET = new ProofMarket();
    }

    /// @dev Everything else is the module's, on this contract's storage. What the module lacks too reverts there.
    fallback() external payable {
        address to = MODULE;
        // the whole memory is ours, nothing here returns to Solidity code
        assembly {
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), to, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(ok) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }

    /// @dev Ether comes only with an action that books it.
    receive() external payable {
        revert PlainTransfer(msg.value);
    }

    // --- entry points

    /// @inheritdoc IRollupsExecution
    function loadAndRun(
        bytes calldata core,
        bytes calldata proofs,
        bytes calldata expects,
        bytes calldata triggers,
        bytes calldata settlement
    ) external payable override returns (bytes[] memory results) {
        _requireIdle();
        precheck(expects);
        if (triggers.length % 2 != 0) revert MalformedTriggers(triggers.length);
        Load memory l = _open(core, LANE_TRANSIENT);
        _checkTriggers(l, triggers);
        (address payee, bytes32 agreementHash, bytes32 familyHash) = _load(l, proofs);
        // a load that fires nothing does not show that the user was served, so it does not pay: settleLoaded does
        if (settlement.length != 0 ? agreementHash == 0 : agreementHash != 0 && triggers.length != 0) {
            revert SettlementMismatch(agreementHash, settlement.length);
        }
        if (triggers.length == 0) _rememberLoader(l.coreId, payee, agreementHash, familyHash);
        else if (agreementHash != 0) {
            MARKET.settle{gas: SETTLE_GAS}(l.coreId, agreementHash, payee, familyHash, settlement);
        }
        results = new bytes[](triggers.length / 2);
        for (uint256 i = 0; i < results.length; i++) {
            CoreCodec.ActionView memory a = CoreCodec.viewAction(l.data, l.plan.triggers[_index(triggers, i)]);
            results[i] = _fire(l.data, a, l.coreId, true);
        }
    }

    /// @inheritdoc IRollupsExecution
    function loadL2Executions(Execution[] calldata, bytes calldata proof)
        external
        payable
        override
        returns (bytes32)
    {
        _requireIdle();
        (bool ok, bytes memory packed) = address(READER).staticcall(msg.data);
        if (!ok) _bubble(packed);
        Load memory l = _open(abi.decode(packed, (bytes)), LANE_PERSISTENT);
        uint256 bond = BOND_PER_ENTRY * l.plan.keys.length;
        if (msg.value != bond) revert WrongValue(bond, msg.value);
        bool atLiveRoot = true;
        if (l.copied) {
            _claimable[msg.sender] += bond;
            atLiveRoot = _join(l.coreId, l.plan.keys[0], l.header);
        } else {
            // the reader has found the header inside `proof`
            _load(l, proof[CoreCodec.HEADER_BYTES + 40 * uint256(uint8(proof[1])):]);
        }
        if (atLiveRoot && l.plan.openAction != 0) _offer(l.header.lockset[0], l.plan.openAction, l.coreId);
        return l.coreId;
    }

    /// @inheritdoc IRollupsExecution
    function callL2(uint64 rollupId, address destination, bytes calldata data)
        external
        payable
        override
        returns (bytes memory)
    {
        return _callFromL1(rollupId, destination, msg.sender, data, 0);
    }

    /// @inheritdoc IRollupsExecution
    function callL2Pinned(bytes32 coreId, uint64 rollupId, address destination, bytes calldata data)
        external
        payable
        override
        returns (bytes memory)
    {
        return _callFromL1(rollupId, destination, msg.sender, data, coreId);
    }

    /// @inheritdoc IRollupsExecution
    function onProxyCall(uint64 rollupId, address original, address caller, bytes calldata data)
        external
        payable
        override
        returns (bytes memory)
    {
        if (msg.sender != computeProxyAddress(original, rollupId)) revert NotProxy(msg.sender);
        return _callFromL1(rollupId, original, caller, data, 0);
    }

    // --- load

    /// @dev A core that is being loaded.
    struct Load {
        bytes data;
        bytes32 coreId;
        uint8 lane;
        /// live in this lane already: nothing is stored again, and times and roots, which the first load's triggers may have
        /// moved, are not asked again
        bool copied;
        CoreCodec.Core header;
        uint64[] epochs;
        TableReader.Plan plan;
    }

    /// @dev Formats and rules.
    function _open(bytes memory data, uint8 lane) private view returns (Load memory l) {
        l.data = data;
        l.lane = lane;
        l.coreId = ActionHash.coreId(data);
        l.copied = _isLive(l.coreId, lane);
        (l.header,) = CoreCodec.decodeHeader(data);
        l.epochs = _epochsAt(l.header.lockset, uint64(block.timestamp));
        l.plan = READER.plan(data, l.coreId, l.epochs, address(MARKET));
    }

    function _checkTriggers(Load memory l, bytes calldata triggers) private view {
        address executor = l.header.executor;
        if (executor != address(0) && msg.sender != executor) revert NotExecutor(msg.sender, executor);
        bytes32 wanted = l.header.triggersHash;
        bytes32 triggersHash = keccak256(triggers);
        if (wanted != 0 && triggersHash != wanted) revert WrongTriggers(wanted, triggersHash);
        uint256 sum = 0;
        for (uint256 i = 0; i < triggers.length / 2; i++) {
            uint256 index = _index(triggers, i);
            if (index >= l.plan.triggers.length) revert NotATrigger(index);
            CoreCodec.ActionView memory a = CoreCodec.viewAction(l.data, l.plan.triggers[index]);
            if (a.kind != CoreCodec.CALL || a.sourceRollup != 0) revert NotATrigger(index);
            if (a.sourceAddress != msg.sender) revert NotTriggerSource(index, a.sourceAddress);
            sum += a.value;
        }
        if (msg.value != sum) revert WrongValue(sum, msg.value);
    }

    function _index(bytes calldata triggers, uint256 i) private pure returns (uint256) {
        return uint16(bytes2(triggers[2 * i:2 * i + 2]));
    }

    /// @dev Times, roots, proofs; then stores.
    function _load(Load memory l, bytes calldata proofs)
        private
        returns (address payee, bytes32 agreementHash, bytes32 familyHash)
    {
        if (!l.copied) _checkLive(l.header);
        (payee, agreementHash, familyHash) =
            READER.check(l.data, l.coreId, l.header.lockset, l.epochs, proofs);
        if (l.copied) return (payee, agreementHash, familyHash);
        _storePlan(l.coreId, l.plan, l.lane);
        _announce(l.coreId, l.header, l.plan.keys.length, l.lane);
        emit TableLoaded(l.coreId, l.lane, l.data, payee, agreementHash);
    }

    function _epochsAt(uint64[] memory lockset, uint64 time) private view returns (uint64[] memory epochs) {
        epochs = new uint64[](lockset.length);
        for (uint256 i = 0; i < lockset.length; i++) {
            epochs[i] = _epochAt(lockset[i], time);
        }
    }

    /// @inheritdoc IRollupsExecution
    function checkProofs(bytes calldata core, bytes calldata proofs, uint64 time)
        external
        view
        override
        returns (bytes32 coreId, address payee, bytes32 agreementHash, bytes32 familyHash)
    {
        bytes memory data = core;
        (CoreCodec.Core memory c,) = CoreCodec.decodeHeader(data);
        coreId = ActionHash.coreId(data);
        (payee, agreementHash, familyHash) =
            READER.check(data, coreId, c.lockset, _epochsAt(c.lockset, time), proofs);
    }

    /// @inheritdoc IRollupsExecution
    function precheck(bytes calldata expects) public view override {
        if (expects.length == 0 || expects.length != 1 + EXPECT_BYTES * uint8(expects[0])) {
            revert MalformedExpects(expects.length);
        }
        for (uint256 offset = 1; offset < expects.length; offset += EXPECT_BYTES) {
            uint64 rollupId = uint64(bytes8(expects[offset:offset + 8]));
            Rollup storage r = _rollup(rollupId);
            uint64 epoch = _epoch(r);
            bytes32 wanted = bytes32(expects[offset + 48:offset + 80]);
            if (r.stateRoot != bytes32(expects[offset + 8:offset + 40])) revert PrecheckFailed(rollupId, 1);
            if (epoch != uint64(bytes8(expects[offset + 40:offset + 48]))) revert PrecheckFailed(rollupId, 2);
            if (wanted != 0 && wanted != _configHash(rollupId, epoch)) revert PrecheckFailed(rollupId, 3);
        }
    }

    // --- execution

    function _callFromL1(uint64 rollupId, address destination, address source, bytes calldata data, bytes32 pin)
        private
        returns (bytes memory)
    {
        _rollup(rollupId);
        if (msg.value > type(uint128).max) revert ValueTooLarge(msg.value);
        if (data.length > CoreCodec.MAX_ACTION_DATA) revert CoreCodec.DataTooLong(0, data.length);
        bytes memory action = abi.encodePacked(
            CoreCodec.CALL,
            uint8(0),
            rollupId,
            destination,
            uint128(msg.value),
            uint64(0),
            uint64(0),
            source,
            uint8(0),
            uint16(data.length),
            data
        );
        return _fire(action, CoreCodec.viewAction(action, 0), pin, false);
    }

    /// @dev A trigger from L1: its failure is the caller's revert.
    function _fire(bytes memory data, CoreCodec.ActionView memory a, bytes32 pin, bool listed)
        private
        returns (bytes memory)
    {
        (bool failed, bytes memory answer) = _trigger(data, a, pin, listed);
        if (failed) revert CallReverted(answer);
        return answer;
    }

    /// @dev Runs a CALL to a rollup up to its RESULT. `data` holds the packed action that `a` views.
    function _trigger(bytes memory data, CoreCodec.ActionView memory a, bytes32 pin, bool listed)
        private
        returns (bool failed, bytes memory answer)
    {
        bytes32 actionHash = ActionHash.hash(data, a, 0);
        bytes32 coreId = pin == 0 ? _resolve(a.rollupId, actionHash) : pin;
        (bool found, Table memory t) = _tableOf(coreId);
        if (!found) revert ExecutionNotFound(actionHash, _slice(data, a.start, a.end - a.start));
        bytes32[] memory outer = _enter(t, a, listed);
        _moveEther(a.sourceRollup, a.rollupId, a.value);

        bytes memory record = _consume(t, actionHash, data, a);
        CoreCodec.ActionView memory next = CoreCodec.viewAction(record, RECORD_HEADER);
        while (next.kind == CoreCodec.CALL) {
            bytes memory result = _resultOf(next, _callOut(record, next));
            a = CoreCodec.viewAction(result, 0);
            record = _consume(t, ActionHash.hash(result, a, ActionHash.hash(record, next, 0)), result, a);
            next = CoreCodec.viewAction(record, RECORD_HEADER);
        }

        _leave(t, outer);
        return (next.flags & 1 != 0, _slice(record, next.dataAt, next.dataLength));
    }

    /// @dev Starts a frame. Entering a table that is not running asks for its executor and makes it the table of its members.
    /// @return outer sessions to restore, empty if the table was running already
    function _enter(Table memory t, CoreCodec.ActionView memory a, bool listed)
        private
        returns (bytes32[] memory outer)
    {
        _depth++;
        bytes32 active = _activeSlot(t.coreId);
        if (Transient.get(active) == RUNNING) return outer;
        if (t.triggersFixed && !listed) revert TriggersFixed(t.coreId);
        if (t.executor != address(0) && (a.sourceRollup != 0 || a.sourceAddress != t.executor)) {
            revert NotExecutor(a.sourceAddress, t.executor);
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
        if (_depth == 0 && _midCount != 0) revert FlowNotFinal(_midCount);
    }

    /// @dev Meets an action at the live roots: moves its owner's root and returns the record, which holds the next action.
    function _consume(Table memory t, bytes32 actionHash, bytes memory data, CoreCodec.ActionView memory a)
        private
        returns (bytes memory record)
    {
        uint64 epoch = 0;
        bytes32[] memory stamps = new bytes32[](t.lockset.length);
        for (uint256 i = 0; i < stamps.length; i++) {
            Rollup storage member = _rollups[t.lockset[i]];
            uint64 memberEpoch = _epoch(member);
            if (t.lockset[i] == a.rollupId) epoch = memberEpoch;
            stamps[i] = ActionHash.stamp(member.stateRoot, memberEpoch);
        }
        record = _takeRecord(t, ActionHash.key(t.coreId, actionHash, keccak256(abi.encodePacked(stamps))));
        if (record.length == 0) revert ExecutionNotFound(actionHash, _slice(data, a.start, a.end - a.start));

        uint256 head;
        bytes32 newRoot;
        assembly ("memory-safe") {
            head := mload(add(record, 32))
            newRoot := mload(add(record, 35))
        }
        Rollup storage owner = _rollups[a.rollupId];
        if (owner.stateRoot != newRoot) {
            if (t.l2Time < owner.lastL2Time) revert TimeSkew(t.l2Time, owner.lastL2Time, block.timestamp);
            owner.stateRoot = newRoot;
            if (t.l2Time != owner.lastL2Time) owner.lastL2Time = t.l2Time;
        }
        _setMid(a.rollupId, uint8(head >> 232) != 0);
        emit ExecutionConsumed(t.coreId, uint16(head >> 240), a.rollupId, newRoot, epoch);
    }

    function _setMid(uint64 rollupId, bool mid) private {
        if (_isMid(rollupId) == mid) return;
        Transient.set(_midSlot(rollupId), bytes32(uint256(mid ? 1 : 0)));
        if (mid) _midCount++;
        else _midCount--;
    }

    /// @dev Makes a rollup's call; in this version a failure ends the flow, so what comes back is always an answer.
    function _callOut(bytes memory data, CoreCodec.ActionView memory call) private returns (bytes memory answer) {
        if (call.rollupId != 0) {
            bool failed;
            (failed, answer) = _trigger(data, call, 0, false);
            if (failed) revert CallReverted(answer);
            return answer;
        }
        _moveEther(call.sourceRollup, 0, call.value);
        address proxy = getOrCreateProxy(call.sourceAddress, call.sourceRollup);
        bytes memory payload =
            abi.encodePacked(call.destination, call.gasLimit, _slice(data, call.dataAt, call.dataLength));
        uint256 value = call.value;
        bool ok;
        uint256 size;
        // assembly: a callee's return data must not be copied without bound
        assembly ("memory-safe") {
            ok := call(gas(), proxy, value, add(payload, 32), mload(payload), 0, 0)
            size := returndatasize()
        }
        if (!ok) _revertWith(ReturnData.head(MAX_REVERT_DATA));
        if (size > CoreCodec.MAX_ACTION_DATA) revert AnswerTooLong(size);
        return ReturnData.head(CoreCodec.MAX_ACTION_DATA);
    }

    /// @dev A missing entry deeper down is the planner's business and comes through as it is.
    function _revertWith(bytes memory reason) private pure {
        if (reason.length >= 4 && bytes4(reason) == ExecutionNotFound.selector) {
            _bubble(reason);
        }
        revert CallFailed(reason);
    }

    function _bubble(bytes memory reason) private pure {
        assembly ("memory-safe") {
            revert(add(reason, 32), mload(reason))
        }
    }

    /// @dev The packed RESULT that answers a call: it goes back from the call's target to its source.
    function _resultOf(CoreCodec.ActionView memory call, bytes memory answer) private pure returns (bytes memory) {
        return abi.encodePacked(
            CoreCodec.RESULT,
            uint8(0),
            call.sourceRollup,
            call.sourceAddress,
            uint128(0),
            uint64(0),
            call.rollupId,
            call.destination,
            uint8(0),
            uint16(answer.length),
            answer
        );
    }

    function _slice(bytes memory data, uint256 offset, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        assembly ("memory-safe") {
            mcopy(add(part, 32), add(add(data, 32), offset), length)
        }
    }

    // --- views

    /// @inheritdoc IRollupsExecution
    function reader() external view override returns (address) {
        return address(READER);
    }

    /// @inheritdoc IRollupsExecution
    function module() external view override returns (address) {
        return MODULE;
    }

    /// @inheritdoc IRollupsExecution
    function config(uint64 rollupId, uint64 epoch) external view override returns (Config memory, uint64) {
        return _config(rollupId, epoch);
    }

    /// @inheritdoc IRollupsExecution
    function market() external view override returns (address) {
        return address(MARKET);
    }
}
