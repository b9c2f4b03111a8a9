// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {IRollupsTypes} from "./interfaces/IRollupsTypes.sol";
import {Transient} from "./Transient.sol";

/// @title Rollups, their configurations, epochs and ether, and the state of a running flow.
/// @notice With TableStore the one storage base of Rollups and RollupsAdmin, which is why all of both is declared in these two.
abstract contract RollupRegistry is IRollupsTypes {
    bytes32 private constant D_MID = keccak256("unveto/mid/1");

    struct Rollup {
        bytes32 stateRoot;
        /// all the ether there is has 87 bits
        uint96 etherBalance;
        uint40 lastL2Time;
        /// the last epoch that was written down; `_epoch` adds one once `pendingFrom` is due. 0 means no such rollup
        uint32 epoch;
        uint40 pendingFrom;
        /// block from which on only the first of the forced queue moves the rollup; 0 if nothing is queued
        uint48 forcedDue;
        address owner;
        uint32 configDelay;
        /// blocks that a forced transaction may wait; 0 means that the rollup has no forced queue
        uint32 forceBlocks;
        uint64 forcedHead;
        uint64 forcedTail;
        /// no forced transaction is due before this block: one was taken shortly before
        uint64 forcedPause;
    }

    struct SystemFamily {
        address system;
        bytes32 family;
    }

    /// @dev Most rollups have one system: it lies in the two words that are read anyway.
    struct StoredConfig {
        uint64 effectiveFrom;
        uint8 threshold;
        uint8 count;
        address system;
        bytes32 family;
        SystemFamily[] further;
    }

    uint64 internal _rollupCount;
    mapping(uint64 rollupId => Rollup) internal _rollups;
    mapping(uint64 rollupId => mapping(uint64 epoch => StoredConfig)) internal _configs;

    /// @dev set only while a proxy is constructed
    address internal transient _newProxyOriginal;
    uint64 internal transient _newProxyRollup;
    /// @dev frames of running triggers; 0 outside a flow
    uint256 internal transient _depth;
    /// @dev rollups whose root commits to suspended frames
    uint256 internal transient _midCount;

    // --- epochs

    function _rollup(uint64 rollupId) internal view returns (Rollup storage r) {
        r = _rollups[rollupId];
        if (r.epoch == 0) revert UnknownRollup(rollupId);
    }

    /// @dev A configuration switches when it is due, by being read.
    function _epoch(Rollup storage r) internal view returns (uint64) {
        uint64 due = r.pendingFrom;
        return due != 0 && block.timestamp >= due ? uint64(r.epoch) + 1 : r.epoch;
    }

    /// @dev The epoch in force at `time`, the current one for any time from now on; the first for times before the rollup.
    function _epochAt(uint64 rollupId, uint64 time) internal view returns (uint64) {
        uint64 high = _epoch(_rollup(rollupId));
        if (time >= block.timestamp) return high;
        uint64 low = 1;
        while (low < high) {
            uint64 middle = (low + high + 1) / 2;
            if (_configs[rollupId][middle].effectiveFrom <= time) low = middle;
            else high = middle - 1;
        }
        return low;
    }

    function _configHash(uint64 rollupId, uint64 epoch) internal view returns (bytes32) {
        (Config memory c,) = _config(rollupId, epoch);
        bytes32[] memory systems = new bytes32[](c.systems.length);
        for (uint256 i = 0; i < systems.length; i++) {
            systems[i] = bytes32(uint256(uint160(c.systems[i])));
        }
        return ActionHash.config(c.threshold, systems, c.families);
    }

    function _config(uint64 rollupId, uint64 epoch)
        internal
        view
        returns (Config memory c, uint64 effectiveFrom)
    {
        StoredConfig storage stored = _configs[rollupId][epoch];
        uint256 count = stored.count;
        c.systems = new address[](count);
        c.families = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            (c.systems[i], c.families[i]) = _systemOf(stored, i);
        }
        c.threshold = stored.threshold;
        effectiveFrom = stored.effectiveFrom;
    }

    function _systemOf(StoredConfig storage stored, uint256 place) internal view returns (address, bytes32) {
        if (place == 0) return (stored.system, stored.family);
        SystemFamily storage s = stored.further[place - 1];
        return (s.system, s.family);
    }

    // --- ether

    /// @dev The one place where booked ether moves: out of the caller's rollup, into the callee's; rollup 0 books nothing.
    ///      Called before the value is sent or the entry consumed, so that a re-entrant frame finds it moved.
    function _moveEther(uint64 from, uint64 to, uint256 value) internal {
        if (value == 0) return;
        if (from != 0) {
            Rollup storage source = _rollup(from);
            uint256 balance = source.etherBalance;
            if (balance < value) revert InsufficientRollupBalance(from, balance, value);
            source.etherBalance = uint96(balance - value);
        }
        if (to != 0) {
            Rollup storage target = _rollup(to);
            uint256 sum = target.etherBalance + value;
            if (sum > type(uint96).max) revert ValueTooLarge(value);
            target.etherBalance = uint96(sum);
        }
    }

    // --- the running flow

    /// @dev Reverts while a flow runs.
    function _requireIdle() internal view {
        if (_depth != 0) revert InFlow();
    }

    function _midSlot(uint64 rollupId) internal pure returns (bytes32) {
        return ActionHash.pair(D_MID, bytes32(uint256(rollupId)));
    }

    function _isMid(uint64 rollupId) internal view returns (bool) {
        return Transient.get(_midSlot(rollupId)) != 0;
    }
}
