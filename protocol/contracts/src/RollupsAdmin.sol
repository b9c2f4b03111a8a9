// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CoreCodec} from "./CoreCodec.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {IRollupsAdmin} from "./interfaces/IRollupsAdmin.sol";
import {IRollupsExecution} from "./interfaces/IRollupsExecution.sol";
import {ActionHash} from "./ActionHash.sol";
import {ReturnData} from "./ReturnData.sol";
import {TableLoader} from "./TableLoader.sol";
import {TableReader} from "./TableReader.sol";
import {Transient} from "./Transient.sol";

/// @title The part of Rollups that no flow runs through: registry, the persistent lane, payouts, views (SPEC §8).
/// @notice Rollups runs this code on its own storage (DELEGATECALL) for every function that it does not have itself; the two are
///         separate only because of EIP-170. There is neither an administrator nor a way to replace it. It has no immutables, so
///         its code is the same wherever it is deployed.
contract RollupsAdmin is TableLoader, IRollupsAdmin {
    uint256 private constant MAX_SYSTEMS = 8;
    uint256 private constant MAX_GENESIS_BYTES = 65536;

    // --- registry

    /// @inheritdoc IRollupsAdmin
    function createRollup(
        Config calldata newConfig,
        address owner,
        uint32 configDelay,
        bytes32 genesisRoot,
        bytes calldata genesis
    ) external override returns (uint64 rollupId) {
        return _createRollup(newConfig, owner, configDelay, genesisRoot, genesis);
    }

    /// @inheritdoc IRollupsAdmin
    function createRollupWithQueue(
        Config calldata newConfig,
        address owner,
        uint32 configDelay,
        bytes32 genesisRoot,
        bytes calldata genesis,
        uint32 forceBlocks
    ) external override returns (uint64 rollupId) {
        if (forceBlocks == 0) revert NoForcedQueue(_rollupCount + 1);
        rollupId = _createRollup(newConfig, owner, configDelay, genesisRoot, genesis);
        _rollups[rollupId].forceBlocks = forceBlocks;
        emit ForcedQueueOpened(rollupId, forceBlocks);
    }

    function _createRollup(
        Config calldata newConfig,
        address owner,
        uint32 configDelay,
        bytes32 genesisRoot,
        bytes calldata genesis
    ) private returns (uint64 rollupId) {
        if (genesis.length > MAX_GENESIS_BYTES) revert GenesisTooLong(genesis.length);
        if (uint256(genesisRoot) >= CoreCodec.FIELD) revert GenesisRootNotFieldElement(genesisRoot);
        _requireRollups();
        rollupId = ++_rollupCount;
        Rollup storage r = _rollups[rollupId];
        r.stateRoot = genesisRoot;
        r.epoch = 1;
        r.owner = owner;
        r.configDelay = configDelay;
        _storeConfig(rollupId, 1, newConfig, uint64(block.timestamp));
        emit RollupCreated(
            rollupId,
            genesisRoot,
            genesis,
            owner,
            configDelay,
            newConfig.systems,
            newConfig.families,
            newConfig.threshold
        );
    }

    /// @inheritdoc IRollupsAdmin
    function scheduleConfig(uint64 rollupId, Config calldata newConfig)
        external
        override
        returns (uint64 effectiveFrom)
    {
        // a running flow is the only thing that a switch must wait for; without a delay it would be immediate
        _requireIdle();
        Rollup storage r = _ownedBySender(rollupId);
        uint64 current = _epoch(r);
        effectiveFrom = uint64(block.timestamp) + r.configDelay;
        r.epoch = uint32(current);
        r.pendingFrom = uint40(effectiveFrom);
        _storeConfig(rollupId, current + 1, newConfig, effectiveFrom);
        emit ConfigScheduled(
            rollupId, current + 1, effectiveFrom, newConfig.systems, newConfig.families, newConfig.threshold
        );
    }

    /// @inheritdoc IRollupsAdmin
    function transferRollupOwnership(uint64 rollupId, address owner) external override {
        _ownedBySender(rollupId).owner = owner;
        emit OwnershipTransferred(rollupId, owner);
    }

    function _ownedBySender(uint64 rollupId) private view returns (Rollup storage r) {
        r = _rollup(rollupId);
        if (msg.sender != r.owner) revert NotOwner(rollupId, msg.sender);
    }

    /// @dev BadConfig: 1 counts, 2 threshold, 3 order, 4 no code
    function _storeConfig(uint64 rollupId, uint64 epoch, Config calldata newConfig, uint64 effectiveFrom) private {
        uint256 count = newConfig.systems.length;
        if (count == 0 || count > MAX_SYSTEMS || newConfig.families.length != count) revert BadConfig(1);
        if (newConfig.threshold == 0 || newConfig.threshold > count) revert BadConfig(2);
        StoredConfig storage stored = _configs[rollupId][epoch];
        delete stored.further;
        stored.effectiveFrom = effectiveFrom;
        stored.threshold = newConfig.threshold;
        stored.count = uint8(count);
        stored.system = newConfig.systems[0];
        stored.family = newConfig.families[0];
        for (uint256 i = 0; i < count; i++) {
            if (i != 0 && newConfig.systems[i] <= newConfig.systems[i - 1]) revert BadConfig(3);
            if (newConfig.systems[i].code.length == 0) revert BadConfig(4);
            if (i != 0) stored.further.push(SystemFamily(newConfig.systems[i], newConfig.families[i]));
        }
    }

    /// @dev Called directly, this contract would begin a registry of its own, in which nothing could be loaded. Rollups has a
    ///      function that this contract lacks. All else here needs a rollup, a table or a credit, and there are none.
    function _requireRollups() private view {
        (bool ok,) = address(this).staticcall(abi.encodeCall(IRollupsExecution.module, ()));
        if (!ok) revert NotDelegated();
    }

    // --- forced transactions

    /// @inheritdoc IRollupsAdmin
    function forceL2TX(uint64 rollupId, bytes calldata transaction) external payable override returns (uint64 index) {
        return _queue(rollupId, transaction);
    }

    /// @inheritdoc IRollupsAdmin
    function forcedQueue(uint64 rollupId) external view override returns (ForcedQueueView memory) {
        Rollup storage r = _rollup(rollupId);
        return ForcedQueueView(r.forceBlocks, r.forcedHead, r.forcedTail, r.forcedDue);
    }

    /// @inheritdoc IRollupsAdmin
    function forcedAt(uint64 rollupId, uint64 index)
        external
        view
        override
        returns (bytes32 dataHash, uint64 queuedAt, uint256 bounty)
    {
        Forced storage f = _forced[rollupId][index];
        return (f.dataHash, f.queuedAt, f.bounty);
    }

    // --- the persistent lane

    /// @inheritdoc IRollupsAdmin
    function loadL2Executions(Execution[] calldata executions, bytes calldata proof)
        external
        payable
        override
        returns (bytes32)
    {
        _requireIdle();
        (TableReader reader, address market) = _parts();
        (bool ok, bytes memory packed) = address(reader).staticcall(msg.data);
        if (!ok) ReturnData.bubble(packed);
        bytes memory data = abi.decode(packed, (bytes));
        uint256 bond = BOND_PER_ENTRY * executions.length;
        if (msg.value != bond) revert WrongValue(bond, msg.value);
        Load memory l = _open(data, LANE_PERSISTENT);
        if (l.known) {
            l.plan = reader.plan(data, l.coreId, _configsAt(data, uint64(block.timestamp)), market);
        } else {
            _checkLive(data);
            // the reader has found the header inside `proof`
            _read(l, proof[CoreCodec.HEADER_BYTES + CoreCodec.MEMBER_BYTES * CoreCodec.memberCount(data):], reader, market);
        }
        bool atLiveRoot = true;
        if (l.known) {
            _claimable[msg.sender] += bond;
            atLiveRoot = _join(l.coreId, l.plan.keys[0], data);
        } else {
            _store(l);
        }
        if (atLiveRoot && l.plan.openAction != 0) {
            _offer(CoreCodec.memberId(data, 0), l.plan.openAction, l.coreId, CoreCodec.l2Time(data));
        }
        return l.coreId;
    }

    /// @dev Rollups knows them; this contract has no immutables.
    function _parts() private view returns (TableReader reader, address market) {
        IRollupsExecution rollups = IRollupsExecution(address(this));
        return (TableReader(rollups.reader()), rollups.market());
    }

    // --- removal

    /// @inheritdoc IRollupsAdmin
    function cleanup(bytes32 coreId, bytes32[] calldata keys) external override {
        _requireIdle();
        StoredTable storage stored = _tables[coreId];
        address loader = stored.loader;
        if (stored.blockLoaded == 0) revert NoSuchTable(coreId);
        bool expired = _isExpired(stored);
        // a live one only as a whole: with a hole it would pass for a loaded one
        bool mayEnd = msg.sender == loader && !stored.shared && keys.length == stored.remaining;
        if (!expired && !stored.closed && !mayEnd) revert NotCleanable(coreId);
        for (uint256 i = 0; i < keys.length; i++) {
            if (stored.records[keys[i]].length == 0) revert WrongKey(keys[i]);
            delete stored.records[keys[i]];
        }
        uint256 bond = keys.length * BOND_PER_ENTRY;
        // a table that its loader closed is the loader's to clean; others may, so that it blocks nobody's load of the same core
        uint256 bounty = expired && msg.sender != loader ? bond / 2 : 0;
        _claimable[msg.sender] += bounty;
        _claimable[loader] += bond - bounty;
        _forget(coreId, stored, keys.length);
        emit TableCleaned(coreId, keys.length, msg.sender, bounty);
    }

    /// @inheritdoc IRollupsAdmin
    function closeTable(bytes32 coreId) external override {
        _requireIdle();
        if (_isLive(coreId, LANE_TRANSIENT)) {
            _ownLoad(coreId);
            if (!_dropLoader(coreId)) return;
            (, Table memory t) = _tableOf(coreId);
            for (uint256 i = 0; i < t.lockset.length; i++) {
                if (_session(t.lockset[i]) == coreId) _setSession(t.lockset[i], 0);
            }
            _forgetTransient(coreId);
            emit TableClosed(coreId, LANE_TRANSIENT);
            return;
        }
        StoredTable storage stored = _tables[coreId];
        if (stored.blockLoaded == 0) revert NoSuchTable(coreId);
        if (msg.sender != stored.loader) revert NotLoader(coreId, stored.loader);
        if (_isOver(stored)) revert TableOver(coreId);
        if (stored.shared) revert NotCleanable(coreId);
        stored.closed = true;
        emit TableClosed(coreId, LANE_PERSISTENT);
    }

    // --- payment and payouts

    /// @inheritdoc IRollupsAdmin
    function settleLoaded(bytes32 coreId, bytes calldata settlement) external override {
        _requireIdle();
        TableReader.Proven memory p = _ownLoad(coreId);
        if (p.agreementHash == 0 || settlement.length == 0) {
            revert SettlementMismatch(p.agreementHash, settlement.length);
        }
        if (Transient.get(_activeSlot(coreId)) != FINISHED) revert NotRun(coreId);
        IProofMarket market = IProofMarket(IRollupsExecution(address(this)).market());
        market.settle{gas: SETTLE_GAS}(coreId, p.agreementHash, p.payee, p.systemsHash, settlement);
    }

    /// @inheritdoc IRollupsAdmin
    function claim(address account) external override {
        uint256 amount = _claimable[account];
        if (amount == 0) revert NothingToClaim(account);
        _claimable[account] = 0;
        (bool ok,) = account.call{value: amount}("");
        if (!ok) revert PaymentFailed(account);
    }

    // --- views

    /// @inheritdoc IRollupsAdmin
    function checkProofs(bytes calldata core, bytes calldata proofs, uint64 time)
        external
        view
        override
        returns (bytes32 coreId, address payee, bytes32 agreementHash, bytes32 systemsHash)
    {
        bytes memory data = core;
        CoreCodec.checkHeader(data);
        coreId = ActionHash.coreId(data);
        (TableReader reader,) = _parts();
        TableReader.Proven memory p = reader.check(data, coreId, _configsAt(data, time), proofs);
        return (coreId, p.payee, p.agreementHash, p.systemsHash);
    }

    /// @inheritdoc IRollupsAdmin
    function config(uint64 rollupId, uint64 epoch) external view override returns (Config memory, uint64) {
        return _config(rollupId, epoch);
    }

    /// @inheritdoc IRollupsAdmin
    function rollup(uint64 rollupId) external view override returns (RollupView memory) {
        Rollup storage r = _rollup(rollupId);
        uint64 epoch = _epoch(r);
        return RollupView({
            stateRoot: r.stateRoot,
            etherBalance: r.etherBalance,
            lastL2Time: r.lastL2Time,
            epoch: epoch,
            owner: r.owner,
            configDelay: r.configDelay,
            pendingFrom: epoch == r.epoch ? r.pendingFrom : 0
        });
    }

    /// @inheritdoc IRollupsAdmin
    function claimableOf(address account) external view override returns (uint256) {
        return _claimable[account];
    }

    /// @inheritdoc IRollupsAdmin
    function table(bytes32 coreId) external view override returns (TableView memory) {
        StoredTable storage stored = _tables[coreId];
        return TableView(stored.blockLoaded, stored.validUntil, stored.remaining, stored.loader, stored.closed);
    }

    /// @inheritdoc IRollupsAdmin
    function configHash(uint64 rollupId) external view override returns (bytes32) {
        return _configHash(rollupId, _epoch(_rollup(rollupId)));
    }

    /// @inheritdoc IRollupsAdmin
    function isMid(uint64 rollupId) external view override returns (bool) {
        return _isMid(rollupId);
    }

    /// @inheritdoc IRollupsAdmin
    function rollupCount() external view override returns (uint64) {
        return _rollupCount;
    }

    /// @inheritdoc IRollupsAdmin
    function bondPerEntry() external pure override returns (uint256) {
        return BOND_PER_ENTRY;
    }

    /// @inheritdoc IRollupsAdmin
    function maxSkew() external pure override returns (uint256) {
        return MAX_SKEW;
    }

    /// @inheritdoc IRollupsAdmin
    function maxTableBlocks() external pure override returns (uint256) {
        return MAX_TABLE_BLOCKS;
    }

    /// @inheritdoc IRollupsAdmin
    function forceBounty() external pure override returns (uint256) {
        return FORCE_BOUNTY;
    }

    /// @inheritdoc IRollupsAdmin
    function maxForcedBytes() external pure override returns (uint256) {
        return MAX_FORCED_BYTES;
    }

    /// @inheritdoc IRollupsAdmin
    function forcedGap() external pure override returns (uint256) {
        return FORCED_GAP;
    }
}
