// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProxyDeployer, IRollups} from "./interfaces/IRollups.sol";

/// @title The L1 stand-in of one address of one rollup.
/// @notice It has no functions: every call, whatever its first four bytes, is a cross-domain call, except those of Rollups, which
///         make this address act. So no selector of the rollup's contract can be shadowed.
contract CrossChainProxy {
    IRollups private immutable ROLLUPS;
    address private immutable ORIGINAL;
    uint64 private immutable ROLLUP_ID;

    /// @dev gas kept back for the cost of the call itself when the action names a gas limit
    uint256 private constant CALL_OVERHEAD = 40_000;

    constructor() {
        ROLLUPS = IRollups(msg.sender);
        (ORIGINAL, ROLLUP_ID) = IProxyDeployer(msg.sender).proxyParameters();
    }

    /// @dev From Rollups: `destination b20 | gas u64 | data`. A failure reverts with the callee's data, so that the value goes back.
    ///      Answers are passed on raw, at most what the callee returned; Rollups bounds what it copies.
    fallback() external payable {
        if (msg.sender == address(ROLLUPS)) {
            address destination = address(bytes20(msg.data[:20]));
            uint256 limit = uint64(bytes8(msg.data[20:28]));
            if (limit == 0) {
                limit = gasleft();
            } else {
                uint256 left = gasleft();
                uint256 available = left < CALL_OVERHEAD ? 0 : (left - CALL_OVERHEAD) / 64 * 63;
                if (available < limit) revert IRollups.InsufficientGas(limit, available);
            }
            assembly {
                // the whole memory is ours: this branch never returns to Solidity code
                let size := sub(calldatasize(), 28)
                calldatacopy(0, 28, size)
                let ok := call(limit, destination, callvalue(), 0, size, 0, 0)
                returndatacopy(0, 0, returndatasize())
                if iszero(ok) { revert(0, returndatasize()) }
                return(0, returndatasize())
            }
        }
        bytes memory answer =
            ROLLUPS.onProxyCall{value: msg.value}(ROLLUP_ID, ORIGINAL, msg.sender, msg.data);
        assembly {
            return(add(answer, 32), mload(answer))
        }
    }
}
