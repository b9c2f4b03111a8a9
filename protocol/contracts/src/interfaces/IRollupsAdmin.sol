// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRollupsTypes} from "./IRollupsTypes.sol";

/// @title What Rollups has its module do: registry, the persistent lane, payouts, views (SPEC §8). Callers call Rollups.
interface IRollupsAdmin is IRollupsTypes {
    /// @notice Registers a rollup. Anybody may; ids count from 1.
    /// @param genesisRoot first root. The contract cannot recompute it: followers must, and must refuse a mismatch (SPEC §3.4)
    /// @param genesis preimage, logged here and nowhere else; at most 65536 bytes
    /// @param owner may schedule configurations; 0 fixes the configuration for good
    /// @param configDelay seconds, fixed for good
    function createRollup(
        Config calldata config,
        address owner,
        uint32 configDelay,
        bytes32 genesisRoot,
        bytes calldata genesis
    ) external returns (uint64 rollupId);

    /// @notice createRollup with a forced queue, for good: only for proof systems that prove forced entries (SPEC §8.5), or the first
    ///         queued transaction stops the rollup.
    /// @param forceBlocks blocks that a queued transaction may wait, at least 1
    function createRollupWithQueue(
        Config calldata config,
        address owner,
        uint32 configDelay,
        bytes32 genesisRoot,
        bytes calldata genesis,
        uint32 forceBlocks
    ) external returns (uint64 rollupId);

    /// @notice Queues a transaction that the rollup must take, in order; `msg.value`, at least forceBounty(), is for whoever proves it.
    /// @param transaction 1 to maxForcedBytes() bytes, not looked at: the rollup's proof shows what it does, or that it does nothing
    /// @return index its place in the rollup's queue, from 0
    function forceL2TX(uint64 rollupId, bytes calldata transaction) external payable returns (uint64 index);

    /// @notice Announces the next configuration; it is in force from now + configDelay without any further transaction, starts a
    ///         new epoch and so ends every table of the old one. Replaces what was announced and is not yet in force.
    function scheduleConfig(uint64 rollupId, Config calldata config) external returns (uint64 effectiveFrom);

    function transferRollupOwnership(uint64 rollupId, address owner) external;

    /// @notice Loads a core in the persistent lane; `msg.value` must be BOND_PER_ENTRY for each entry. The bond comes back as entries
    ///         are consumed or cleaned. A core that is live already is left as it is and the value is credited back; if another account
    ///         loaded it, that one can no longer end it before it expires.
    /// @param proof `header | proofs`, header being the core without its entries
    function loadL2Executions(Execution[] calldata executions, bytes calldata proof)
        external
        payable
        returns (bytes32 coreId);

    /// @notice Ends a table of the caller's: nothing meets it any more. In the lane that holds it, the transient one first; there
    ///         it must come from a load without triggers, and ends when the last of its loaders is done. In the persistent lane not once somebody else has loaded the same core.
    ///         Its entries stay until `cleanup`.
    function closeTable(bytes32 coreId) external;

    /// @notice Pays for a table that the caller loaded, without triggers, in this transaction, and whose flow has finished since, at
    ///         least once: the calls that met it were the caller's own. Paid already: nothing.
    /// @param settlement packed (SPEC §8.2)
    function settleLoaded(bytes32 coreId, bytes calldata settlement) external;

    /// @notice Removes entries of a table that is expired or closed, and for its loader all that are left of one that nobody else has loaded too. A
    ///         stranger gets half of the bonds if it is expired. Expired: after validUntil, or MAX_TABLE_BLOCKS blocks after the load.
    function cleanup(bytes32 coreId, bytes32[] calldata keys) external;

    /// @notice Verifies proofs of a core against the configurations in force at `time` without loading it.
    function checkProofs(bytes calldata core, bytes calldata proofs, uint64 time)
        external
        view
        returns (bytes32 coreId, address payee, bytes32 agreementHash, bytes32 systemsHash);

    function config(uint64 rollupId, uint64 epoch) external view returns (Config memory, uint64 effectiveFrom);

    /// @notice Sends what `claimableOf(account)` shows to that account.
    function claim(address account) external;

    function forcedQueue(uint64 rollupId) external view returns (ForcedQueueView memory);
    /// @notice A queued transaction; zeros once it is taken.
    function forcedAt(uint64 rollupId, uint64 index)
        external
        view
        returns (bytes32 dataHash, uint64 queuedAt, uint256 bounty);

    function rollup(uint64 rollupId) external view returns (RollupView memory);
    function configHash(uint64 rollupId) external view returns (bytes32);
    function table(bytes32 coreId) external view returns (TableView memory);
    /// @notice Whether the rollup's root commits to suspended frames: only ever seen inside a flow.
    function isMid(uint64 rollupId) external view returns (bool);
    /// @return wei that `claim` sends to the account
    function claimableOf(address account) external view returns (uint256);
    function rollupCount() external view returns (uint64);
    /// @return wei for each entry of a persistent table
    function bondPerEntry() external view returns (uint256);
    /// @return seconds that a table's l2Time may lie behind the block that loads it
    function maxSkew() external view returns (uint256);
    /// @return blocks after which a persistent table is expired, whatever its validity
    function maxTableBlocks() external view returns (uint256);
    /// @return least wei with a forced transaction
    function forceBounty() external view returns (uint256);
    /// @return most bytes of a forced transaction
    function maxForcedBytes() external view returns (uint256);
    /// @return blocks after a forced transaction was taken before the next is overdue
    function forcedGap() external view returns (uint256);
}
