// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CoreCodec} from "./CoreCodec.sol";
import {IRollupsTypes} from "./interfaces/IRollupsTypes.sol";

/// @title Hashes of actions, tables and configurations (SPEC §5.1, §5.3, §8). Every preimage has a fixed size.
library ActionHash {
    bytes32 internal constant D_ACTION = keccak256("unveto/action/1");
    bytes32 internal constant D_CORE = keccak256("unveto/core/1");
    bytes32 internal constant D_STATEMENT = keccak256("unveto/statement/1");
    bytes32 internal constant D_KEY = keccak256("unveto/key/1");
    bytes32 internal constant D_INPUT = keccak256("unveto/input/1");
    bytes32 private constant EMPTY = keccak256("");

    /// @notice actionHash of a packed action that was read from `data`.
    /// @param link what a RESULT or REVERT_CONTINUE trigger follows (SPEC §5.1), else 0
    function hash(bytes memory data, CoreCodec.ActionView memory a, bytes32 link) internal pure returns (bytes32) {
        bytes32 scopeHash = a.scopeLength == 0 ? EMPTY : _scopeHash(data, a.scopeAt, a.scopeLength);
        return keccak256(
            abi.encode(
                D_ACTION,
                a.kind,
                a.rollupId,
                a.destination,
                a.value,
                a.gasLimit,
                a.flags,
                a.sourceRollup,
                a.sourceAddress,
                scopeHash,
                link,
                slice(data, a.dataAt, a.dataLength)
            )
        );
    }

    /// @notice Link of a REVERT_CONTINUE: what was undone, and the state in which.
    /// @param revertHash actionHash of the REVERT
    /// @param root its rollup's root when it was met
    function continueLink(bytes32 revertHash, bytes32 root) internal pure returns (bytes32) {
        return keccak256(abi.encode(revertHash, root));
    }

    function coreId(bytes memory core) internal pure returns (bytes32) {
        return keccak256(abi.encode(D_CORE, keccak256(core)));
    }

    function stamp(bytes32 root, uint64 epoch) internal pure returns (bytes32) {
        return keccak256(abi.encode(root, epoch));
    }

    /// @param stampsHash keccak of the lockset's stamps, 32 bytes each
    function key(bytes32 id, bytes32 actionHash, bytes32 stampsHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(D_KEY, id, actionHash, stampsHash));
    }

    /// @notice configHash (SPEC §8)
    function config(IRollupsTypes.Config memory c) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                c.threshold, keccak256(abi.encodePacked(c.systems)), keccak256(abi.encodePacked(c.families))
            )
        );
    }

    /// @notice keccak of `length` bytes of `data` from `offset`, which must lie inside.
    function slice(bytes memory data, uint256 offset, uint256 length) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(add(add(data, 32), offset), length)
        }
    }

    function _scopeHash(bytes memory data, uint256 offset, uint256 length) private pure returns (bytes32) {
        uint256[] memory items = new uint256[](length);
        for (uint256 i = 0; i < length; i++) {
            uint256 itemAt = offset + 4 * i;
            uint256 item;
            assembly ("memory-safe") {
                item := shr(224, mload(add(add(data, 32), itemAt)))
            }
            items[i] = item;
        }
        return keccak256(abi.encodePacked(items));
    }
}
