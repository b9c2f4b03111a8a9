// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {Flow} from "./Flow.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {IRollupsExecution} from "./interfaces/IRollupsExecution.sol";
import {PackedAction} from "./PackedAction.sol";
import {ProofMarket} from "./ProofMarket.sol";
import {TableReader} from "./TableReader.sol";

/// @title Rollups: loads proven tables and executes them (SPEC §8).
/// @notice Calls only proxies that it created, proof systems by STATICCALL, its own market, and accounts that claim.
contract Rollups is Flow {
    uint256 private constant EXPECT_BYTES = 80;
    /// @dev where the requester's address ends in a settlement (SPEC §8.2)
    uint256 private constant REQUESTER_END = 53;

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
        bytes memory data = core;
        Load memory l = _open(data, LANE_TRANSIENT);
        _checkSender(data, triggers);
        bool isFresh = !l.known || _standsOnLiveRoots(data);
        if (isFresh) _checkLive(data);
        _read(l, proofs, READER, address(MARKET));
        bool fromAnybody = _checkTriggers(l, triggers);
        // also of somebody's copy in this transaction, of which entries may be gone and whose members may resolve elsewhere since
        if (isFresh) _store(l);
        // a load that fires nothing does not show that the user was served, so it does not pay: settleLoaded does
        bytes32 agreementHash = l.proven.agreementHash;
        if (settlement.length != 0 ? agreementHash == 0 : agreementHash != 0 && triggers.length != 0) {
            revert SettlementMismatch(agreementHash, settlement.length);
        }
        if (triggers.length == 0) {
            _rememberLoader(l.coreId, l.proven);
        } else if (agreementHash != 0) {
            if (fromAnybody) _checkPayer(data, settlement);
            MARKET.settle{gas: SETTLE_GAS}(
                l.coreId, agreementHash, l.proven.payee, l.proven.systemsHash, settlement
            );
        }
        results = new bytes[](triggers.length / 2);
        for (uint256 i = 0; i < results.length; i++) {
            uint256 start = CoreCodec.triggerAt(l.plan.places[_index(triggers, i)]);
            (, results[i]) = _fire(data, start, l.coreId, true);
        }
    }

    /// @inheritdoc IRollupsExecution
    function callL2(uint64 rollupId, address destination, bytes calldata data)
        external
        payable
        override
        returns (bytes memory)
    {
        return _begin(_callFromL1(rollupId, destination, msg.sender, data), 0);
    }

    /// @inheritdoc IRollupsExecution
    function callL2Pinned(bytes32 coreId, uint64 rollupId, address destination, bytes calldata data)
        external
        payable
        override
        returns (bytes memory)
    {
        _requirePin(coreId);
        return _begin(_callFromL1(rollupId, destination, msg.sender, data), coreId);
    }

    /// @inheritdoc IRollupsExecution
    function onProxyCall(uint64 rollupId, address original, address caller, bytes calldata data)
        external
        payable
        override
        returns (bytes memory)
    {
        if (msg.sender != computeProxyAddress(original, rollupId)) revert NotProxy(msg.sender);
        return _begin(_callFromL1(rollupId, original, caller, data), 0);
    }

    /// @inheritdoc IRollupsExecution
    function tryCallL2(uint64 rollupId, address destination, bytes calldata data, uint64 minGas)
        external
        payable
        override
        returns (uint8 status, bytes memory answer)
    {
        _requireGas(minGas);
        return _tryFromL1(_callFromL1(rollupId, destination, msg.sender, data));
    }

    /// @inheritdoc IRollupsExecution
    function executeL2TX(uint64 rollupId, bytes calldata transaction)
        external
        override
        returns (bool success, bytes memory answer)
    {
        return _execute(rollupId, transaction, 0, 0);
    }

    /// @inheritdoc IRollupsExecution
    function executeL2TXPinned(bytes32 coreId, uint64 rollupId, bytes calldata transaction)
        external
        override
        returns (bool success, bytes memory answer)
    {
        _requirePin(coreId);
        return _execute(rollupId, transaction, 0, coreId);
    }

    /// @inheritdoc IRollupsExecution
    function executeForcedL2TX(bytes32 coreId, uint64 rollupId, bytes calldata transaction)
        external
        override
        returns (bool success, bytes memory answer)
    {
        return _execute(rollupId, transaction, _rollup(rollupId).forcedHead + 1, coreId);
    }

    function _begin(bytes memory action, bytes32 pin) private returns (bytes memory answer) {
        (, answer) = _fire(action, 0, pin, false);
    }

    /// @dev No table has the id 0, which would stand for any.
    function _requirePin(bytes32 coreId) private pure {
        if (coreId == 0) revert NoSuchTable(coreId);
    }

    /// @dev A transaction begins outside of any flow: it names no source, so that anybody could slip it into somebody else's.
    /// @param gas 0, or one more than the transaction's place in the forced queue
    function _execute(uint64 rollupId, bytes calldata transaction, uint64 gas, bytes32 pin)
        private
        returns (bool, bytes memory)
    {
        _requireIdle();
        _rollup(rollupId);
        if (transaction.length > PackedAction.MAX_DATA) revert CoreCodec.DataTooLong(0, transaction.length);
        bytes memory action = bytes.concat(
            abi.encodePacked(PackedAction.L2TX, uint8(0), rollupId, address(0), uint128(0), gas, uint64(0)),
            abi.encodePacked(address(0), uint8(0), uint16(transaction.length), transaction)
        );
        (bool failed, bytes memory answer) = _fire(action, 0, pin, false);
        return (!failed, answer);
    }

    // --- load

    function _checkSender(bytes memory data, bytes calldata triggers) private view {
        address executor = CoreCodec.executor(data);
        if (executor != address(0) && msg.sender != executor) revert NotExecutor(msg.sender, executor);
        bytes32 wanted = CoreCodec.triggersHash(data);
        if (wanted == 0) return;
        bytes32 triggersHash = keccak256(triggers);
        if (triggersHash != wanted) revert WrongTriggers(wanted, triggersHash);
    }

    /// @dev A table of which anybody may fire a part is paid for by whom it was made for only: a copier would leave the rest.
    function _checkPayer(bytes memory data, bytes calldata settlement) private view {
        if (CoreCodec.executor(data) != address(0) || CoreCodec.triggersHash(data) != 0) return;
        if (settlement.length < REQUESTER_END) revert IProofMarket.MalformedSettlement(settlement.length);
        address requester = address(bytes20(settlement[REQUESTER_END - 20:REQUESTER_END]));
        if (msg.sender != requester) revert NotExecutor(msg.sender, requester);
    }

    /// @return fromAnybody whether some of them name no source
    function _checkTriggers(Load memory l, bytes calldata triggers) private view returns (bool fromAnybody) {
        bytes memory data = l.data;
        uint256 sum = 0;
        for (uint256 i = 0; i < triggers.length / 2; i++) {
            uint256 index = _index(triggers, i);
            if (index >= l.plan.places.length) revert NotATrigger(index);
            uint256 start = CoreCodec.triggerAt(l.plan.places[index]);
            uint8 kind = PackedAction.kind(data, start);
            if (kind == PackedAction.L2TX) {
                fromAnybody = true;
            } else {
                if (kind != PackedAction.CALL || PackedAction.sourceRollup(data, start) != 0) revert NotATrigger(index);
                address source = PackedAction.sourceAddress(data, start);
                if (source != msg.sender) revert NotTriggerSource(index, source);
            }
            sum += PackedAction.amount(data, start);
        }
        if (msg.value != sum) revert WrongValue(sum, msg.value);
    }

    function _index(bytes calldata triggers, uint256 i) private pure returns (uint256) {
        return uint16(bytes2(triggers[2 * i:2 * i + 2]));
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
    function market() external view override returns (address) {
        return address(MARKET);
    }
}
