// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {IRollupsTypes} from "./interfaces/IRollupsTypes.sol";
import {PackedAction} from "./PackedAction.sol";
import {ProofCheck} from "./ProofCheck.sol";

/// @title Everything about a load that needs no state: rules, proofs, the keys that a lane stores entries under, and the way from the
///        ABI form of a table to its packed core.
/// @notice A contract of its own, without state, only because Rollups would not fit the size limit of EIP-170 with it.
contract TableReader is ProofCheck {
    /// @notice What a load stores.
    struct Plan {
        bytes32[] keys;
        /// where each entry lies in the core, as CoreCodec says it
        uint256[] places;
        /// the trigger's action hash if the table is complete after one entry that anybody may meet, else 0
        bytes32 openAction;
        /// whether an entry takes from a forced queue
        bool takesForced;
    }

    /// @notice What the proofs speak of beside the core.
    struct Proven {
        address payee;
        bytes32 agreementHash;
        /// keccak of the members' configHashes in order
        bytes32 systemsHash;
    }

    /// @notice Checks every rule of SPEC §5.2 and the proofs, and computes what a load stores.
    /// @param configs of the members, as the caller has them in force (ProofCheck)
    /// @param forbidden besides the caller, a destination that no call may have
    function read(bytes calldata core, bytes32 coreId, bytes calldata configs, bytes calldata proofs, address forbidden)
        external
        view
        returns (Plan memory p, Proven memory proven)
    {
        bytes memory data = core;
        p = _plan(data, coreId, configs, forbidden);
        proven = _proven(data, coreId, configs, proofs);
    }

    /// @notice The same without proofs.
    function plan(bytes calldata core, bytes32 coreId, bytes calldata configs, address forbidden)
        external
        view
        returns (Plan memory)
    {
        return _plan(core, coreId, configs, forbidden);
    }

    /// @notice Checks the proofs alone.
    function check(bytes calldata core, bytes32 coreId, bytes calldata configs, bytes calldata proofs)
        external
        view
        returns (Proven memory)
    {
        return _proven(core, coreId, configs, proofs);
    }

    function _proven(bytes memory core, bytes32 coreId, bytes calldata configs, bytes calldata proofs)
        private
        view
        returns (Proven memory)
    {
        (Claim memory c, bytes32 systemsHash) = _checkProofs(core, coreId, configs, proofs);
        return Proven(c.payee, c.agreementHash, systemsHash);
    }

    function _plan(bytes memory core, bytes32 coreId, bytes calldata configs, address forbidden)
        private
        view
        returns (Plan memory p)
    {
        p.places = CoreCodec.decode(core);
        uint256 count = p.places.length;
        p.keys = new bytes32[](count);
        bytes32[][] memory following = new bytes32[][](count);
        (bytes32[] memory live, uint64[] memory epochs) = _liveStamps(core, configs);
        for (uint256 i = 0; i < count; i++) {
            uint256 place = p.places[i];
            uint256 trigger = CoreCodec.triggerAt(place);
            _checkDestination(core, CoreCodec.nextAt(place), i, forbidden);
            uint256 parent = CoreCodec.parent(core, place);
            bytes32[] memory before = parent == CoreCodec.NONE ? live : following[parent];
            if (PackedAction.isForced(core, trigger)) p.takesForced = true;
            bytes32 actionHash = ActionHash.hash(core, trigger, _link(core, p.places, place));
            p.keys[i] = ActionHash.key(coreId, actionHash, ActionHash.list(before));
            uint256 owner = CoreCodec.owner(place);
            following[i] = _replace(before, owner, ActionHash.stamp(CoreCodec.newRoot(core, place), epochs[owner]));
            if (i == 0 && count == 1 && _isOpen(core, place)) p.openAction = actionHash;
        }
        _checkDistinct(p.keys);
    }

    function _liveStamps(bytes memory core, bytes calldata configs)
        private
        pure
        returns (bytes32[] memory live, uint64[] memory epochs)
    {
        uint256 n = CoreCodec.memberCount(core);
        live = new bytes32[](n);
        epochs = new uint64[](n);
        uint256 start = 0;
        for (uint256 i = 0; i < n; i++) {
            epochs[i] = uint64(_word(configs, start) >> 128);
            live[i] = ActionHash.stamp(CoreCodec.preRoot(core, i), epochs[i]);
            start = _endOfConfig(configs, start);
        }
    }

    /// @dev SPEC §5.1
    function _link(bytes memory core, uint256[] memory places, uint256 place) private pure returns (bytes32) {
        uint8 kind = PackedAction.kind(core, CoreCodec.triggerAt(place));
        if (kind == PackedAction.RESULT) {
            return ActionHash.hash(core, CoreCodec.nextAt(places[CoreCodec.replyTo(core, place)]), 0);
        }
        if (kind != PackedAction.REVERT_CONTINUE) return 0;
        uint256 undone = places[CoreCodec.revertOf(core, place)];
        bytes32 revertHash = ActionHash.hash(core, CoreCodec.nextAt(undone), 0);
        return ActionHash.continueLink(revertHash, CoreCodec.newRoot(core, undone));
    }

    /// @dev Two ways for one rollup's call to make the market or Rollups act are refused, for every proof system.
    function _checkDestination(bytes memory core, uint256 next, uint256 index, address forbidden) private view {
        if (!PackedAction.isCall(core, next) || PackedAction.rollupId(core, next) != 0) return;
        address destination = PackedAction.destination(core, next);
        if (destination == msg.sender || destination == forbidden) {
            revert IRollupsTypes.ForbiddenDestination(index, destination);
        }
    }

    /// @dev Rule 6. In assembly because it compares each with each: 15 entries cost 10,000 gas with bounds checks.
    function _checkDistinct(bytes32[] memory keys) private pure {
        uint256 found = 0;
        assembly ("memory-safe") {
            let first := add(keys, 32)
            let end := add(first, mul(mload(keys), 32))
            for { let place := add(first, 32) } lt(place, end) { place := add(place, 32) } {
                let key := mload(place)
                for { let other := first } lt(other, place) { other := add(other, 32) } {
                    if eq(mload(other), key) { found := shr(5, sub(place, first)) }
                }
                if found { break }
            }
        }
        if (found != 0) revert IRollupsTypes.DuplicateKey(found);
    }

    function _replace(bytes32[] memory stamps, uint256 place, bytes32 stamp)
        private
        pure
        returns (bytes32[] memory changed)
    {
        changed = new bytes32[](stamps.length);
        for (uint256 i = 0; i < changed.length; i++) {
            changed[i] = i == place ? stamp : stamps[i];
        }
    }

    /// @dev Only a table that is complete after one entry may capture a trigger that did not name it.
    function _isOpen(bytes memory core, uint256 place) private pure returns (bool) {
        return CoreCodec.executor(core) == address(0) && CoreCodec.triggersHash(core) == 0
            && CoreCodec.memberCount(core) == 1 && PackedAction.isCall(core, CoreCodec.triggerAt(place))
            && PackedAction.kind(core, CoreCodec.nextAt(place)) == PackedAction.RESULT;
    }

    /// @notice Same name and arguments as IRollups.loadL2Executions, so that its call data can be passed on as it is.
    /// @param proof `header | proofs`
    /// @return core the packed core; its rules are checked by `read`
    function loadL2Executions(IRollupsTypes.Execution[] calldata executions, bytes calldata proof)
        external
        pure
        returns (bytes memory core)
    {
        if (proof.length < 2) revert CoreCodec.Truncated(proof.length);
        uint256 header = CoreCodec.HEADER_BYTES + 40 * uint256(uint8(proof[1]));
        if (proof.length < header) revert CoreCodec.Truncated(proof.length);
        uint256 count = executions.length;
        if (count == 0 || count > CoreCodec.MAX_ENTRIES) revert CoreCodec.BadEntryCount(count);
        core = bytes.concat(proof[:header], bytes2(uint16(count)));
        for (uint256 i = 0; i < count; i++) {
            IRollupsTypes.Execution calldata e = executions[i];
            core = bytes.concat(
                core,
                abi.encodePacked(e.parent, e.replyTo, e.revertOf, e.mid, e.newRoot),
                _action(e.trigger, core.length),
                _action(e.nextAction, core.length)
            );
        }
    }

    function _action(IRollupsTypes.Action calldata a, uint256 offset) private pure returns (bytes memory) {
        if (a.data.length > PackedAction.MAX_DATA) revert CoreCodec.DataTooLong(offset, a.data.length);
        if (a.scope.length > PackedAction.MAX_SCOPE) revert CoreCodec.ScopeTooLong(offset, a.scope.length);
        bytes memory scope;
        for (uint256 i = 0; i < a.scope.length; i++) {
            scope = abi.encodePacked(scope, a.scope[i]);
        }
        bytes memory head = abi.encodePacked(
            a.kind,
            uint8((a.failed ? 1 : 0) + (a.opaque ? 2 : 0)),
            a.rollupId,
            a.destination,
            a.value,
            a.gasLimit,
            a.sourceRollup,
            a.sourceAddress
        );
        return abi.encodePacked(head, uint8(a.scope.length), scope, uint16(a.data.length), a.data);
    }
}
