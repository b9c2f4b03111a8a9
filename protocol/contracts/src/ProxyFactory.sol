// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CrossChainProxy} from "./CrossChainProxy.sol";
import {IProxyDeployer} from "./interfaces/IProxyDeployer.sol";
import {IRollupsExecution} from "./interfaces/IRollupsExecution.sol";
import {TableLoader} from "./TableLoader.sol";

/// @title Creates the L1 stand-ins of addresses of rollups (SPEC §8).
abstract contract ProxyFactory is TableLoader, IRollupsExecution, IProxyDeployer {
    bytes32 private immutable PROXY_CODE_HASH = keccak256(type(CrossChainProxy).creationCode);

    /// @inheritdoc IRollupsExecution
    function getOrCreateProxy(address original, uint64 rollupId) public override returns (address proxy) {
        proxy = computeProxyAddress(original, rollupId);
        if (proxy.code.length != 0) return proxy;
        _rollup(rollupId);
        _newProxyOriginal = original;
        _newProxyRollup = rollupId;
        new CrossChainProxy{salt: _proxySalt(original, rollupId)}();
        _newProxyOriginal = address(0);
        _newProxyRollup = 0;
        emit ProxyCreated(rollupId, original, proxy);
    }

    /// @inheritdoc IProxyDeployer
    function proxyParameters() external view override returns (address original, uint64 rollupId) {
        return (_newProxyOriginal, _newProxyRollup);
    }

    /// @inheritdoc IRollupsExecution
    function computeProxyAddress(address original, uint64 rollupId) public view override returns (address) {
        bytes32 salt = _proxySalt(original, rollupId);
        return address(
            uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, PROXY_CODE_HASH))))
        );
    }

    function _proxySalt(address original, uint64 rollupId) private pure returns (bytes32) {
        return bytes32((uint256(rollupId) << 160) | uint160(original));
    }
}
