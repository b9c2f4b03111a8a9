// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {CoreCodec} from "./CoreCodec.sol";
import {ForcedQueue} from "./ForcedQueue.sol";
import {TableReader} from "./TableReader.sol";

/// @title What a load is in either lane (SPEC §8).
abstract contract TableLoader is ForcedQueue {
    /// @dev A core that is being loaded.
    struct Load {
        bytes data;
        bytes32 coreId;
        uint8 lane;
        /// live in this lane already
        bool known;
        TableReader.Plan plan;
        TableReader.Proven proven;
    }

    function _open(bytes memory data, uint8 lane) internal view returns (Load memory l) {
        CoreCodec.checkHeader(data);
        l.data = data;
        l.lane = lane;
        l.coreId = ActionHash.coreId(data);
        l.known = _isLive(l.coreId, lane);
    }

    /// @dev Rules and proofs.
    function _read(Load memory l, bytes calldata proofs, TableReader reader_, address market_) internal view {
        bytes memory configs = _configsAt(l.data, uint64(block.timestamp));
        (l.plan, l.proven) = reader_.read(l.data, l.coreId, configs, proofs, market_);
    }

    /// @dev Writes entries and table, and tells who follows.
    function _store(Load memory l) internal {
        _storeEntries(l.data, l.coreId, l.plan, l.lane);
        if (l.plan.takesForced) _rememberPayee(l.coreId, l.lane, l.proven.payee);
        _announce(l.coreId, l.data, l.plan.places, l.lane);
        if (!l.known) emit TableLoaded(l.coreId, l.lane, l.data, l.proven.payee, l.proven.agreementHash);
    }

    /// @dev The members' configurations in force at `time`, as the reader takes them.
    function _configsAt(bytes memory core, uint64 time) internal view returns (bytes memory packed) {
        uint256 n = CoreCodec.memberCount(core);
        for (uint256 i = 0; i < n; i++) {
            uint64 rollupId = CoreCodec.memberId(core, i);
            uint64 epoch = _epochAt(rollupId, time);
            StoredConfig storage stored = _configs[rollupId][epoch];
            uint8 count = stored.count;
            packed = abi.encodePacked(
                packed, rollupId, epoch, stored.threshold, count, stored.system, stored.family
            );
            for (uint256 k = 1; k < count; k++) {
                (address system, bytes32 family) = _systemOf(stored, k);
                packed = abi.encodePacked(packed, system, family);
            }
        }
    }
}
