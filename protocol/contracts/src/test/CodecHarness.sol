// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "../ActionHash.sol";
import {CoreCodec} from "../CoreCodec.sol";

/// @title FOR TESTS ONLY: shows what the libraries compute.
contract CodecHarness {
    function hashAction(bytes calldata packed, bytes32 link) external pure returns (bytes32) {
        bytes memory data = packed;
        CoreCodec.ActionView memory a = CoreCodec.readAction(data, 0);
        if (a.end != data.length) revert CoreCodec.TrailingBytes(a.end);
        return ActionHash.hash(data, a, link);
    }

    function decodeCore(bytes calldata core) external pure returns (bytes32 coreId) {
        bytes memory data = core;
        CoreCodec.decode(data);
        return ActionHash.coreId(data);
    }
}
