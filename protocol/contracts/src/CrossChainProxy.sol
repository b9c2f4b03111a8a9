// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProxyDeployer} from "./interfaces/IProxyDeployer.sol";
import {IRollupsExecution} from "./interfaces/IRollupsExecution.sol";

/// @title The L1 stand-in of one address of one rollup.
/// @notice It has no functions: every call, whatever its first four bytes, is a cross-domain call, except those of Rollups, which
///         make this address act. So no selector of the rollup's contract can be shadowed.
contract CrossChainProxy {
    IRollupsExecution private immutable ROLLUPS;
    address private immutable ORIGINAL;
    uint64 private immutable ROLLUP_ID;

    /// @dev gas kept back for the cost of the call itself when the action names a gas limit
    uint256 private constant CALL_OVERHEAD = 40_000;

    constructor() {
        ROLLUPS = IRollupsExecution(msg.sender);
        (ORIGINAL, ROLLUP_ID) = IProxyDeployer(msg.sender).proxyParameters();
    }

    /// @dev From Rollups: `destination b20 | gas u64 | data`. A failure reverts with the callee's data, so that the value goes back.
    ///      Answers are passed on raw, at most MAX_REVERT_DATA bytes of them.
    fallback() external payable {
        address rollups = address(ROLLUPS);
        // In assembly because every proxy's code is paid for: 200 gas per byte. The whole memory is ours, nothing here returns to
        // Solidity code.
        if (msg.sender == rollups) {
            assembly {
                let limit := shr(192, calldataload(20))
                let size := sub(calldatasize(), 28)
                calldatacopy(0, 28, size)
                if limit {
                    // 63/64 of what is left after the call's own cost
                    let available := sub(gas(), CALL_OVERHEAD)
                    if slt(available, 0) { available := 0 }
                    available := mul(div(available, 64), 63)
                    if lt(available, limit) {
                        // InsufficientGas(uint256,uint256)
                        mstore(0, 0x23e228cb)
                        mstore(32, limit)
                        mstore(64, available)
                        revert(28, 68)
                    }
                }
                if iszero(limit) { limit := gas() }
                let ok := call(limit, shr(96, calldataload(0)), callvalue(), 0, size, 0, 0)
                // all that Rollups looks at: what a callee returns must not cost more than was kept back
                size := returndatasize()
                if gt(size, 2048) { size := 2048 }
                returndatacopy(0, 0, size)
                if ok { return(0, size) }
                revert(0, size)
            }
        }
        bytes32 selector = IRollupsExecution.onProxyCall.selector;
        uint256 rollupId = ROLLUP_ID;
        address original = ORIGINAL;
        assembly {
            // onProxyCall(rollupId, original, caller, calldata)
            mstore(0, selector)
            mstore(4, rollupId)
            mstore(36, original)
            mstore(68, caller())
            mstore(100, 128)
            mstore(132, calldatasize())
            calldatacopy(164, 0, calldatasize())
            let ok := call(gas(), rollups, callvalue(), 0, add(164, and(add(calldatasize(), 31), not(31))), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(ok) { revert(0, returndatasize()) }
            // a returned `bytes`: offset, length, data
            return(64, mload(32))
        }
    }
}
