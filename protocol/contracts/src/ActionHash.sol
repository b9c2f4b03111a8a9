// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PackedAction} from "./PackedAction.sol";

/// @title Hashes of actions, tables and configurations (SPEC §5.1, §5.3, §8). Every preimage has a fixed size.
library ActionHash {
    bytes32 internal constant D_ACTION = keccak256("unveto/action/1");
    bytes32 internal constant D_CORE = keccak256("unveto/core/1");
    bytes32 internal constant D_STATEMENT = keccak256("unveto/statement/1");
    bytes32 internal constant D_KEY = keccak256("unveto/key/1");
    bytes32 internal constant D_INPUT = keccak256("unveto/input/1");
    bytes32 private constant EMPTY = keccak256("");

    /// @notice actionHash of the packed action at an offset.
    /// @param link what a RESULT or REVERT_CONTINUE trigger follows (SPEC §5.1), else 0
    function hash(bytes memory data, uint256 start, bytes32 link) internal pure returns (bytes32 result) {
        uint256 scopeLength = PackedAction.scopeLength(data, start);
        bytes32 scopeHash = scopeLength == 0 ? EMPTY : _scopeHash(data, PackedAction.scopeAt(start), scopeLength);
        bytes32 domain = D_ACTION;
        // assembly: each field goes from its packed place to its own word, without a list of twelve values between
        assembly ("memory-safe") {
            let action := add(add(data, 32), start)
            let head := mload(action)
            let middle := mload(add(action, 30))
            let dataAt := add(add(action, 85), mul(4, scopeLength))
            let to := mload(64)
            mstore(to, domain)
            mstore(add(to, 32), byte(0, head)) // kind
            mstore(add(to, 64), shr(192, shl(16, head))) // rollupId
            mstore(add(to, 96), shr(96, shl(80, head))) // destination
            mstore(add(to, 128), shr(128, middle)) // value
            mstore(add(to, 160), shr(192, shl(128, middle))) // gas
            mstore(add(to, 192), byte(1, head)) // flags
            mstore(add(to, 224), shr(192, shl(192, middle))) // sourceRollup
            mstore(add(to, 256), shr(96, mload(add(action, 62)))) // sourceAddress
            mstore(add(to, 288), scopeHash)
            mstore(add(to, 320), link)
            mstore(add(to, 352), keccak256(dataAt, shr(240, mload(sub(dataAt, 2)))))
            result := keccak256(to, 384)
        }
    }

    /// @notice Link of a REVERT_CONTINUE: what was undone, and the state in which.
    /// @param revertHash actionHash of the REVERT
    /// @param root its rollup's root when it was met
    function continueLink(bytes32 revertHash, bytes32 root) internal pure returns (bytes32) {
        return pair(revertHash, root);
    }

    function coreId(bytes memory core) internal pure returns (bytes32) {
        return pair(D_CORE, keccak256(core));
    }

    function stamp(bytes32 root, uint64 epoch) internal pure returns (bytes32) {
        return pair(root, bytes32(uint256(epoch)));
    }

    /// @param stampsHash keccak of the lockset's stamps, 32 bytes each
    function key(bytes32 id, bytes32 actionHash, bytes32 stampsHash) internal pure returns (bytes32 result) {
        bytes32 domain = D_KEY;
        assembly ("memory-safe") {
            let to := mload(64)
            mstore(to, domain)
            mstore(add(to, 32), id)
            mstore(add(to, 64), actionHash)
            mstore(add(to, 96), stampsHash)
            result := keccak256(to, 128)
        }
    }

    /// @notice configHash (SPEC §8)
    function config(uint256 threshold, bytes32[] memory systems, bytes32[] memory families)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(threshold, list(systems), list(families)));
    }

    /// @notice keccak of two words.
    function pair(bytes32 first, bytes32 second) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            mstore(0, first)
            mstore(32, second)
            result := keccak256(0, 64)
        }
    }

    /// @notice keccak of the words of an array.
    function list(bytes32[] memory words) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(add(words, 32), mul(mload(words), 32))
        }
    }

    /// @notice keccak of `length` bytes of `data` from `offset`, which must lie inside.
    function slice(bytes memory data, uint256 offset, uint256 length) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(add(add(data, 32), offset), length)
        }
    }

    function _scopeHash(bytes memory data, uint256 offset, uint256 length) private pure returns (bytes32) {
        bytes32[] memory items = new bytes32[](length);
        for (uint256 i = 0; i < length; i++) {
            items[i] = bytes32(PackedAction.word(data, offset + 4 * i) >> 224);
        }
        return list(items);
    }
}
