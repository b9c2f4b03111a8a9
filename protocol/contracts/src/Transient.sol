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

    /// @notice Stores non-empty bytes: the length at `slot`, the words behind it.
    function putBytes(bytes32 slot, bytes memory data) internal {
        assembly ("memory-safe") {
            let length := mload(data)
            tstore(slot, length)
            let end := add(add(data, 32), length)
            for { let offset := add(data, 32) } lt(offset, end) { offset := add(offset, 32) } {
                slot := add(slot, 1)
                tstore(slot, mload(offset))
            }
        }
    }

    /// @notice Reads what putBytes stored; empty if there is nothing.
    function getBytes(bytes32 slot) internal view returns (bytes memory data) {
        uint256 length = uint256(get(slot));
        if (length == 0) return data;
        data = new bytes(length);
        assembly ("memory-safe") {
            let end := add(add(data, 32), length)
            for { let offset := add(data, 32) } lt(offset, end) { offset := add(offset, 32) } {
                slot := add(slot, 1)
                mstore(offset, tload(slot))
            }
        }
    }

    /// @notice Reads and removes what putBytes stored. Only the length is cleared.
    function takeBytes(bytes32 slot) internal returns (bytes memory data) {
        data = getBytes(slot);
        if (data.length != 0) set(slot, 0);
    }
}
