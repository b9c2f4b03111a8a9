// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {IProofSystem} from "./interfaces/IProofSystem.sol";
import {IRollupsExecution} from "./interfaces/IRollupsExecution.sol";
import {IRollupsTypes} from "./interfaces/IRollupsTypes.sol";
import {ReturnData} from "./ReturnData.sol";

/// @title Verification of the proofs of a core against configurations (SPEC §8). No state; the caller is the Rollups contract.
abstract contract ProofCheck {
    /// @dev bytes of `proofs` before its items, and of an item before its proof
    uint256 private constant PROOFS_HEADER = 53;
    uint256 private constant ITEM_HEADER = 30;
    uint256 private constant VERIFY_GAS = 5_000_000;
    uint256 private constant MAX_REASON = 256;

    /// @notice What the proofs speak of: a core, with each member's epoch, and a payment.
    struct Subject {
        bytes32 coreId;
        uint64[] lockset;
        uint64[] epochs;
        address payee;
        bytes32 agreementHash;
    }

    /// @dev where the loop over the proofs stands
    struct Cursor {
        uint256 left;
        uint256 offset;
    }

    /// @dev Requires, for each member of the lockset, valid proofs of at least `threshold` systems of its configuration; refuses a
    ///      proof that does not belong (rollup, system, order) and any that is wrong.
    /// @return systemsHash: keccak of the members' configHashes in order
    function _checkProofs(bytes memory core, Subject memory s, bytes calldata proofs) internal view returns (bytes32) {
        if (proofs.length < PROOFS_HEADER) revert IRollupsTypes.MalformedProofs(proofs.length);
        s.payee = address(bytes20(proofs[:20]));
        s.agreementHash = bytes32(proofs[20:52]);
        Cursor memory cursor = Cursor(uint8(proofs[52]), PROOFS_HEADER);
        bytes32[] memory configs = new bytes32[](s.lockset.length);
        for (uint256 i = 0; i < configs.length; i++) {
            (IRollupsTypes.Config memory c,) = IRollupsExecution(msg.sender).config(s.lockset[i], s.epochs[i]);
            _checkMember(core, s, i, c, proofs, cursor);
            configs[i] = ActionHash.config(c);
        }
        if (cursor.left != 0 || cursor.offset != proofs.length) revert IRollupsTypes.MalformedProofs(cursor.offset);
        return keccak256(abi.encodePacked(configs));
    }

    function _checkMember(
        bytes memory core,
        Subject memory s,
        uint256 member,
        IRollupsTypes.Config memory c,
        bytes calldata proofs,
        Cursor memory cursor
    ) private view {
        uint64 rollupId = s.lockset[member];
        uint256 valid = 0;
        // systems ascend in the configuration and in the proofs: one pass over both
        for (uint256 place = 0; cursor.left != 0; place++) {
            uint256 offset = cursor.offset;
            if (offset + ITEM_HEADER > proofs.length) revert IRollupsTypes.MalformedProofs(offset);
            if (uint64(bytes8(proofs[offset:offset + 8])) != rollupId) break;
            address system = address(bytes20(proofs[offset + 8:offset + 28]));
            uint256 end = offset + ITEM_HEADER + uint16(bytes2(proofs[offset + 28:offset + 30]));
            if (end > proofs.length) revert IRollupsTypes.MalformedProofs(offset);
            while (place < c.systems.length && c.systems[place] != system) place++;
            if (place >= c.systems.length) revert IRollupsTypes.NotActiveSystem(rollupId, system);
            bytes32 input = _publicInput(s, rollupId, s.epochs[member], c.families[place]);
            _verify(core, rollupId, system, c.families[place], input, proofs[offset + ITEM_HEADER:end]);
            valid++;
            cursor.offset = end;
            cursor.left--;
        }
        if (valid < c.threshold) revert IRollupsTypes.ThresholdNotMet(rollupId, valid, c.threshold);
    }

    /// @dev STATICCALL with a gas cap; only exactly one word holding 1 is a yes.
    function _verify(
        bytes memory core,
        uint64 rollupId,
        address system,
        bytes32 family,
        bytes32 input,
        bytes calldata proof
    ) private view {
        bytes memory question = abi.encodeCall(
            IProofSystem.verify, (family, input, abi.encodePacked(rollupId, core), proof)
        );
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

    function _publicInput(Subject memory s, uint64 rollupId, uint64 epoch, bytes32 family)
        private
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                ActionHash.D_INPUT,
                block.chainid,
                msg.sender,
                s.coreId,
                rollupId,
                epoch,
                family,
                s.payee,
                s.agreementHash
            )
        );
    }
}
