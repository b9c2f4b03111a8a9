// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRollupsTypes} from "./IRollupsTypes.sol";

/// @title What Rollups does itself: load tables and execute them (SPEC §8).
interface IRollupsExecution is IRollupsTypes {
    /// @notice Loads a core in the transient lane, settles its agreement and fires triggers, for `msg.sender`, in one transaction.
    /// @param core packed (SPEC §5.2)
    /// @param proofs packed (SPEC §8)
    /// @param expects packed; what the sender insists on before anything moves
    /// @param triggers u16 entry indices in firing order; settles only if there is at least one
    /// @param settlement packed (SPEC §8.2); empty if the agreement hash in `proofs` is 0, may be empty if there are no triggers
    /// @return results answer data of each trigger, also of a transaction of a rollup that failed there
    function loadAndRun(
        bytes calldata core,
        bytes calldata proofs,
        bytes calldata expects,
        bytes calldata triggers,
        bytes calldata settlement
    ) external payable returns (bytes[] memory results);

    /// @notice Calls a contract of a rollup as `msg.sender`.
    function callL2(uint64 rollupId, address destination, bytes calldata data) external payable returns (bytes memory);

    /// @notice callL2 that resolves in the named table only.
    function callL2Pinned(bytes32 coreId, uint64 rollupId, address destination, bytes calldata data)
        external
        payable
        returns (bytes memory);

    /// @notice callL2 that does not revert. What was sent along with a call that was not made is credited to `msg.sender` (`claim`).
    ///         2 means nothing: whoever orders or sends the transaction can bring it about, by not loading a table, by moving a
    ///         root before it or by giving too little gas. A contract may fall back on it, and must never conclude a "no" from it.
    /// @param minGas what the call must at least be left with, else InsufficientGas
    /// @return status 0: done, 1: proven to fail, and undone, 2: unavailable
    /// @return answer of the rollup's contract, or for 2 what the attempt reverted with, at most 4096 bytes
    function tryCallL2(uint64 rollupId, address destination, bytes calldata data, uint64 minGas)
        external
        payable
        returns (uint8 status, bytes memory answer);

    /// @notice Executes a transaction of the rollup's own format, from the table loaded last for it in this transaction. One that
    ///         fails on the rollup is executed all the same: it pays its fee there. Not inside a flow.
    /// @return success whether it succeeded on the rollup
    /// @return answer its return or revert data
    function executeL2TX(uint64 rollupId, bytes calldata transaction)
        external
        returns (bool success, bytes memory answer);

    /// @notice executeL2TX that resolves in the named table only.
    function executeL2TXPinned(bytes32 coreId, uint64 rollupId, bytes calldata transaction)
        external
        returns (bool success, bytes memory answer);

    /// @notice Fires the transaction at the head of the rollup's forced queue. A failed result is kept, as with executeL2TX.
    /// @param coreId the table to meet; 0: the one loaded last in this transaction
    /// @param transaction the queued bytes
    function executeForcedL2TX(bytes32 coreId, uint64 rollupId, bytes calldata transaction)
        external
        returns (bool success, bytes memory answer);

    /// @notice Rollups calls itself with this, so that what happens in a scope can be undone.
    /// @param length items of the scope of the next action in `record` that are open from now on
    /// @return the record whose next action lies outside
    function newScope(bytes32 coreId, uint256 length, bytes calldata record) external returns (bytes memory);

    /// @notice Rollups calls itself with this, so that a call to a rollup that fails can be undone.
    /// @param action packed CALL or TRY_CALL
    function attempt(bytes calldata action) external returns (bytes memory answer);

    /// @notice callL2 for a CrossChainProxy, with the proxy's caller as source.
    function onProxyCall(uint64 rollupId, address original, address caller, bytes calldata data)
        external
        payable
        returns (bytes memory);

    /// @notice Creates the proxy of (original, rollupId) or returns the one that exists.
    function getOrCreateProxy(address original, uint64 rollupId) external returns (address proxy);

    /// @notice Reverts unless every expectation holds.
    function precheck(bytes calldata expects) external view;

    function computeProxyAddress(address original, uint64 rollupId) external view returns (address);
    function market() external view returns (address);
    /// @notice The stateless contract that checks rules and proofs; public inputs name Rollups, not that one.
    function reader() external view returns (address);
    /// @notice The contract whose code Rollups runs on its own storage for the functions of IRollupsAdmin.
    function module() external view returns (address);
}
