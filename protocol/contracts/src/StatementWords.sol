// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CoreCodec} from "./CoreCodec.sol";
import {PackedAction} from "./PackedAction.sol";
import {IGroth16ProofSystem} from "./interfaces/IGroth16ProofSystem.sol";

/// @title A rollup's own view of a core as field elements (SPEC §6).
/// @notice Every word is below the field order by construction: endpoints have 224 bits, values and halves of data words 128, scopes 227,
///         and roots were checked by the decoder.
library StatementWords {
    uint256 private constant HEADER_WORDS = 4;
    uint256 private constant ENTRY_WORDS = 3;
    uint256 private constant RECORD_WORDS = 7;
    /// @dev entry places and data words of each tier, one byte each, tier 0 first
    bytes private constant SHAPES = hex"0304080910102010";
    /// @dev bits of the kinds that have a statement, and of SCOPES if actions with a scope have one: what circuits give a meaning to
    uint256 private constant KNOWN = 1 << PackedAction.CALL | 1 << PackedAction.TRY_CALL | 1 << PackedAction.RESULT
        | 1 << PackedAction.L2TX | 1 << PackedAction.REVERT | 1 << PackedAction.REVERT_CONTINUE | SCOPES;
    /// @dev above the kinds
    uint256 internal constant SCOPES = 1 << 6;

    /// @dev Sizes of a tier, and what has a statement in it.
    struct Shape {
        uint8 tier;
        uint256 entries;
        uint256 dataWords;
        uint256 known;
    }

    /// @dev What the loops carry.
    struct Sheet {
        bytes core;
        uint256[] places;
        Shape shape;
    }

    /// @param core packed core
    /// @param places its entries, as the decoder found them
    /// @return words all of the tier
    /// @return used how many of them, from the first, may be other than 0
    function lay(bytes memory core, uint256[] memory places, uint64 rollupId, uint8 tier)
        internal
        pure
        returns (uint256[] memory words, uint256 used)
    {
        if (2 * uint256(tier) >= SHAPES.length) revert IGroth16ProofSystem.UnknownTier(0, tier);
        Shape memory shape =
            Shape(tier, uint8(SHAPES[2 * uint256(tier)]), uint8(SHAPES[2 * uint256(tier) + 1]), KNOWN);
        return layAs(core, places, rollupId, shape);
    }

    /// @dev `lay` in any shape.
    function layAs(bytes memory core, uint256[] memory places, uint64 rollupId, Shape memory shape)
        internal
        pure
        returns (uint256[] memory words, uint256 used)
    {
        uint256 limit = shape.entries;
        Sheet memory s = Sheet(core, places, shape);
        uint256 stride = ENTRY_WORDS + 2 * (RECORD_WORDS + 2 * shape.dataWords);
        words = new uint256[](HEADER_WORDS + limit * stride);
        uint256 member = _member(core, rollupId);
        uint256[] memory ordinals = new uint256[](places.length);
        uint256 own = 0;
        uint256 first;
        assembly ("memory-safe") {
            first := add(words, 32)
        }
        used = HEADER_WORDS;
        for (uint256 i = 0; i < places.length; i++) {
            if (CoreCodec.owner(places[i]) != member) continue;
            if (++own > limit) continue;
            ordinals[i] = own;
            _entry(s, first + 32 * used, i, ordinals);
            used += stride;
        }
        if (own == 0 || own > limit) revert IGroth16ProofSystem.DoesNotFitTier(shape.tier, own, limit);
        words[0] = rollupId;
        words[1] = CoreCodec.l2Time(core);
        words[2] = uint160(CoreCodec.feeRecipient(core));
        words[3] = own;
    }

    function _member(bytes memory core, uint64 rollupId) private pure returns (uint256) {
        uint256 n = CoreCodec.memberCount(core);
        for (uint256 i = 0; i < n; i++) {
            if (CoreCodec.memberId(core, i) == rollupId) return i;
        }
        revert IGroth16ProofSystem.NotInLockset(rollupId);
    }

    /// @param to where in memory its words lie
    function _entry(Sheet memory s, uint256 to, uint256 index, uint256[] memory ordinals) private pure {
        uint256 place = s.places[index];
        uint256 replyTo = CoreCodec.replyTo(s.core, place);
        uint256 reply = replyTo == CoreCodec.NONE ? 0 : ordinals[replyTo];
        uint256 revertOf = CoreCodec.revertOf(s.core, place);
        uint256 undone = revertOf == CoreCodec.NONE ? 0 : ordinals[revertOf];
        unchecked {
            _put(to, 0, CoreCodec.mid(s.core, place) + 2 * reply + (undone << 16));
            _put(to, 1, uint256(_rootBefore(s, place)));
            _put(to, 2, uint256(CoreCodec.newRoot(s.core, place)));
            to += 32 * ENTRY_WORDS;
            _record(s, to, CoreCodec.triggerAt(place), index);
            _record(s, to + 32 * (RECORD_WORDS + 2 * s.shape.dataWords), CoreCodec.nextAt(place), index);
        }
    }

    /// @dev The owner's root on which an entry stands: that of the nearest ancestor that it owns, else the header's.
    function _rootBefore(Sheet memory s, uint256 place) private pure returns (bytes32) {
        uint256 owner = CoreCodec.owner(place);
        uint256 ancestor = CoreCodec.parent(s.core, place);
        while (ancestor != CoreCodec.NONE) {
            uint256 above = s.places[ancestor];
            if (CoreCodec.owner(above) == owner) return CoreCodec.newRoot(s.core, above);
            ancestor = CoreCodec.parent(s.core, above);
        }
        return CoreCodec.preRoot(s.core, owner);
    }

    /// @param to where in memory its words lie
    function _record(Sheet memory s, uint256 to, uint256 start, uint256 index) private pure {
        bytes memory core = s.core;
        uint256 kind = PackedAction.kind(core, start);
        // what the circuit does not know it cannot have shown: the words alone would leave the meaning of the kind to the prover
        if (s.shape.known >> kind & 1 == 0) revert IGroth16ProofSystem.UnsupportedKind(index, uint8(kind));
        uint256 scope = PackedAction.scopeLength(core, start);
        if (scope != 0) {
            if (s.shape.known & SCOPES == 0) revert IGroth16ProofSystem.UnsupportedScope(index);
            scope = _scope(core, start, scope);
        }
        uint256 begins = PackedAction.dataAt(core, start);
        uint256 length = PackedAction.dataLength(core, begins);
        unchecked {
            _put(to, 0, kind + 256 * uint256(PackedAction.flags(core, start)));
            _put(to, 1, PackedAction.target(core, start));
            _put(to, 2, PackedAction.source(core, start));
            _put(to, 3, PackedAction.amount(core, start));
            _put(to, 4, PackedAction.gasLimit(core, start));
            _put(to, 5, scope);
            uint256 meta = length << 32;
            if (kind <= PackedAction.TRY_CALL) {
                meta |= _cut(core, begins, length) >> 224;
                uint256 selector = length < 4 ? length : 4;
                begins += selector;
                length -= selector;
            }
            _put(to, 6, meta);
            uint256 count = (length + 31) / 32;
            if (count > s.shape.dataWords) revert IGroth16ProofSystem.DoesNotFitTier(s.shape.tier, count, s.shape.dataWords);
            to += 32 * RECORD_WORDS;
            for (uint256 k = 0; k < count; k++) {
                uint256 word = _cut(core, begins + 32 * k, length - 32 * k);
                _put(to, 2 * k, word >> 128);
                _put(to, 2 * k + 1, uint128(word));
            }
        }
    }

    /// @dev sum of item i * 2^(32 i), and the length above seven items.
    function _scope(bytes memory core, uint256 start, uint256 length) private pure returns (uint256 packed) {
        uint256 items = PackedAction.word(core, PackedAction.scopeAt(start));
        unchecked {
            packed = length << 224;
            for (uint256 i = 0; i < length; i++) {
                packed |= uint256(uint32(items >> (224 - 32 * i))) << (32 * i);
            }
        }
    }

    /// @dev In assembly because it runs 60 times for a small table: with bounds checks 6,000 gas more. The place is inside: an entry
    ///      is only laid if the tier has a place for it, and a record only writes data that the tier has words for.
    function _put(uint256 to, uint256 index, uint256 word) private pure {
        assembly ("memory-safe") {
            mstore(add(to, mul(index, 32)), word)
        }
    }

    /// @dev Up to 32 bytes, left-aligned, zero behind `length`.
    function _cut(bytes memory data, uint256 offset, uint256 length) private pure returns (uint256 word) {
        word = PackedAction.word(data, offset);
        if (length < 32) word &= ~(type(uint256).max >> (8 * length));
    }
}
