// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the last call returned, without copying more than was asked for: the callee decides how long it is.
library ReturnData {
    /// @notice Reverts with what somebody else did.
    function bubble(bytes memory reason) internal pure {
        assembly ("memory-safe") {
            revert(add(reason, 32), mload(reason))
        }
    }

    /// @notice The first bytes of it, at most `limit`.
    function head(uint256 limit) internal pure returns (bytes memory data) {
        assembly ("memory-safe") {
            let size := returndatasize()
            if gt(size, limit) { size := limit }
            data := mload(64)
            mstore(data, size)
            returndatacopy(add(data, 32), 0, size)
            mstore(64, add(add(data, 32), and(add(size, 31), not(31))))
        }
    }
}
