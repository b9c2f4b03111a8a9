// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A proof system that a rollup can name in its configuration (SPEC §7.2).
interface IProofSystem {
    /// @notice Says whether `proof` shows the statement of one rollup in one core.
    /// @param family hash of the immutable ordered set of verifying keys; a proof names its tier inside itself
    /// @param publicInput what this one proof is bound to (SPEC §5.3): chain, contract, core, rollup, epoch, family, payment.
    ///        The caller derives it from the core in `statement`: a system need not bind what only the core's id holds
    /// @param statement `rollupId u64 | core`; a system that needs only the hash may ignore it
    /// @param proof bytes in the format of the system
    /// @return true for a valid proof, false for a wrong one; malformed input may revert with a named error instead
    function verify(bytes32 family, bytes32 publicInput, bytes calldata statement, bytes calldata proof)
        external
        view
        returns (bool);
}
