// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What CrossChainProxy reads from its deployer while it is constructed.
interface IProxyDeployer {
    function proxyParameters() external view returns (address original, uint64 rollupId);
}
