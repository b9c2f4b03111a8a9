// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {CrossChainProxy} from "./CrossChainProxy.sol";
import {IProxyDeployer, IRollups} from "./interfaces/IRollups.sol";

/// @title Rollups, their configurations, epochs, ether and proxies.
abstract contract RollupRegistry is IRollups, IProxyDeployer {
    uint256 internal constant MAX_SYSTEMS = 8;
    uint256 internal constant MAX_GENESIS_BYTES = 65536;
    bytes32 private immutable PROXY_CODE_HASH = keccak256(type(CrossChainProxy).creationCode);

    struct Rollup {
        bytes32 stateRoot;
        /// all the ether there is has 87 bits
        uint96 etherBalance;
        uint64 lastL2Time;
        /// the last epoch that was written down; `_epoch` adds one once `pendingFrom` is due. 0 means no such rollup
        uint32 epoch;
        uint64 pendingFrom;
        address owner;
        uint32 configDelay;
    }

    struct SystemFamily {
        address system;
        bytes32 family;
    }

    struct StoredConfig {
        uint64 effectiveFrom;
        uint8 threshold;
        SystemFamily[] systems;
    }

    /// @inheritdoc IRollups
    uint64 public override rollupCount;
    mapping(uint64 rollupId => Rollup) internal _rollups;
    mapping(uint64 rollupId => mapping(uint64 epoch => StoredConfig)) private _configs;

    /// @dev set only while a proxy is constructed
    address private transient _newProxyOriginal;
    uint64 private transient _newProxyRollup;

    // --- registry

    /// @inheritdoc IRollups
    function createRollup(
        Config calldata newConfig,
        address owner,
        uint32 configDelay,
        bytes32 genesisRoot,
        bytes calldata genesis
    ) external override returns (uint64 rollupId) {
        if (genesis.length > MAX_GENESIS_BYTES) revert GenesisTooLong(genesis.length);
        if (uint256(genesisRoot) >= CoreCodec.FIELD) revert GenesisRootNotFieldElement(genesisRoot);
        rollupId = ++rollupCount;
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

    /// @inheritdoc IRollups
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
        r.pendingFrom = effectiveFrom;
        _storeConfig(rollupId, current + 1, newConfig, effectiveFrom);
        emit ConfigScheduled(
            rollupId, current + 1, effectiveFrom, newConfig.systems, newConfig.families, newConfig.threshold
        );
    }

    /// @inheritdoc IRollups
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
        delete stored.systems;
        stored.effectiveFrom = effectiveFrom;
        stored.threshold = newConfig.threshold;
        for (uint256 i = 0; i < count; i++) {
            if (i != 0 && newConfig.systems[i] <= newConfig.systems[i - 1]) revert BadConfig(3);
            if (newConfig.systems[i].code.length == 0) revert BadConfig(4);
            stored.systems.push(SystemFamily(newConfig.systems[i], newConfig.families[i]));
        }
    }

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
        (Config memory c,) = config(rollupId, epoch);
        return keccak256(
            abi.encode(
                c.threshold, keccak256(abi.encodePacked(c.systems)), keccak256(abi.encodePacked(c.families))
            )
        );
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

    // --- proxies

    /// @inheritdoc IRollups
    function getOrCreateProxy(address original, uint64 rollupId) public override returns (address proxy) {
        proxy = computeProxyAddress(original, rollupId);
        if (proxy.code.length != 0) return proxy;
        _rollup(rollupId);
        _newProxyOriginal = original;
        _newProxyRollup = rollupId;
        new CrossChainProxy{salt: _proxySalt(original, rollupId)}();
        _newProxyOriginal = address(0);
        _newProxyRollup = 0;
        emit ProxyCreated(rollupId, original, proxy);
    }

    /// @inheritdoc IProxyDeployer
    function proxyParameters() external view override returns (address original, uint64 rollupId) {
        return (_newProxyOriginal, _newProxyRollup);
    }

    /// @inheritdoc IRollups
    function computeProxyAddress(address original, uint64 rollupId) public view override returns (address) {
        bytes32 salt = _proxySalt(original, rollupId);
        return address(
            uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, PROXY_CODE_HASH))))
        );
    }

    function _proxySalt(address original, uint64 rollupId) private pure returns (bytes32) {
        return bytes32((uint256(rollupId) << 160) | uint160(original));
    }

    // --- views

    /// @inheritdoc IRollups
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

    /// @inheritdoc IRollups
    function config(uint64 rollupId, uint64 epoch)
        public
        view
        override
        returns (Config memory c, uint64 effectiveFrom)
    {
        StoredConfig storage stored = _configs[rollupId][epoch];
        uint256 count = stored.systems.length;
        c.systems = new address[](count);
        c.families = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            c.systems[i] = stored.systems[i].system;
            c.families[i] = stored.systems[i].family;
        }
        c.threshold = stored.threshold;
        effectiveFrom = stored.effectiveFrom;
    }

    /// @inheritdoc IRollups
    function configHash(uint64 rollupId) external view override returns (bytes32) {
        return _configHash(rollupId, _epoch(_rollup(rollupId)));
    }

    /// @dev Reverts with InFlow while a flow runs.
    function _requireIdle() internal view virtual;
}
