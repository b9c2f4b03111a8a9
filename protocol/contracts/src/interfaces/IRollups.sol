// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRollupsAdmin} from "./IRollupsAdmin.sol";
import {IRollupsExecution} from "./IRollupsExecution.sol";

/// @title Everything that the address of Rollups answers to: registry, tables and execution of rollups on L1 (SPEC §5, §8).
/// @notice Two contracts share the work only because of EIP-170; callers see one.
interface IRollups is IRollupsExecution, IRollupsAdmin {}
