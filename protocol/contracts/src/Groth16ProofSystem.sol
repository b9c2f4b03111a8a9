// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CoreCodec} from "./CoreCodec.sol";
import {IGroth16ProofSystem} from "./interfaces/IGroth16ProofSystem.sol";
import {IProofSystem} from "./interfaces/IProofSystem.sol";
import {StatementWords} from "./StatementWords.sol";

/// @title Groth16 over BN254 for the table-VM (SPEC §6, §7). No owner; keys and families are immutable.
/// @notice The statement is bound by a random evaluation: `h` commits to the prover's words, the hash of the contract's words and `h`
///         give the point `z`, and the circuit shows that its words evaluate to the contract's `y` there.
contract Groth16ProofSystem is IGroth16ProofSystem {
    bytes32 private constant D_FAMILY = keccak256("unveto/family/1");
    bytes32 private constant D_Z = keccak256("unveto/z/1");
    /// @dev field of the curve's coordinates
    uint256 private constant P = 21888242871839275222246405745257275088696311157297823662689037894645226208583;
    uint256 private constant R = CoreCodec.FIELD;
    uint256 private constant PROOF_BYTES = 289;
    uint256 private constant MAX_TIERS = 16;
    /// @dev h, z and y
    uint256 private constant INPUTS = 3;
    // places in a key
    uint256 private constant BETA = 64;
    uint256 private constant GAMMA = 192;
    uint256 private constant DELTA = 320;
    uint256 private constant COUNT = 448;
    uint256 private constant IC = 452;
    /// @dev IC and four points of 64
    uint256 private constant KEY_BYTES = 708;

    mapping(bytes32 vkHash => address) public override pointerOf;
    mapping(bytes32 family => mapping(uint8 tier => address)) public override keyOf;

    // --- registry

    /// @inheritdoc IGroth16ProofSystem
    function registerKey(bytes calldata vk) external override returns (bytes32 vkHash) {
        vkHash = keccak256(vk);
        if (pointerOf[vkHash] != address(0)) return vkHash;
        if (vk.length != KEY_BYTES || uint32(bytes4(vk[COUNT:IC])) != INPUTS + 1) revert MalformedKey(vk.length);
        _checkPoints(vk);
        // a contract whose code is one stop byte and the key: PUSH2 size, DUP1, PUSH1 10, RETURNDATASIZE, CODECOPY, RETURN
        bytes memory creation =
            abi.encodePacked(hex"61", uint16(KEY_BYTES + 1), hex"80600a3d393df3", hex"00", vk);
        address pointer;
        assembly ("memory-safe") {
            pointer := create(0, add(creation, 32), mload(creation))
        }
        if (pointer == address(0)) revert MalformedKey(vk.length);
        pointerOf[vkHash] = pointer;
        emit KeyRegistered(vkHash, pointer);
    }

    /// @dev Points are canonical, on their curves, in the right subgroup and not zero: a zero point would unbind what it
    ///      multiplies. The curve checks are those of the pairing precompile. Gamma and delta are equal before the setup's second phase:
    ///      then anybody proves anything from the key alone.
    function _checkPoints(bytes calldata vk) private view {
        if (keccak256(vk[GAMMA:DELTA]) == keccak256(vk[DELTA:COUNT])) revert BadKeyPoint(3);
        _checkPoint(vk, 0, 64, 0);
        for (uint256 i = 0; i < 3; i++) {
            _checkPoint(vk, BETA + 128 * i, 128, i + 1);
        }
        for (uint256 i = 0; i <= INPUTS; i++) {
            _checkPoint(vk, IC + 64 * i, 64, i + 4);
        }
        for (uint256 i = 0; i < 3; i++) {
            if (!_isOnCurves(vk[0:64], vk[BETA + 128 * i:BETA + 128 * i + 128])) revert BadKeyPoint(i + 1);
        }
        for (uint256 i = 0; i <= INPUTS; i++) {
            if (!_isOnCurves(vk[IC + 64 * i:IC + 64 * i + 64], vk[BETA:GAMMA])) revert BadKeyPoint(i + 4);
        }
    }

    function _checkPoint(bytes calldata vk, uint256 start, uint256 length, uint256 part) private pure {
        uint256 seen = 0;
        for (uint256 i = 0; i < length; i += 32) {
            uint256 coordinate = uint256(bytes32(vk[start + i:start + i + 32]));
            if (coordinate >= P) revert BadKeyPoint(part);
            seen |= coordinate;
        }
        if (seen == 0) revert BadKeyPoint(part);
    }

    function _isOnCurves(bytes calldata g1, bytes calldata g2) private view returns (bool ok) {
        (ok,) = address(8).staticcall(abi.encodePacked(g1, g2));
    }

    /// @inheritdoc IGroth16ProofSystem
    function registerFamily(bytes32[] calldata vkHashes) external override returns (bytes32 family) {
        uint256 count = vkHashes.length;
        if (count == 0 || count > MAX_TIERS) revert BadFamilySize(count);
        family = keccak256(abi.encode(D_FAMILY, keccak256(abi.encodePacked(vkHashes))));
        if (keyOf[family][0] != address(0)) return family;
        for (uint256 tier = 0; tier < count; tier++) {
            address pointer = pointerOf[vkHashes[tier]];
            if (pointer == address(0)) revert UnknownKey(vkHashes[tier]);
            keyOf[family][uint8(tier)] = pointer;
        }
        emit FamilyRegistered(family, vkHashes);
    }

    // --- verification

    /// @inheritdoc IProofSystem
    function verify(bytes32 family, bytes32 publicInput, bytes calldata statement, bytes calldata proof)
        external
        view
        override
        returns (bool)
    {
        if (proof.length != PROOF_BYTES) revert MalformedProof(proof.length);
        uint8 tier = uint8(proof[0]);
        address pointer = keyOf[family][tier];
        if (pointer == address(0)) revert UnknownTier(family, tier);
        uint256 h = uint256(bytes32(proof[1:33]));
        if (h >= R) revert NotCanonical(h);
        unchecked {
            for (uint256 i = 33; i < PROOF_BYTES; i += 32) {
                uint256 coordinate;
                // inside: the length was checked
                assembly ("memory-safe") {
                    coordinate := calldataload(add(proof.offset, i))
                }
                if (coordinate >= P) revert NotCanonical(coordinate);
            }
        }
        (uint256[] memory words, uint256 used) = _words(statement, tier);
        uint256 z = uint256(
            keccak256(abi.encode(D_Z, family, tier, publicInput, _hash(words), h))
        ) % R;
        return _pairs(pointer, proof, h, z, _evaluate(words, used, z));
    }

    /// @inheritdoc IGroth16ProofSystem
    function statementWords(bytes calldata statement, uint8 tier)
        external
        pure
        override
        returns (uint256[] memory words)
    {
        (words,) = _words(statement, tier);
    }

    function _words(bytes calldata statement, uint8 tier) private pure returns (uint256[] memory, uint256) {
        if (statement.length < 8) revert MalformedStatement(statement.length);
        bytes memory core = statement[8:];
        return StatementWords.lay(core, CoreCodec.decode(core), uint64(bytes8(statement[:8])), tier);
    }

    function _hash(uint256[] memory words) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(add(words, 32), mul(mload(words), 32))
        }
    }

    /// @dev sum of words[i-1] * z^i, i from 1. In assembly, and eight words a turn, because it runs for each word: 8,000 gas less. A sum
    ///      of two field elements is far below 2^256, so only the product is reduced.
    /// @param used words behind so many are 0
    function _evaluate(uint256[] memory words, uint256 used, uint256 z) private pure returns (uint256 y) {
        uint256 r = R;
        assembly ("memory-safe") {
            let place := add(words, mul(used, 32))
            // those that do not fill a turn
            for { let end := sub(place, mul(mod(used, 8), 32)) } gt(place, end) { place := sub(place, 32) } {
                y := mulmod(add(y, mload(place)), z, r)
            }
            for {} gt(place, words) { place := sub(place, 256) } {
                y := mulmod(add(y, mload(place)), z, r)
                y := mulmod(add(y, mload(sub(place, 32))), z, r)
                y := mulmod(add(y, mload(sub(place, 64))), z, r)
                y := mulmod(add(y, mload(sub(place, 96))), z, r)
                y := mulmod(add(y, mload(sub(place, 128))), z, r)
                y := mulmod(add(y, mload(sub(place, 160))), z, r)
                y := mulmod(add(y, mload(sub(place, 192))), z, r)
                y := mulmod(add(y, mload(sub(place, 224))), z, r)
            }
        }
    }

    /// @dev e(-A, B) e(alpha, beta) e(IC_0 + h IC_1 + z IC_2 + y IC_3, gamma) e(C, delta) = 1
    function _pairs(address pointer, bytes calldata proof, uint256 h, uint256 z, uint256 y)
        private
        view
        returns (bool ok)
    {
        bytes memory vk = new bytes(KEY_BYTES);
        bytes memory pairing = new bytes(768);
        assembly ("memory-safe") {
            extcodecopy(pointer, add(vk, 32), 1, KEY_BYTES)
            let key := add(vk, 32)
            let out := add(pairing, 32)
            // A with its y negated, then B
            calldatacopy(out, add(proof.offset, 33), 192)
            let ay := mload(add(out, 32))
            if ay { mstore(add(out, 32), sub(P, ay)) }
            // alpha and beta lie together in the key
            mcopy(add(out, 192), key, 192)
            // the linear combination takes the third G1 place
            let sum := add(out, 384)
            let ic := add(key, IC)
            mcopy(sum, ic, 64)
            ok := 1
            let scratch := mload(64)
            for { let i := 1 } lt(i, 4) { i := add(i, 1) } {
                mcopy(scratch, add(ic, mul(i, 64)), 64)
                let factor := h
                if eq(i, 2) { factor := z }
                if eq(i, 3) { factor := y }
                mstore(add(scratch, 64), factor)
                ok := and(ok, staticcall(gas(), 7, scratch, 96, scratch, 64))
                mcopy(add(scratch, 64), sum, 64)
                ok := and(ok, staticcall(gas(), 6, scratch, 128, sum, 64))
            }
            mcopy(add(sum, 64), add(key, GAMMA), 128)
            calldatacopy(add(out, 576), add(proof.offset, 225), 64)
            mcopy(add(out, 640), add(key, DELTA), 128)
            ok := and(ok, staticcall(gas(), 8, out, 768, scratch, 32))
            ok := and(ok, eq(mload(scratch), 1))
        }
    }
}
