// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {IRollupsTypes} from "./interfaces/IRollupsTypes.sol";
import {ProofCheck} from "./ProofCheck.sol";

/// @title Everything about a load that needs no state: rules, proofs, the keys and records that a lane stores, and the way from the
///        ABI form of a table to its packed core.
/// @notice A contract of its own, without state, only because Rollups would not fit the size limit of EIP-170 with it.
contract TableReader is ProofCheck {
    /// @notice A *record* is what consuming an entry needs, `index u16 | mid u8 | newRoot b32 | next action`.
    struct Plan {
        bytes32[] keys;
        bytes[] records;
        /// where each entry's trigger begins in the core
        uint256[] triggers;
        /// the trigger's action hash if the table is complete after one entry that anybody may meet, else 0
        bytes32 openAction;
        /// whether an entry takes from a forced queue
        bool takesForced;
    }

    /// @notice Checks every rule of SPEC §5.2 and computes what a load stores.
    /// @param forbidden besides the caller, a destination that no call may have
    function plan(bytes calldata core, bytes32 coreId, uint64[] calldata epochs, address forbidden)
        external
        view
        returns (Plan memory p)
    {
        bytes memory data = core;
        CoreCodec.Core memory c = CoreCodec.decode(data);
        uint256 count = c.entries.length;
        p.keys = new bytes32[](count);
        p.records = new bytes[](count);
        p.triggers = new uint256[](count);
        bytes32[][] memory following = new bytes32[][](count);
        bytes32[] memory live = new bytes32[](epochs.length);
        for (uint256 i = 0; i < live.length; i++) {
            live[i] = ActionHash.stamp(c.preRoots[i], epochs[i]);
        }
        for (uint256 i = 0; i < count; i++) {
            CoreCodec.EntryView memory e = c.entries[i];
            _checkDestination(e.next, i, forbidden);
            bytes32[] memory before = e.parent == CoreCodec.NONE ? live : following[e.parent];
            if (e.trigger.kind == CoreCodec.L2TX && e.trigger.gasLimit != 0) p.takesForced = true;
            bytes32 actionHash = ActionHash.hash(data, e.trigger, _link(data, c, e));
            p.keys[i] = ActionHash.key(coreId, actionHash, keccak256(abi.encodePacked(before)));
            p.records[i] = _record(core, e, i);
            p.triggers[i] = e.trigger.start;
            following[i] = _replace(before, e.owner, ActionHash.stamp(e.newRoot, epochs[e.owner]));
            if (i == 0 && _isOpen(c)) p.openAction = actionHash;
        }
        _checkDistinct(p.keys);
    }

    /// @notice Verifies the proofs of a core against the caller's configurations.
    /// @return payee as the proofs have it
    /// @return agreementHash as the proofs have it
    /// @return systemsHash keccak of the members' configHashes in order
    function check(
        bytes calldata core,
        bytes32 coreId,
        uint64[] calldata lockset,
        uint64[] calldata epochs,
        bytes calldata proofs
    ) external view returns (address payee, bytes32 agreementHash, bytes32 systemsHash) {
        Subject memory s = Subject(coreId, lockset, epochs, address(0), 0);
        systemsHash = _checkProofs(core, s, proofs);
        return (s.payee, s.agreementHash, systemsHash);
    }

    /// @dev SPEC §5.1
    function _link(bytes memory data, CoreCodec.Core memory c, CoreCodec.EntryView memory e)
        private
        pure
        returns (bytes32)
    {
        if (e.trigger.kind == CoreCodec.RESULT) return ActionHash.hash(data, c.entries[e.replyTo].next, 0);
        if (e.trigger.kind != CoreCodec.REVERT_CONTINUE) return 0;
        CoreCodec.EntryView memory undone = c.entries[e.revertOf];
        return ActionHash.continueLink(ActionHash.hash(data, undone.next, 0), undone.newRoot);
    }

    /// @dev Two ways for one rollup's call to make the market or Rollups act are refused, for every proof system.
    function _checkDestination(CoreCodec.ActionView memory next, uint256 index, address forbidden) private view {
        if (!CoreCodec.isCall(next) || next.rollupId != 0) return;
        if (next.destination == msg.sender || next.destination == forbidden) {
            revert IRollupsTypes.ForbiddenDestination(index, next.destination);
        }
    }

    /// @dev Rule 6. At most 256 entries; a table of that size costs far more to store.
    function _checkDistinct(bytes32[] memory keys) private pure {
        for (uint256 i = 1; i < keys.length; i++) {
            bytes32 key = keys[i];
            for (uint256 k = 0; k < i; k++) {
                if (keys[k] == key) revert IRollupsTypes.DuplicateKey(i);
            }
        }
    }

    function _record(bytes calldata core, CoreCodec.EntryView memory e, uint256 index)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(uint16(index), e.mid, e.newRoot, core[e.next.start:e.next.end]);
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
    function _isOpen(CoreCodec.Core memory c) private pure returns (bool) {
        return c.executor == address(0) && c.triggersHash == 0 && c.lockset.length == 1 && c.entries.length == 1
            && CoreCodec.isCall(c.entries[0].trigger) && c.entries[0].next.kind == CoreCodec.RESULT;
    }

    /// @notice Same name and arguments as IRollups.loadL2Executions, so that its call data can be passed on as it is.
    /// @param proof `header | proofs`
    /// @return core the packed core; its rules are checked by `plan`
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
        if (a.data.length > CoreCodec.MAX_ACTION_DATA) revert CoreCodec.DataTooLong(offset, a.data.length);
        if (a.scope.length > CoreCodec.MAX_SCOPE) revert CoreCodec.ScopeTooLong(offset, a.scope.length);
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
