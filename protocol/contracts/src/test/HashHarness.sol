// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "../ActionHash.sol";
import {CoreCodec} from "../CoreCodec.sol";

/// @title FOR TESTS ONLY: hashes of many actions and tables in one call.
contract HashHarness {
    function actions(bytes[] calldata packed, bytes32[] calldata links) external pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](packed.length);
        for (uint256 i = 0; i < packed.length; i++) {
            bytes memory data = packed[i];
            CoreCodec.ActionView memory a = CoreCodec.readAction(data, 0);
            if (a.end != data.length) revert CoreCodec.TrailingBytes(a.end);
            hashes[i] = ActionHash.hash(data, a, links[i]);
        }
    }

    function cores(bytes[] calldata packed) external pure returns (bytes32[] memory ids, bytes32[] memory lasts) {
        ids = new bytes32[](packed.length);
        lasts = new bytes32[](packed.length);
        for (uint256 i = 0; i < packed.length; i++) {
            bytes memory data = packed[i];
            CoreCodec.Core memory c = CoreCodec.decode(data);
            ids[i] = ActionHash.coreId(data);
            // what was read last: a shift anywhere before shows here
            lasts[i] = ActionHash.hash(data, c.entries[c.entries.length - 1].next, 0);
        }
    }
}
