// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProofSystem} from "./IProofSystem.sol";

/// @title Groth16 over BN254 for the table-VM (SPEC §6, §7). Anybody registers keys; nothing can be changed or removed.
interface IGroth16ProofSystem is IProofSystem {
    event KeyRegistered(bytes32 indexed vkHash, address pointer);
    event FamilyRegistered(bytes32 indexed family, bytes32[] vkHashes);

    error MalformedKey(uint256 length);
    /// @param part 0 alpha, 1 beta, 2 gamma, 3 delta, 4.. IC
    error BadKeyPoint(uint256 part);
    error UnknownKey(bytes32 vkHash);
    error BadFamilySize(uint256 count);
    error UnknownTier(bytes32 family, uint8 tier);
    error MalformedProof(uint256 length);
    error NotCanonical(uint256 value);
    error MalformedStatement(uint256 length);
    error NotInLockset(uint64 rollupId);
    /// @notice The rollup owns no entry, more than the tier has places for, or an action with more data than it has words for.
    error DoesNotFitTier(uint8 tier, uint256 wanted, uint256 limit);

    /// @notice An action of a kind, or with a scope, to which circuits give no meaning (SPEC §6): it has no statement.
    error UnsupportedKind(uint256 index, uint8 kind);
    error UnsupportedScope(uint256 index);

    /// @notice Stores a verifying key (SPEC §7.2) as code; registering it again does nothing.
    function registerKey(bytes calldata vk) external returns (bytes32 vkHash);

    /// @notice Names an ordered set of registered keys, one for each tier from 0; at most 16.
    function registerFamily(bytes32[] calldata vkHashes) external returns (bytes32 family);

    /// @notice The words that `verify` lays out for a tier (SPEC §6).
    function statementWords(bytes calldata statement, uint8 tier) external pure returns (uint256[] memory words);

    /// @return pointer the contract whose code after one byte is the key, 0 if there is none
    function keyOf(bytes32 family, uint8 tier) external view returns (address pointer);
    function pointerOf(bytes32 vkHash) external view returns (address pointer);
}
