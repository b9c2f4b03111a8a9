// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CoreCodec} from "./CoreCodec.sol";
import {IGroth16ProofSystem} from "./interfaces/IGroth16ProofSystem.sol";

/// @title A rollup's own view of a core as field elements (SPEC §6).
/// @notice Every word is below the field order by construction: endpoints have 224 bits, the scope word 227, values and halves of
///         data words 128, and roots were checked by the decoder.
library StatementWords {
    uint256 private constant HEADER_WORDS = 4;
    uint256 private constant ENTRY_WORDS = 3;
    uint256 private constant RECORD_WORDS = 7;
    /// @dev entry places and data words of each tier, one byte each, tier 0 first
    bytes private constant SHAPES = hex"0304";

    /// @dev What the loops carry.
    struct Sheet {
        bytes core;
        uint256[] words;
        /// index of the word to write next; what is skipped stays 0
        uint256 next;
        uint8 tier;
        uint256 dataWords;
    }

    /// @param core packed core, already decoded into `c`
    function lay(bytes memory core, CoreCodec.Core memory c, uint64 rollupId, uint8 tier)
        internal
        pure
        returns (uint256[] memory)
    {
        if (2 * uint256(tier) >= SHAPES.length) revert IGroth16ProofSystem.UnknownTier(0, tier);
        uint256 places = uint8(SHAPES[2 * uint256(tier)]);
        uint256 dataWords = uint8(SHAPES[2 * uint256(tier) + 1]);
        uint256 size = HEADER_WORDS + places * (ENTRY_WORDS + 2 * (RECORD_WORDS + 2 * dataWords));
        Sheet memory s = Sheet(core, new uint256[](size), HEADER_WORDS, tier, dataWords);
        uint256 member = _member(c.lockset, rollupId);
        uint256[] memory ordinals = new uint256[](c.entries.length);
        uint256 own = 0;
        for (uint256 i = 0; i < c.entries.length; i++) {
            if (c.entries[i].owner != member) continue;
            if (++own > places) continue;
            ordinals[i] = own;
            _requireProvable(c.entries[i].trigger, i);
            _requireProvable(c.entries[i].next, i);
            s.next = HEADER_WORDS + (own - 1) * (ENTRY_WORDS + 2 * (RECORD_WORDS + 2 * dataWords));
            _entry(s, c, i, member, ordinals);
        }
        if (own == 0 || own > places) revert IGroth16ProofSystem.DoesNotFitTier(tier, own, places);
        s.words[0] = rollupId;
        s.words[1] = c.l2Time;
        s.words[2] = uint160(c.feeRecipient);
        s.words[3] = own;
        return s.words;
    }

    /// @dev What the circuit does not know it cannot have shown: the words alone would leave the meaning of the kind to the prover.
    function _requireProvable(CoreCodec.ActionView memory a, uint256 index) private pure {
        if (a.kind != CoreCodec.CALL && a.kind != CoreCodec.RESULT) {
            revert IGroth16ProofSystem.UnsupportedKind(index, a.kind);
        }
        if (a.scopeLength != 0) revert IGroth16ProofSystem.UnsupportedScope(index);
    }

    function _member(uint64[] memory lockset, uint64 rollupId) private pure returns (uint256) {
        for (uint256 i = 0; i < lockset.length; i++) {
            if (lockset[i] == rollupId) return i;
        }
        revert IGroth16ProofSystem.NotInLockset(rollupId);
    }

    function _entry(
        Sheet memory s,
        CoreCodec.Core memory c,
        uint256 index,
        uint256 member,
        uint256[] memory ordinals
    ) private pure {
        CoreCodec.EntryView memory e = c.entries[index];
        uint256 reply = e.replyTo == CoreCodec.NONE ? 0 : ordinals[e.replyTo];
        _put(s, (e.mid ? 1 : 0) + 2 * reply);
        _put(s, uint256(_rootBefore(c, index, member)));
        _put(s, uint256(e.newRoot));
        _record(s, e.trigger);
        _record(s, e.next);
    }

    /// @dev A member's root on which an entry stands: that of the nearest ancestor that it owns, else the header's.
    function _rootBefore(CoreCodec.Core memory c, uint256 index, uint256 member) private pure returns (bytes32) {
        uint256 ancestor = c.entries[index].parent;
        while (ancestor != CoreCodec.NONE) {
            CoreCodec.EntryView memory e = c.entries[ancestor];
            if (e.owner == member) return e.newRoot;
            ancestor = e.parent;
        }
        return c.preRoots[member];
    }

    function _record(Sheet memory s, CoreCodec.ActionView memory a) private pure {
        uint256 start = s.next;
        _put(s, a.kind + 256 * uint256(a.flags));
        _put(s, (uint256(a.rollupId) << 160) | uint160(a.destination));
        _put(s, (uint256(a.sourceRollup) << 160) | uint160(a.sourceAddress));
        _put(s, a.value);
        _put(s, a.gasLimit);
        _put(s, _scope(s.core, a));
        bool isAnswer = a.kind == CoreCodec.RESULT;
        uint256 selector = isAnswer ? 0 : _load(s.core, a.dataAt, a.dataLength) >> 224;
        _put(s, (a.dataLength << 32) | selector);
        uint256 skipped = isAnswer ? 0 : a.dataLength < 4 ? a.dataLength : 4;
        uint256 length = a.dataLength - skipped;
        uint256 count = (length + 31) / 32;
        if (count > s.dataWords) revert IGroth16ProofSystem.DoesNotFitTier(s.tier, count, s.dataWords);
        for (uint256 k = 0; k < count; k++) {
            uint256 word = _load(s.core, a.dataAt + skipped + 32 * k, length - 32 * k);
            _put(s, word >> 128);
            _put(s, uint128(word));
        }
        s.next = start + RECORD_WORDS + 2 * s.dataWords;
    }

    function _scope(bytes memory core, CoreCodec.ActionView memory a) private pure returns (uint256 word) {
        word = a.scopeLength << 224;
        for (uint256 i = 0; i < a.scopeLength; i++) {
            word |= (_load(core, a.scopeAt + 4 * i, 4) >> 224) << (32 * i);
        }
    }

    /// @dev In assembly because it runs 60 times for a small table: with bounds checks 6,000 gas more. The place is inside: an entry
    ///      is only laid if the tier has a place for it, and a record only writes data that the tier has words for.
    function _put(Sheet memory s, uint256 word) private pure {
        uint256[] memory words = s.words;
        uint256 index = s.next;
        assembly ("memory-safe") {
            mstore(add(add(words, 32), mul(index, 32)), word)
        }
        unchecked {
            s.next = index + 1;
        }
    }

    /// @dev Up to 32 bytes, left-aligned, zero behind `length`.
    function _load(bytes memory data, uint256 offset, uint256 length) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 32), offset))
        }
        if (length < 32) word &= ~(type(uint256).max >> (8 * length));
    }
}
