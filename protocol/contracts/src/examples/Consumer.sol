// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title An L1 dapp that calls a rollup's contract through its proxy as if it were on L1, and keeps the answer.
contract Consumer {
    bytes public lastAnswer;
    uint256 public calls;

    /// @param proxy the CrossChainProxy of the contract that is asked
    function ask(address proxy, bytes calldata data) external payable returns (bytes memory answer) {
        bool ok;
        (ok, answer) = proxy.call{value: msg.value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        lastAnswer = answer;
        calls++;
    }

    receive() external payable {}
}
