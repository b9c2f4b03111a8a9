// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Structs, events and errors of Rollups and its module (SPEC §5, §8). Rollup 0 is L1.
interface IRollupsTypes {
    /// @notice Proof systems of a rollup: a table needs valid proofs of at least `threshold` of them.
    struct Config {
        /// strictly ascending, 1..8, each a contract
        address[] systems;
        /// the verifying-key family for the system at the same place
        bytes32[] families;
        /// 1..systems.length
        uint8 threshold;
    }

    /// @notice SPEC §5.1. `kind`: 0 CALL, 1 TRY_CALL, 2 RESULT, 3 L2TX, 4 REVERT, 5 REVERT_CONTINUE.
    struct Action {
        uint8 kind;
        uint64 rollupId;
        address destination;
        uint128 value;
        uint64 gasLimit;
        bool failed;
        bool opaque;
        uint64 sourceRollup;
        address sourceAddress;
        uint32[] scope;
        bytes data;
    }

    /// @notice SPEC §5.2; 0xffff means no index.
    struct Execution {
        uint16 parent;
        uint16 replyTo;
        uint16 revertOf;
        bool mid;
        bytes32 newRoot;
        Action trigger;
        Action nextAction;
    }

    struct RollupView {
        bytes32 stateRoot;
        /// wei that the rollup's calls may spend on L1
        uint256 etherBalance;
        /// unix seconds of the last table that moved the root
        uint64 lastL2Time;
        /// counts configurations, from 1
        uint64 epoch;
        address owner;
        /// seconds between an announced configuration and its switch
        uint32 configDelay;
        /// unix seconds at which epoch + 1 begins, 0 if nothing is announced
        uint64 pendingFrom;
    }

    struct TableView {
        /// 0 if no such table is live in the persistent lane
        uint64 blockLoaded;
        uint64 validUntil;
        uint32 remaining;
        address loader;
        /// ended by its loader; its entries wait for cleanup
        bool closed;
    }

    struct ForcedQueueView {
        /// blocks that a queued transaction may wait; 0: the rollup has no queue
        uint32 forceBlocks;
        /// place of the first that is queued, and of the next that will be
        uint64 head;
        uint64 tail;
        /// block from which on only the head moves the rollup; 0 if nothing is queued
        uint64 due;
    }

    /// @notice The rollup begins, with the configuration of its epoch 1.
    event RollupCreated(
        uint64 indexed rollupId,
        bytes32 genesisRoot,
        bytes genesis,
        address owner,
        uint32 configDelay,
        address[] systems,
        bytes32[] families,
        uint8 threshold
    );
    /// @notice Configuration of an epoch, in force from `effectiveFrom` (unix seconds) on, unless announced anew before.
    event ConfigScheduled(
        uint64 indexed rollupId,
        uint64 epoch,
        uint64 effectiveFrom,
        address[] systems,
        bytes32[] families,
        uint8 threshold
    );
    event OwnershipTransferred(uint64 indexed rollupId, address owner);
    event ProxyCreated(uint64 indexed rollupId, address indexed original, address proxy);
    /// @param lane 0 transient, 1 persistent
    event TableLoaded(bytes32 indexed coreId, uint8 lane, bytes core, address payee, bytes32 agreementHash);
    event ExecutionConsumed(
        bytes32 indexed coreId, uint16 index, uint64 indexed rollupId, bytes32 newRoot, uint64 epoch
    );
    /// @notice The rollup takes forced transactions, each within so many blocks.
    event ForcedQueueOpened(uint64 indexed rollupId, uint32 forceBlocks);
    event ForcedQueued(
        uint64 indexed rollupId, uint64 indexed index, address sender, uint256 bounty, bytes transaction
    );
    /// @notice Logged before the ExecutionConsumed of its entry.
    event ForcedTaken(
        uint64 indexed rollupId, uint64 indexed index, bytes32 coreId, address payee, uint256 bounty
    );
    /// @notice Ended by its loader.
    event TableClosed(bytes32 indexed coreId, uint8 lane);
    /// @notice What happened since the scope of entry `index`'s REVERT was opened is undone; the entry that continues follows.
    event ScopeReverted(bytes32 indexed coreId, uint16 index, uint64 indexed rollupId);
    event TableCleaned(bytes32 indexed coreId, uint256 count, address cleaner, uint256 bounty);

    // the two contracts that are one
    error NoCode(address part);
    error NotDelegated();
    error PlainTransfer(uint256 value);
    // registry
    error UnknownRollup(uint64 rollupId);
    error NotOwner(uint64 rollupId, address caller);
    error BadConfig(uint8 what);
    error GenesisTooLong(uint256 length);
    error GenesisRootNotFieldElement(bytes32 root);
    error InsufficientRollupBalance(uint64 rollupId, uint256 balance, uint256 value);
    error ValueTooLarge(uint256 value);
    // proxies
    error NotProxy(address caller);
    error InsufficientGas(uint256 wanted, uint256 available);
    // precheck; what: 1 root, 2 epoch, 3 configuration
    error PrecheckFailed(uint64 rollupId, uint8 what);
    error MalformedExpects(uint256 length);
    // load
    error InFlow();
    error ForbiddenDestination(uint256 index, address destination);
    error NotYetValid(uint64 notBefore, uint256 time);
    error TableExpired(uint64 validUntil, uint256 time);
    error TimeSkew(uint64 l2Time, uint64 lastL2Time, uint256 time);
    error StaleTable(uint64 rollupId, bytes32 expected, bytes32 actual);
    /// @notice An L2TX says that it is forced, and no such transaction is due.
    error NotQueued(uint64 rollupId, uint64 index);
    error ForcedFirst(uint64 rollupId, uint64 index);
    error NoForcedQueue(uint64 rollupId);
    error ForcedLength(uint256 length, uint256 limit);
    error BountyTooLow(uint256 wanted, uint256 paid);
    error DuplicateKey(uint256 index);
    error MalformedProofs(uint256 offset);
    error NotActiveSystem(uint64 rollupId, address system);
    error InvalidProof(uint64 rollupId, address system, bytes reason);
    error ThresholdNotMet(uint64 rollupId, uint256 valid, uint256 threshold);
    error WrongValue(uint256 expected, uint256 actual);
    // loadAndRun
    error NotExecutor(address caller, address executor);
    error WrongTriggers(bytes32 expected, bytes32 actual);
    error MalformedTriggers(uint256 length);
    error NotATrigger(uint256 index);
    error NotTriggerSource(uint256 index, address source);
    error SettlementMismatch(bytes32 agreementHash, uint256 length);
    // persistent lane
    error TriggersFixed(bytes32 coreId);
    error NotCleanable(bytes32 coreId);
    error WrongKey(bytes32 key);
    error NoSuchTable(bytes32 coreId);
    error NotLoader(bytes32 coreId, address loader);
    error TableOver(bytes32 coreId);
    error NotRun(bytes32 coreId);
    error NothingToClaim(address account);
    error PaymentFailed(address account);
    // execution
    error ExecutionNotFound(bytes32 actionHash, bytes action);
    error CallFailed(bytes data);
    error CallReverted(bytes data);
    /// @param length at most 2048 is counted
    error AnswerTooLong(uint256 length);
    error FlowNotFinal(uint256 midRollups);
    // from Rollups to itself, never to a caller
    error NotSelf(address caller);
    error UndoScope(uint256 index, bytes32 link);
    error TriedCallFailed(bytes data);
}
