// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "../ActionHash.sol";
import {CoreCodec} from "../CoreCodec.sol";
import {StatementWords} from "../StatementWords.sol";

/// @title FOR TESTS ONLY: shows what the libraries compute.
contract CodecHarness {
    function hashAction(bytes calldata packed, bytes32 link) external pure returns (bytes32) {
        bytes memory data = packed;
        uint256 end = CoreCodec.checkAction(data, 0);
        if (end != data.length) revert CoreCodec.TrailingBytes(end);
        return ActionHash.hash(data, 0, link);
    }

    function decodeCore(bytes calldata core) external pure returns (bytes32 coreId) {
        bytes memory data = core;
        CoreCodec.decode(data);
        return ActionHash.coreId(data);
    }

    /// @notice Statement words in a shape of the caller's choice.
    /// @param known bits of the kinds that have a statement, and of scopes
    function statementWords(bytes calldata core, uint64 rollupId, uint8 entries, uint8 dataWords, uint256 known)
        external
        pure
        returns (uint256[] memory words)
    {
        bytes memory data = core;
        StatementWords.Shape memory shape = StatementWords.Shape(0, entries, dataWords, known);
        (words,) = StatementWords.layAs(data, CoreCodec.decode(data), rollupId, shape);
    }
}
