// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {TableStore} from "./TableStore.sol";
import {Transient} from "./Transient.sol";

/// @title Transactions that a rollup must take, in order, whoever would rather not (SPEC §8.5).
/// @notice No content is looked at here: what a queued transaction does, or that it does nothing, is for the rollup's proof to say. So
///         nothing that is queued can stop a rollup. What is enforced is when one is taken: once the first of the queue is overdue,
///         nothing else moves that rollup.
abstract contract ForcedQueue is TableStore {
    /// @dev least payment for whoever proves one; it prices filling the queue
    uint256 internal constant FORCE_BOUNTY = 0.01 ether;
    uint256 internal constant MAX_FORCED_BYTES = 512;
    /// @dev blocks after one was taken before the next is overdue: a long queue slows a rollup down and does not stop it
    uint256 internal constant FORCED_GAP = 5;

    bytes32 private constant D_PAYEE = keccak256("unveto/forced-payee/1");

    struct Forced {
        bytes32 dataHash;
        uint64 queuedAt;
        uint96 bounty;
    }

    mapping(uint64 rollupId => mapping(uint64 index => Forced)) internal _forced;
    /// @dev of tables in the persistent lane that take from a queue
    mapping(bytes32 coreId => address) private _payees;

    // --- queueing

    function _queue(uint64 rollupId, bytes calldata transaction) internal returns (uint64 index) {
        Rollup storage r = _rollup(rollupId);
        uint256 wait = r.forceBlocks;
        if (wait == 0) revert NoForcedQueue(rollupId);
        if (transaction.length == 0 || transaction.length > MAX_FORCED_BYTES) {
            revert ForcedLength(transaction.length, MAX_FORCED_BYTES);
        }
        if (msg.value < FORCE_BOUNTY) revert BountyTooLow(FORCE_BOUNTY, msg.value);
        if (msg.value > type(uint96).max) revert ValueTooLarge(msg.value);
        index = r.forcedTail++;
        _forced[rollupId][index] = Forced(keccak256(transaction), uint64(block.number), uint96(msg.value));
        if (index == r.forcedHead) r.forcedDue = uint48(_due(r, block.number + wait));
        emit ForcedQueued(rollupId, index, msg.sender, msg.value, transaction);
    }

    // --- taking

    /// @dev Whose proofs bound the payee of a load that takes from a queue; 0 leaves the bounty to whoever fires it.
    function _rememberPayee(bytes32 coreId, uint8 lane, address payee) internal {
        if (lane == LANE_TRANSIENT) Transient.set(_payeeSlot(coreId), bytes32(uint256(uint160(payee))));
        else _payees[coreId] = payee;
    }

    /// @dev Before an entry of a rollup is consumed: it is the first of the queue if it says so, and says so if that is overdue.
    /// @param gasLimit of an L2TX, else 0
    /// @param dataHash of the L2TX's bytes; not used otherwise
    function _checkForced(bytes32 coreId, uint8 lane, uint64 rollupId, uint64 gasLimit, bytes32 dataHash) internal {
        Rollup storage r = _rollups[rollupId];
        uint256 due = r.forcedDue;
        if (gasLimit != 0) {
            uint64 head = r.forcedHead;
            // no hash is 0: beyond the tail there is nothing that could be equal
            if (gasLimit - 1 != head || _forced[rollupId][head].dataHash != dataHash) {
                revert NotQueued(rollupId, gasLimit - 1);
            }
            _take(r, coreId, lane, rollupId, head);
        } else if (due != 0 && block.number >= due) {
            revert ForcedFirst(rollupId, r.forcedHead);
        }
    }

    function _take(Rollup storage r, bytes32 coreId, uint8 lane, uint64 rollupId, uint64 head) private {
        uint256 bounty = _forced[rollupId][head].bounty;
        delete _forced[rollupId][head];
        uint64 next = head + 1;
        r.forcedHead = next;
        r.forcedPause = uint64(block.number + FORCED_GAP);
        uint256 due = 0;
        if (next != r.forcedTail) due = _due(r, _forced[rollupId][next].queuedAt + uint256(r.forceBlocks));
        r.forcedDue = uint48(due);
        address payee =
            lane == LANE_TRANSIENT ? address(uint160(uint256(Transient.get(_payeeSlot(coreId))))) : _payees[coreId];
        if (payee == address(0)) payee = msg.sender;
        _claimable[payee] += bounty;
        emit ForcedTaken(rollupId, head, coreId, payee, bounty);
    }

    /// @dev Not sooner than FORCED_GAP after the one before.
    function _due(Rollup storage r, uint256 wanted) private view returns (uint256) {
        uint256 pause = r.forcedPause;
        return wanted < pause ? pause : wanted;
    }

    function _payeeSlot(bytes32 coreId) private pure returns (bytes32) {
        return ActionHash.pair(D_PAYEE, coreId);
    }
}
