// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {RollupRegistry} from "./RollupRegistry.sol";
import {TableReader} from "./TableReader.sol";
import {Transient} from "./Transient.sol";

/// @title Tables in two lanes: load, lookup, removal (SPEC §8).
/// @notice An entry's record lies under the entry's key, so a lookup costs the same however many entries exist.
abstract contract TableStore is RollupRegistry {
    uint256 internal constant BOND_PER_ENTRY = 0.005 ether;
    uint256 internal constant MAX_SKEW = 3600;
    /// @dev about a week: whoever forgets a table leaves it to cleaners by then, whatever its validity
    uint256 internal constant MAX_TABLE_BLOCKS = 50_400;
    uint256 internal constant SETTLE_GAS = 300_000;
    uint256 internal constant RECORD_HEADER = 35;
    uint8 internal constant LANE_TRANSIENT = 0;
    uint8 internal constant LANE_PERSISTENT = 1;

    bytes32 private constant D_INFO = keccak256("unveto/transient-table/1");
    bytes32 private constant D_SESSION = keccak256("unveto/session/1");
    bytes32 private constant D_OPEN = keccak256("unveto/open/1");
    bytes32 private constant D_ACTIVE = keccak256("unveto/active/1");
    bytes32 private constant D_CLAIM = keccak256("unveto/loader/1");

    /// @dev what `_activeSlot` holds while a flow runs in the table, and after one has ended well; 0 before
    bytes32 internal constant RUNNING = bytes32(uint256(1));
    bytes32 internal constant FINISHED = bytes32(uint256(2));

    /// @dev A table as a running flow sees it.
    struct Table {
        bytes32 coreId;
        uint8 lane;
        address executor;
        bool triggersFixed;
        uint64 l2Time;
        uint64[] lockset;
    }

    struct StoredTable {
        address executor;
        uint64 l2Time;
        uint32 remaining;
        address loader;
        uint64 notBefore;
        uint64 validUntil;
        uint64 blockLoaded;
        /// ended by its loader
        bool closed;
        /// loaded again by somebody else, who may count on it: its loader cannot end it early any more
        bool shared;
        uint64[] lockset;
        mapping(bytes32 key => bytes record) records;
    }

    mapping(bytes32 coreId => StoredTable) internal _tables;
    /// @dev open lookup: tables of one CALL to RESULT entry that anybody may use
    mapping(bytes32 openKey => bytes32 coreId) private _offers;
    mapping(address account => uint256) internal _claimable;

    // --- load

    /// @dev Stores the records of a plan under their keys.
    function _storePlan(bytes32 coreId, TableReader.Plan memory p, uint8 lane) internal {
        mapping(bytes32 => bytes) storage records = _tables[coreId].records;
        for (uint256 i = 0; i < p.keys.length; i++) {
            if (lane == LANE_TRANSIENT) Transient.putBytes(p.keys[i], p.records[i]);
            else records[p.keys[i]] = p.records[i];
        }
    }

    /// @dev Times and pre-roots against the chain.
    function _checkLive(CoreCodec.Core memory c) internal view {
        if (block.timestamp < c.notBefore) revert NotYetValid(c.notBefore, block.timestamp);
        if (block.timestamp > c.validUntil) revert TableExpired(c.validUntil, block.timestamp);
        if (c.l2Time > block.timestamp || block.timestamp > uint256(c.l2Time) + MAX_SKEW) {
            revert TimeSkew(c.l2Time, 0, block.timestamp);
        }
        for (uint256 i = 0; i < c.lockset.length; i++) {
            Rollup storage r = _rollup(c.lockset[i]);
            if (c.l2Time < r.lastL2Time) revert TimeSkew(c.l2Time, r.lastL2Time, block.timestamp);
            if (c.preRoots[i] != r.stateRoot) revert StaleTable(c.lockset[i], c.preRoots[i], r.stateRoot);
        }
    }

    /// @dev Removes and returns the record of a key, empty if there is none.
    function _takeRecord(Table memory t, bytes32 key) internal returns (bytes memory record) {
        if (t.lane == LANE_TRANSIENT) return Transient.takeBytes(key);
        StoredTable storage stored = _tables[t.coreId];
        record = stored.records[key];
        if (record.length == 0) return record;
        delete stored.records[key];
        _claimable[stored.loader] += BOND_PER_ENTRY;
        _forget(t.coreId, stored, 1);
    }

    function _forget(bytes32 coreId, StoredTable storage stored, uint256 count) internal {
        uint32 left = stored.remaining - uint32(count);
        if (left == 0) delete _tables[coreId];
        else stored.remaining = left;
    }

    // --- tables by id

    /// @dev Writes the table itself; in the transient lane its members' triggers resolve in it from now on.
    function _announce(bytes32 coreId, CoreCodec.Core memory c, uint256 count, uint8 lane) internal {
        if (lane == LANE_TRANSIENT) {
            bytes memory info = abi.encode(c.executor, c.triggersHash != 0, c.l2Time, c.lockset);
            Transient.putBytes(_infoSlot(coreId), info);
            for (uint256 i = 0; i < c.lockset.length; i++) {
                _setSession(c.lockset[i], coreId);
            }
            return;
        }
        // a fixed list of triggers needs the one call that fires them all
        if (c.triggersHash != 0) revert TriggersFixed(coreId);
        StoredTable storage stored = _tables[coreId];
        stored.executor = c.executor;
        stored.l2Time = c.l2Time;
        stored.remaining = uint32(count);
        stored.loader = msg.sender;
        stored.notBefore = c.notBefore;
        stored.validUntil = c.validUntil;
        stored.blockLoaded = uint64(block.number);
        stored.lockset = c.lockset;
    }

    function _isLive(bytes32 coreId, uint8 lane) internal view returns (bool) {
        return lane == LANE_TRANSIENT ? Transient.get(_infoSlot(coreId)) != 0 : _tables[coreId].blockLoaded != 0;
    }

    /// @dev The live table of an id, the transient lane first. `found` is false for none, also for one outside its validity.
    function _tableOf(bytes32 coreId) internal view returns (bool found, Table memory t) {
        t.coreId = coreId;
        bytes memory info = Transient.getBytes(_infoSlot(coreId));
        if (info.length != 0) {
            t.lane = LANE_TRANSIENT;
            (t.executor, t.triggersFixed, t.l2Time, t.lockset) = abi.decode(info, (address, bool, uint64, uint64[]));
            return (true, t);
        }
        StoredTable storage stored = _tables[coreId];
        if (stored.blockLoaded == 0) return (false, t);
        if (block.timestamp < stored.notBefore || _isOver(stored)) return (false, t);
        t.lane = LANE_PERSISTENT;
        t.executor = stored.executor;
        t.l2Time = stored.l2Time;
        t.lockset = stored.lockset;
        return (true, t);
    }

    /// @dev The table in which a trigger of this rollup resolves: the one loaded last in this transaction (or entered by the
    ///      running flow), else an open one if `open`. 0 for none.
    function _resolve(uint64 rollupId, bytes32 actionHash, bool open) internal view returns (bytes32 coreId) {
        coreId = _session(rollupId);
        if (coreId != 0 || !open) return coreId;
        coreId = _offers[_openKey(rollupId, actionHash)];
        if (_isBehind(_tables[coreId], rollupId)) return 0;
    }

    function _session(uint64 rollupId) internal view returns (bytes32) {
        return Transient.get(keccak256(abi.encode(D_SESSION, rollupId)));
    }

    function _setSession(uint64 rollupId, bytes32 coreId) internal {
        Transient.set(keccak256(abi.encode(D_SESSION, rollupId)), coreId);
    }

    function _infoSlot(bytes32 coreId) private pure returns (bytes32) {
        return keccak256(abi.encode(D_INFO, coreId));
    }

    /// @dev Whether a stored table can never be met again and anybody is paid for removing it.
    function _isExpired(StoredTable storage stored) internal view returns (bool) {
        return block.timestamp > stored.validUntil || block.number > stored.blockLoaded + MAX_TABLE_BLOCKS;
    }

    function _isOver(StoredTable storage stored) internal view returns (bool) {
        return stored.closed || _isExpired(stored);
    }

    /// @dev A load of a core that is stored already leaves it as it is.
    /// @param key of its first entry in the epochs in force
    /// @return whether a trigger at the live root of the first member would meet that entry
    function _join(bytes32 coreId, bytes32 key, CoreCodec.Core memory c) internal returns (bool) {
        StoredTable storage stored = _tables[coreId];
        if (_isOver(stored)) revert TableOver(coreId);
        if (msg.sender != stored.loader && !stored.shared) stored.shared = true;
        return stored.records[key].length != 0 && _rollup(c.lockset[0]).stateRoot == c.preRoots[0];
    }

    // --- tables that their loader runs by calls of its own, in the transaction of the load

    /// @dev Of a load that fired nothing. The last such load counts, so that nobody's earlier copy of it gets in the way.
    function _rememberLoader(bytes32 coreId, address payee, bytes32 agreementHash, bytes32 systemsHash) internal {
        Transient.putBytes(_loaderSlot(coreId), abi.encode(msg.sender, payee, agreementHash, systemsHash));
    }

    /// @dev Reverts unless the caller is that loader.
    function _ownLoad(bytes32 coreId)
        internal
        view
        returns (address payee, bytes32 agreementHash, bytes32 systemsHash)
    {
        bytes memory load = Transient.getBytes(_loaderSlot(coreId));
        address loader;
        if (load.length != 0) {
            (loader, payee, agreementHash, systemsHash) = abi.decode(load, (address, address, bytes32, bytes32));
        }
        if (msg.sender != loader) revert NotLoader(coreId, loader);
    }

    /// @dev In the transient lane.
    function _forgetTransient(bytes32 coreId) internal {
        Transient.set(_infoSlot(coreId), 0);
    }

    function _loaderSlot(bytes32 coreId) private pure returns (bytes32) {
        return keccak256(abi.encode(D_CLAIM, coreId));
    }

    function _activeSlot(bytes32 coreId) internal pure returns (bytes32) {
        return keccak256(abi.encode(D_ACTIVE, coreId));
    }

    // --- open lookup

    /// @dev Whether a rollup's state is younger than what a stored table knows: it may have come back to the table's root.
    function _isBehind(StoredTable storage stored, uint64 rollupId) private view returns (bool) {
        return stored.l2Time < _rollups[rollupId].lastL2Time;
    }

    /// @dev The first offer that can be met stays.
    function _offer(uint64 rollupId, bytes32 actionHash, bytes32 coreId) internal {
        bytes32 key = _openKey(rollupId, actionHash);
        StoredTable storage present = _tables[_offers[key]];
        if (present.blockLoaded == 0 || _isOver(present) || _isBehind(present, rollupId)) _offers[key] = coreId;
    }

    function _openKey(uint64 rollupId, bytes32 actionHash) private view returns (bytes32) {
        Rollup storage r = _rollup(rollupId);
        return keccak256(abi.encode(D_OPEN, rollupId, actionHash, ActionHash.stamp(r.stateRoot, _epoch(r))));
    }
}
