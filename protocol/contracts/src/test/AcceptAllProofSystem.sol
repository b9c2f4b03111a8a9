// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProofSystem} from "../interfaces/IProofSystem.sol";

/// @title FOR TESTS AND SIMULATION ONLY: calls every proof valid. A rollup that names it is anybody's.
contract AcceptAllProofSystem is IProofSystem {
    function verify(bytes32, bytes32, bytes calldata, bytes calldata) external pure override returns (bool) {
        return true;
    }
}
