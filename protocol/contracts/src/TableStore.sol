// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {PackedAction} from "./PackedAction.sol";
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
    bytes32 private constant D_LOADER = keccak256("unveto/loader/1");
    bytes32 private constant D_LOADERS = keccak256("unveto/loaders/1");

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
        /// one entry that leaves its root as it is: l2Time does not matter to it
        bool onlyReads;
        uint64[] lockset;
        mapping(bytes32 key => bytes record) records;
    }

    mapping(bytes32 coreId => StoredTable) internal _tables;
    /// @dev open lookup: tables of one CALL to RESULT entry that anybody may use
    mapping(bytes32 openKey => bytes32 coreId) private _offers;
    mapping(address account => uint256) internal _claimable;

    // --- load

    /// @dev Stores what consuming each entry needs, its *record*, under the entry's key:
    ///      `index u16 | mid u8 | newRoot b32 | next action`.
    function _storeEntries(bytes memory core, bytes32 coreId, TableReader.Plan memory p, uint8 lane) internal {
        mapping(bytes32 => bytes) storage records = _tables[coreId].records;
        for (uint256 i = 0; i < p.keys.length; i++) {
            uint256 place = p.places[i];
            uint256 next = CoreCodec.nextAt(place);
            uint256 length = CoreCodec.endAt(place) - next;
            uint256 head = i << 8 | CoreCodec.mid(core, place);
            bytes32 newRoot = CoreCodec.newRoot(core, place);
            if (lane == LANE_TRANSIENT) Transient.putRecord(p.keys[i], head, newRoot, core, next, length);
            else records[p.keys[i]] = abi.encodePacked(uint24(head), newRoot, PackedAction.slice(core, next, length));
        }
    }

    /// @dev Times and pre-roots against the chain.
    function _checkLive(bytes memory core) internal view {
        (uint64 notBefore, uint64 validUntil) = (CoreCodec.notBefore(core), CoreCodec.validUntil(core));
        if (block.timestamp < notBefore) revert NotYetValid(notBefore, block.timestamp);
        if (block.timestamp > validUntil) revert TableExpired(validUntil, block.timestamp);
        uint64 l2Time = CoreCodec.l2Time(core);
        if (l2Time > block.timestamp || block.timestamp > uint256(l2Time) + MAX_SKEW) {
            revert TimeSkew(l2Time, 0, block.timestamp);
        }
        uint256 n = CoreCodec.memberCount(core);
        for (uint256 i = 0; i < n; i++) {
            uint64 id = CoreCodec.memberId(core, i);
            Rollup storage r = _rollup(id);
            if (l2Time < r.lastL2Time) revert TimeSkew(l2Time, r.lastL2Time, block.timestamp);
            bytes32 preRoot = CoreCodec.preRoot(core, i);
            if (preRoot != r.stateRoot) revert StaleTable(id, preRoot, r.stateRoot);
        }
    }

    /// @dev Whether all pre-roots are live.
    function _standsOnLiveRoots(bytes memory core) internal view returns (bool) {
        uint256 n = CoreCodec.memberCount(core);
        for (uint256 i = 0; i < n; i++) {
            if (_rollups[CoreCodec.memberId(core, i)].stateRoot != CoreCodec.preRoot(core, i)) return false;
        }
        return true;
    }

    /// @dev Removes and returns the record of a key, empty if there is none.
    function _takeRecord(Table memory t, bytes32 key) internal returns (bytes memory record) {
        if (t.lane == LANE_TRANSIENT) return Transient.takeRecord(key);
        StoredTable storage stored = _tables[t.coreId];
        record = stored.records[key];
        if (record.length == 0) return record;
        delete stored.records[key];
        _claimable[stored.loader] += BOND_PER_ENTRY;
        _forget(t.coreId, stored, 1);
    }

    function _hasRecord(Table memory t, bytes32 key) internal view returns (bool) {
        return t.lane == LANE_TRANSIENT ? Transient.get(key) != 0 : _tables[t.coreId].records[key].length != 0;
    }

    function _forget(bytes32 coreId, StoredTable storage stored, uint256 count) internal {
        uint32 left = stored.remaining - uint32(count);
        if (left == 0) delete _tables[coreId];
        else stored.remaining = left;
    }

    // --- tables by id

    /// @dev Writes the table itself; in the transient lane its members' triggers resolve in it from now on.
    function _announce(bytes32 coreId, bytes memory core, uint256[] memory places, uint8 lane) internal {
        bool isFixed = CoreCodec.triggersHash(core) != 0;
        if (lane == LANE_TRANSIENT) {
            uint256 n = CoreCodec.memberCount(core);
            uint256 info = uint256(uint160(CoreCodec.executor(core))) << 96 | uint256(CoreCodec.l2Time(core)) << 32
                | n << 1 | (isFixed ? 1 : 0);
            bytes32 slot = _infoSlot(coreId);
            Transient.set(slot, bytes32(info));
            for (uint256 i = 0; i < n; i++) {
                uint64 id = CoreCodec.memberId(core, i);
                Transient.set(bytes32(uint256(slot) + 1 + i), bytes32(uint256(id)));
                _setSession(id, coreId);
            }
            return;
        }
        // a fixed list of triggers needs the one call that fires them all
        if (isFixed) revert TriggersFixed(coreId);
        StoredTable storage stored = _tables[coreId];
        stored.executor = CoreCodec.executor(core);
        stored.l2Time = CoreCodec.l2Time(core);
        stored.remaining = uint32(places.length);
        stored.loader = msg.sender;
        stored.notBefore = CoreCodec.notBefore(core);
        stored.validUntil = CoreCodec.validUntil(core);
        stored.blockLoaded = uint64(block.number);
        stored.onlyReads = places.length == 1
            && CoreCodec.newRoot(core, places[0]) == CoreCodec.preRoot(core, CoreCodec.owner(places[0]));
        stored.lockset = CoreCodec.lockset(core);
    }

    function _isLive(bytes32 coreId, uint8 lane) internal view returns (bool) {
        return lane == LANE_TRANSIENT ? Transient.get(_infoSlot(coreId)) != 0 : _tables[coreId].blockLoaded != 0;
    }

    /// @dev The live table of an id, the transient lane first. `found` is false for none, also for one outside its validity.
    function _tableOf(bytes32 coreId) internal view returns (bool found, Table memory t) {
        t.coreId = coreId;
        bytes32 slot = _infoSlot(coreId);
        uint256 info = uint256(Transient.get(slot));
        if (info != 0) {
            // as _announce packs it; at least one member makes it other than 0
            t.lane = LANE_TRANSIENT;
            t.executor = address(uint160(info >> 96));
            t.l2Time = uint64(info >> 32);
            t.triggersFixed = info & 1 != 0;
            t.lockset = new uint64[](uint32(info) >> 1);
            for (uint256 i = 0; i < t.lockset.length; i++) {
                t.lockset[i] = uint64(uint256(Transient.get(bytes32(uint256(slot) + 1 + i))));
            }
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

    /// @dev The key of an action at the live roots, and the epoch of the rollup that would own the entry.
    function _keyOf(Table memory t, bytes32 actionHash, uint64 rollupId)
        internal
        view
        returns (bytes32 key, uint64 epoch)
    {
        bytes32[] memory stamps = new bytes32[](t.lockset.length);
        for (uint256 i = 0; i < stamps.length; i++) {
            Rollup storage member = _rollups[t.lockset[i]];
            uint64 memberEpoch = _epoch(member);
            if (t.lockset[i] == rollupId) epoch = memberEpoch;
            stamps[i] = ActionHash.stamp(member.stateRoot, memberEpoch);
        }
        key = ActionHash.key(t.coreId, actionHash, ActionHash.list(stamps));
    }

    /// @dev The table in which a trigger of this rollup resolves: the one loaded last in this transaction (or entered by the
    ///      running flow), else an open one if `open`. 0 for none. One that does not run, and has no such entry, hides no open one.
    function _resolve(uint64 rollupId, bytes32 actionHash, bool open) internal view returns (bytes32 coreId) {
        coreId = _session(rollupId);
        if (!open) return coreId;
        if (coreId != 0) {
            if (Transient.get(_activeSlot(coreId)) == RUNNING) return coreId;
            (bool found, Table memory t) = _tableOf(coreId);
            (bytes32 key,) = _keyOf(t, actionHash, rollupId);
            // one whose triggers are fixed is entered by the load that fires them, and by nobody else
            if (found && !t.triggersFixed && _hasRecord(t, key)) return coreId;
        }
        bytes32 offered = _offers[_openKey(rollupId, actionHash)];
        return offered == 0 || _isBehind(_tables[offered], rollupId) ? coreId : offered;
    }

    function _session(uint64 rollupId) internal view returns (bytes32) {
        return Transient.get(_sessionSlot(rollupId));
    }

    function _setSession(uint64 rollupId, bytes32 coreId) internal {
        Transient.set(_sessionSlot(rollupId), coreId);
    }

    function _sessionSlot(uint64 rollupId) private pure returns (bytes32) {
        return ActionHash.pair(D_SESSION, bytes32(uint256(rollupId)));
    }

    function _infoSlot(bytes32 coreId) private pure returns (bytes32) {
        return ActionHash.pair(D_INFO, coreId);
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
    function _join(bytes32 coreId, bytes32 key, bytes memory core) internal returns (bool) {
        StoredTable storage stored = _tables[coreId];
        if (_isOver(stored)) revert TableOver(coreId);
        if (msg.sender != stored.loader && !stored.shared) stored.shared = true;
        return stored.records[key].length != 0
            && _rollup(CoreCodec.memberId(core, 0)).stateRoot == CoreCodec.preRoot(core, 0);
    }

    // --- tables that their loader runs by calls of its own, in the transaction of the load

    /// @dev Of a load that fired nothing. Each account's load is its own, so that nobody's copy of it gets in the way.
    function _rememberLoader(bytes32 coreId, TableReader.Proven memory p) internal {
        bytes32 slot = _loaderSlot(coreId, msg.sender);
        bytes32 count = ActionHash.pair(D_LOADERS, coreId);
        if (Transient.get(slot) == 0) Transient.set(count, bytes32(uint256(Transient.get(count)) + 1));
        Transient.set(slot, bytes32(uint256(1)));
        Transient.set(bytes32(uint256(slot) + 1), bytes32(uint256(uint160(p.payee))));
        Transient.set(bytes32(uint256(slot) + 2), p.agreementHash);
        Transient.set(bytes32(uint256(slot) + 3), p.systemsHash);
    }

    /// @dev Reverts unless the caller is such a loader.
    function _ownLoad(bytes32 coreId) internal view returns (TableReader.Proven memory p) {
        bytes32 slot = _loaderSlot(coreId, msg.sender);
        if (Transient.get(slot) == 0) revert NotLoader(coreId, msg.sender);
        p.payee = address(uint160(uint256(Transient.get(bytes32(uint256(slot) + 1)))));
        p.agreementHash = Transient.get(bytes32(uint256(slot) + 2));
        p.systemsHash = Transient.get(bytes32(uint256(slot) + 3));
    }

    /// @dev The caller is done with its load.
    /// @return whether nobody else's load of the core is left
    function _dropLoader(bytes32 coreId) internal returns (bool) {
        Transient.set(_loaderSlot(coreId, msg.sender), 0);
        bytes32 count = ActionHash.pair(D_LOADERS, coreId);
        uint256 left = uint256(Transient.get(count)) - 1;
        Transient.set(count, bytes32(left));
        return left == 0;
    }

    /// @dev In the transient lane.
    function _forgetTransient(bytes32 coreId) internal {
        Transient.set(_infoSlot(coreId), 0);
    }

    function _loaderSlot(bytes32 coreId, address loader) private pure returns (bytes32) {
        return ActionHash.pair(ActionHash.pair(D_LOADER, coreId), bytes32(uint256(uint160(loader))));
    }

    function _activeSlot(bytes32 coreId) internal pure returns (bytes32) {
        return ActionHash.pair(D_ACTIVE, coreId);
    }

    // --- open lookup

    /// @dev Whether a rollup's state is younger than what a stored table knows: it may have come back to the table's root.
    function _isBehind(StoredTable storage stored, uint64 rollupId) private view returns (bool) {
        return stored.l2Time < _rollups[rollupId].lastL2Time && !stored.onlyReads;
    }

    /// @dev The youngest live offer is the one that is found, of two of one age the first.
    function _offer(uint64 rollupId, bytes32 actionHash, bytes32 coreId, uint64 l2Time) internal {
        bytes32 key = _openKey(rollupId, actionHash);
        StoredTable storage present = _tables[_offers[key]];
        if (present.blockLoaded == 0 || _isOver(present) || present.l2Time < l2Time) _offers[key] = coreId;
    }

    function _openKey(uint64 rollupId, bytes32 actionHash) private view returns (bytes32) {
        Rollup storage r = _rollup(rollupId);
        return keccak256(abi.encode(D_OPEN, rollupId, actionHash, ActionHash.stamp(r.stateRoot, _epoch(r))));
    }
}
