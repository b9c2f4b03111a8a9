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
            uint256 end = CoreCodec.checkAction(data, 0);
            if (end != data.length) revert CoreCodec.TrailingBytes(end);
            hashes[i] = ActionHash.hash(data, 0, links[i]);
        }
    }

    function cores(bytes[] calldata packed) external pure returns (bytes32[] memory ids, bytes32[] memory lasts) {
        ids = new bytes32[](packed.length);
        lasts = new bytes32[](packed.length);
        for (uint256 i = 0; i < packed.length; i++) {
            bytes memory data = packed[i];
            uint256[] memory places = CoreCodec.decode(data);
            ids[i] = ActionHash.coreId(data);
            // what was read last: a shift anywhere before shows here
            lasts[i] = ActionHash.hash(data, CoreCodec.nextAt(places[places.length - 1]), 0);
        }
    }
}
