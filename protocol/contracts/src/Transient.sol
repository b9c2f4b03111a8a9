// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Transient storage (EIP-1153) addressed by hash, for what Solidity's own transient variables cannot hold.
/// @notice Callers pass slots that are hashes, so that runs of words from two slots never meet.
library Transient {
    function get(bytes32 slot) internal view returns (bytes32 value) {
        assembly ("memory-safe") {
            value := tload(slot)
        }
    }

    function set(bytes32 slot, bytes32 value) internal {
        assembly ("memory-safe") {
            tstore(slot, value)
        }
    }

    /// @notice Stores a record: its length and head at `slot`, the new root and the packed action behind it.
    /// @param head 24 bits
    /// @param core holds the action, `length` bytes from `offset`
    function putRecord(
        bytes32 slot,
        uint256 head,
        bytes32 newRoot,
        bytes memory core,
        uint256 offset,
        uint256 length
    ) internal {
        assembly ("memory-safe") {
            tstore(slot, or(shl(24, length), head))
            tstore(add(slot, 1), newRoot)
            slot := add(slot, 2)
            let from := add(add(core, 32), offset)
            for { let end := add(from, length) } lt(from, end) { from := add(from, 32) } {
                tstore(slot, mload(from))
                slot := add(slot, 1)
            }
        }
    }

    /// @notice Reads and removes what putRecord stored: `head (3 bytes) | newRoot | action`; empty if there is nothing. Only the first
    ///         word is cleared.
    function takeRecord(bytes32 slot) internal returns (bytes memory record) {
        assembly ("memory-safe") {
            let first := tload(slot)
            if first {
                tstore(slot, 0)
                record := mload(64)
                let length := shr(24, first)
                mstore(record, add(length, 35))
                mstore(add(record, 32), shl(232, first))
                mstore(add(record, 35), tload(add(slot, 1)))
                slot := add(slot, 2)
                let to := add(record, 67)
                let end := add(to, length)
                for {} lt(to, end) { to := add(to, 32) } {
                    mstore(to, tload(slot))
                    slot := add(slot, 1)
                }
                mstore(64, and(add(to, 31), not(31)))
            }
        }
    }
}
