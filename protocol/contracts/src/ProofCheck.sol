// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {IProofSystem} from "./interfaces/IProofSystem.sol";
import {IRollupsTypes} from "./interfaces/IRollupsTypes.sol";
import {ReturnData} from "./ReturnData.sol";

/// @title Verification of the proofs of a core against configurations (SPEC §8). No state; the caller is the Rollups contract.
/// @notice `configs` is what the caller has in force, packed: for each member in order
///         `rollupId u64 | epoch u64 | threshold u8 | count u8 | (system b20 | family b32)*`.
abstract contract ProofCheck {
    /// @dev bytes of `proofs` before its items, and of an item before its proof
    uint256 private constant PROOFS_HEADER = 53;
    uint256 private constant ITEM_HEADER = 30;
    /// @dev bytes of a member in `configs` before its systems, and of a system
    uint256 internal constant CONFIG_HEADER = 18;
    uint256 internal constant SYSTEM_BYTES = 52;
    uint256 private constant VERIFY_GAS = 5_000_000;
    uint256 private constant MAX_REASON = 256;

    /// @dev What all proofs speak of, and where the loop over them stands.
    struct Claim {
        bytes core;
        bytes32 coreId;
        address payee;
        bytes32 agreementHash;
        uint256 left;
        uint256 offset;
    }

    /// @dev Requires, for each member of the lockset, valid proofs of at least `threshold` systems of its configuration; refuses a
    ///      proof that does not belong (rollup, system, order) and any that is wrong.
    /// @return c payee and agreement as the proofs have them
    /// @return systemsHash keccak of the members' configHashes in order
    function _checkProofs(bytes memory core, bytes32 coreId, bytes calldata configs, bytes calldata proofs)
        internal
        view
        returns (Claim memory c, bytes32 systemsHash)
    {
        if (proofs.length < PROOFS_HEADER) revert IRollupsTypes.MalformedProofs(proofs.length);
        c.core = core;
        c.coreId = coreId;
        c.payee = address(uint160(_word(proofs, 0) >> 96));
        c.agreementHash = bytes32(_word(proofs, 20));
        c.left = uint8(_word(proofs, 52) >> 248);
        c.offset = PROOFS_HEADER;
        bytes memory hashes;
        uint256 end;
        for (uint256 start = 0; start < configs.length; start = end) {
            end = _endOfConfig(configs, start);
            bytes32 configHash = _checkMember(c, configs[start:end], proofs);
            hashes = abi.encodePacked(hashes, configHash);
        }
        if (c.left != 0 || c.offset != proofs.length) revert IRollupsTypes.MalformedProofs(c.offset);
        systemsHash = keccak256(hashes);
    }

    /// @param config of one member
    /// @return its configHash
    function _checkMember(Claim memory c, bytes calldata config, bytes calldata proofs)
        private
        view
        returns (bytes32)
    {
        uint64 rollupId = uint64(_word(config, 0) >> 192);
        uint256 threshold = uint8(_word(config, 16) >> 248);
        uint256 count = uint8(_word(config, 17) >> 248);
        uint256 valid = 0;
        // systems ascend in the configuration and in the proofs: one pass over both
        for (uint256 place = 0; c.left != 0; place++) {
            uint256 offset = c.offset;
            if (offset + ITEM_HEADER > proofs.length) revert IRollupsTypes.MalformedProofs(offset);
            if (uint64(_word(proofs, offset) >> 192) != rollupId) break;
            address system = address(uint160(_word(proofs, offset + 8) >> 96));
            uint256 end = offset + ITEM_HEADER + uint16(_word(proofs, offset + 28) >> 240);
            if (end > proofs.length) revert IRollupsTypes.MalformedProofs(offset);
            while (place < count && _system(config, place) != system) place++;
            if (place >= count) revert IRollupsTypes.NotActiveSystem(rollupId, system);
            _verify(c, config, _family(config, place), system, proofs[offset + ITEM_HEADER:end]);
            valid++;
            c.offset = end;
            c.left--;
        }
        if (valid < threshold) revert IRollupsTypes.ThresholdNotMet(rollupId, valid, threshold);
        bytes32[] memory systems = new bytes32[](count);
        bytes32[] memory families = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            systems[i] = bytes32(uint256(uint160(_system(config, i))));
            families[i] = _family(config, i);
        }
        return ActionHash.config(threshold, systems, families);
    }

    /// @dev STATICCALL with a gas cap; only exactly one word holding 1 is a yes.
    function _verify(Claim memory c, bytes calldata config, bytes32 family, address system, bytes calldata proof)
        private
        view
    {
        uint64 rollupId = uint64(_word(config, 0) >> 192);
        bytes memory question = _question(c.core, rollupId, family, _publicInput(c, config, family), proof);
        bool ok;
        uint256 answer;
        uint256 size;
        // assembly: a system's return data must be neither copied without bound nor decoded leniently
        assembly ("memory-safe") {
            ok := staticcall(VERIFY_GAS, system, add(question, 32), mload(question), 0, 32)
            answer := mload(0)
            size := returndatasize()
        }
        if (!ok || size != 32 || answer != 1) {
            revert IRollupsTypes.InvalidProof(rollupId, system, ok ? bytes("") : ReturnData.head(MAX_REASON));
        }
    }

    /// @dev `abi.encodeCall(IProofSystem.verify, (family, input, abi.encodePacked(rollupId, core), proof))`, in assembly because that
    ///      copies the core three times: 2,000 gas.
    function _question(bytes memory core, uint64 rollupId, bytes32 family, bytes32 input, bytes calldata proof)
        private
        pure
        returns (bytes memory question)
    {
        bytes32 selector = bytes32(IProofSystem.verify.selector);
        assembly ("memory-safe") {
            question := mload(64)
            let to := add(question, 32)
            let length := add(mload(core), 8)
            let padded := and(add(length, 31), not(31))
            mstore(to, selector)
            to := add(to, 4)
            mstore(to, family)
            mstore(add(to, 32), input)
            mstore(add(to, 64), 128) // where the statement is
            mstore(add(to, 96), add(160, padded)) // and where the proof
            mstore(add(to, 128), length)
            mstore(add(to, 160), shl(192, rollupId))
            mcopy(add(to, 168), add(core, 32), mload(core))
            mstore(add(to, add(160, length)), 0) // the rest of the last word
            to := add(to, add(160, padded))
            mstore(to, proof.length)
            calldatacopy(add(to, 32), proof.offset, proof.length)
            to := add(to, add(32, proof.length))
            mstore(to, 0)
            let end := add(to, and(sub(0, proof.length), 31))
            mstore(question, sub(end, add(question, 32)))
            mstore(64, and(add(end, 31), not(31)))
        }
    }

    function _publicInput(Claim memory c, bytes calldata config, bytes32 family) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                ActionHash.D_INPUT,
                block.chainid,
                msg.sender,
                c.coreId,
                _word(config, 0) >> 192,
                uint64(_word(config, 0) >> 128),
                family,
                c.payee,
                c.agreementHash
            )
        );
    }

    /// @dev Where the configuration of the next member begins.
    function _endOfConfig(bytes calldata configs, uint256 start) internal pure returns (uint256) {
        return start + CONFIG_HEADER + SYSTEM_BYTES * uint8(_word(configs, start + 17) >> 248);
    }

    function _system(bytes calldata config, uint256 place) private pure returns (address) {
        return address(uint160(_word(config, CONFIG_HEADER + SYSTEM_BYTES * place) >> 96));
    }

    function _family(bytes calldata config, uint256 place) private pure returns (bytes32) {
        return bytes32(_word(config, CONFIG_HEADER + SYSTEM_BYTES * place + 20));
    }

    /// @dev 32 bytes at an offset. Callers check bounds for the bits they use; what lies past the end is never used.
    function _word(bytes calldata data, uint256 offset) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(data.offset, offset))
        }
    }
}
