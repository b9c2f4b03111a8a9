// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A verifier that knows nothing of tables: a proof and the hash of what it proves.
interface IHashVerifier {
    /// @param proof bytes in the verifier's own format
    /// @param publicInputsHash all that the proof is bound to
    /// @return true for a valid proof
    function verify(bytes calldata proof, bytes32 publicInputsHash) external view returns (bool);
}
