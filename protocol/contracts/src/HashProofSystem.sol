// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHashVerifier} from "./interfaces/IHashVerifier.sol";
import {IProofSystem} from "./interfaces/IProofSystem.sol";
import {ReturnData} from "./ReturnData.sol";

/// @title Lets a verifier that only knows a proof and a hash serve a rollup (SPEC §7.3).
/// @notice One adapter for each verifier, for good. The hash handed on is `publicInput` as it is: it names chain, contract, core,
///         rollup, epoch, family and payment, so whoever proves has the core as private input and hashes it to that. The adapter's
///         one family names the verifier: the verifying key is whatever that contract has fixed, and who trusts it trusts that it
///         cannot be changed.
contract HashProofSystem is IProofSystem {
    bytes32 private constant D_FAMILY = keccak256("unveto/hash-family/1");
    uint256 private constant MAX_REASON = 192;

    /// @notice Who is asked.
    IHashVerifier public immutable VERIFIER;
    /// @notice The only family that this system answers for: `keccak(abi(D("hash-family"), verifier))`.
    bytes32 public immutable FAMILY;

    error NoCode(address verifier);
    error UnknownFamily(bytes32 family);
    /// @notice The verifier did not answer with one word that is 0 or 1: it reverted, ran out of gas, is gone or says something else.
    error NoVerdict(uint256 size, bytes data);

    constructor(IHashVerifier verifier) {
        if (address(verifier).code.length == 0) revert NoCode(address(verifier));
        VERIFIER = verifier;
        FAMILY = keccak256(abi.encode(D_FAMILY, verifier));
    }

    /// @inheritdoc IProofSystem
    function verify(bytes32 family, bytes32 publicInput, bytes calldata, bytes calldata proof)
        external
        view
        override
        returns (bool)
    {
        if (family != FAMILY) revert UnknownFamily(family);
        bytes memory question = abi.encodeCall(IHashVerifier.verify, (proof, publicInput));
        address verifier = address(VERIFIER);
        bool ok;
        uint256 answer;
        uint256 size;
        // assembly: the verifier's return data must be neither copied without bound nor decoded leniently
        assembly ("memory-safe") {
            ok := staticcall(gas(), verifier, add(question, 32), mload(question), 0, 32)
            answer := mload(0)
            size := returndatasize()
        }
        if (!ok || size != 32 || answer > 1) revert NoVerdict(size, ReturnData.head(MAX_REASON));
        return answer == 1;
    }
}
