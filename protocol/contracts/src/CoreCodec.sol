// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PackedAction} from "./PackedAction.sol";

/// @title Strict reader of packed actions and cores (SPEC §5.1, §5.2).
/// @notice Nothing is copied or unpacked: what is read stays where it lies, and a *place* says where an entry does. Every rule of §5.2
///         that needs neither the epoch nor the chain is checked here, so that whoever decodes has checked it.
library CoreCodec {
    uint256 internal constant FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 internal constant NONE = 0xffff;
    uint256 internal constant MAX_LOCKSET = 8;
    uint256 internal constant MAX_ENTRIES = 256;
    uint256 internal constant MAX_CORE_BYTES = 65536;
    /// @dev bytes of a core before its entry count, beside the 40 of each member
    uint256 internal constant HEADER_BYTES = 98;
    uint256 internal constant MEMBER_BYTES = 40;
    /// @dev bytes of an entry before its trigger
    uint256 private constant ENTRY_HEADER = 39;

    error CoreTooLong(uint256 length);
    error Truncated(uint256 offset);
    error TrailingBytes(uint256 offset);
    error BadVersion(uint8 version);
    error BadLockset(uint256 position);
    error BadEntryCount(uint256 count);
    error NotFieldElement(uint256 value);
    error BadEntryFlags(uint256 index, uint8 flags);
    error BadActionFlags(uint256 offset, uint8 flags);
    error BadKind(uint256 offset, uint8 kind);
    error DataTooLong(uint256 offset, uint256 length);
    error ScopeTooLong(uint256 offset, uint256 length);
    error UnusedFieldSet(uint256 offset);
    error MissingGas(uint256 offset);
    error MissingScope(uint256 offset);
    error NotOwnFrame(uint256 offset, uint64 sourceRollup);
    error BadTrigger(uint256 index, uint8 kind);
    error BadNext(uint256 index, uint8 kind);
    error TwoForced(uint256 index);
    error OwnerNotInLockset(uint256 index, uint64 rollupId);
    error BadParent(uint256 index, uint256 parent);
    error BadReplyTo(uint256 index, uint256 replyTo);
    error BadRevertOf(uint256 index, uint256 revertOf);
    error BadSource(uint256 index, uint64 sourceRollup);
    error CallToSelf(uint256 index);

    // --- header

    /// @notice Checks the header. What follows here reads a checked one.
    /// @return offset of the entry count
    function checkHeader(bytes memory core) internal pure returns (uint256 offset) {
        if (core.length > MAX_CORE_BYTES) revert CoreTooLong(core.length);
        if (core.length < HEADER_BYTES) revert Truncated(core.length);
        uint256 head = PackedAction.word(core, 0);
        if (uint8(head >> 248) != 1) revert BadVersion(uint8(head >> 248));
        uint256 n = uint8(head >> 240);
        if (n == 0 || n > MAX_LOCKSET) revert BadLockset(n);
        offset = HEADER_BYTES + MEMBER_BYTES * n;
        if (core.length < offset) revert Truncated(core.length);
        uint64 last = 0;
        for (uint256 i = 0; i < n; i++) {
            uint64 id = memberId(core, i);
            if (id <= last) revert BadLockset(i);
            last = id;
            _requireField(uint256(preRoot(core, i)));
        }
    }

    function memberCount(bytes memory core) internal pure returns (uint256) {
        return uint8(PackedAction.word(core, 0) >> 240);
    }

    function memberId(bytes memory core, uint256 i) internal pure returns (uint64) {
        unchecked {
            return uint64(PackedAction.word(core, 2 + MEMBER_BYTES * i) >> 192);
        }
    }

    function preRoot(bytes memory core, uint256 i) internal pure returns (bytes32) {
        unchecked {
            return bytes32(PackedAction.word(core, 10 + MEMBER_BYTES * i));
        }
    }

    function lockset(bytes memory core) internal pure returns (uint64[] memory ids) {
        ids = new uint64[](memberCount(core));
        for (uint256 i = 0; i < ids.length; i++) {
            ids[i] = memberId(core, i);
        }
    }

    function l2Time(bytes memory core) internal pure returns (uint64) {
        return uint64(_behindLockset(core, 0) >> 192);
    }

    function notBefore(bytes memory core) internal pure returns (uint64) {
        return uint64(_behindLockset(core, 8) >> 192);
    }

    function validUntil(bytes memory core) internal pure returns (uint64) {
        return uint64(_behindLockset(core, 16) >> 192);
    }

    function executor(bytes memory core) internal pure returns (address) {
        return address(uint160(_behindLockset(core, 24) >> 96));
    }

    function triggersHash(bytes memory core) internal pure returns (bytes32) {
        return bytes32(_behindLockset(core, 44));
    }

    function feeRecipient(bytes memory core) internal pure returns (address) {
        return address(uint160(_behindLockset(core, 76) >> 96));
    }

    function _behindLockset(bytes memory core, uint256 field) private pure returns (uint256) {
        unchecked {
            return PackedAction.word(core, 2 + MEMBER_BYTES * memberCount(core) + field);
        }
    }

    // --- entries

    /// @notice Reads and checks a whole core.
    /// @return places of the entries: offset of the entry, of its next action, and of what follows (32 bits each, lowest first), then
    ///         the position of its owner in the lockset
    function decode(bytes memory core) internal pure returns (uint256[] memory places) {
        uint256 offset = checkHeader(core);
        if (offset + 2 > core.length) revert Truncated(offset);
        uint256 count = PackedAction.word(core, offset) >> 240;
        if (count == 0 || count > MAX_ENTRIES) revert BadEntryCount(count);
        offset += 2;
        places = new uint256[](count);
        // entry 0 has no smaller index for a parent, so some trigger always stands on the pre-roots
        uint256 forced = 0;
        for (uint256 i = 0; i < count; i++) {
            offset = _readEntry(core, offset, places, i);
            if (PackedAction.isForced(core, triggerAt(places[i]))) {
                // rule 8: it calls nobody, and there is one of its rollup
                uint8 kind = PackedAction.kind(core, nextAt(places[i]));
                if (kind != PackedAction.RESULT) revert BadNext(i, kind);
                uint256 bit = 1 << owner(places[i]);
                if (forced & bit != 0) revert TwoForced(i);
                forced |= bit;
            }
        }
        if (offset != core.length) revert TrailingBytes(offset);
    }

    function triggerAt(uint256 place) internal pure returns (uint256) {
        unchecked {
            return uint32(place) + ENTRY_HEADER;
        }
    }

    function nextAt(uint256 place) internal pure returns (uint256) {
        return uint32(place >> 32);
    }

    function endAt(uint256 place) internal pure returns (uint256) {
        return uint32(place >> 64);
    }

    function owner(uint256 place) internal pure returns (uint256) {
        return place >> 96;
    }

    function parent(bytes memory core, uint256 place) internal pure returns (uint256) {
        return PackedAction.word(core, uint32(place)) >> 240;
    }

    function replyTo(bytes memory core, uint256 place) internal pure returns (uint256) {
        return uint16(PackedAction.word(core, uint32(place)) >> 224);
    }

    function revertOf(bytes memory core, uint256 place) internal pure returns (uint256) {
        return uint16(PackedAction.word(core, uint32(place)) >> 208);
    }

    /// @notice 1 if the owner is mid after the entry, else 0.
    function mid(bytes memory core, uint256 place) internal pure returns (uint256) {
        return uint8(PackedAction.word(core, uint32(place)) >> 200);
    }

    function newRoot(bytes memory core, uint256 place) internal pure returns (bytes32) {
        unchecked {
            return bytes32(PackedAction.word(core, uint32(place) + 7));
        }
    }

    function _readEntry(bytes memory core, uint256 start, uint256[] memory places, uint256 index)
        private
        pure
        returns (uint256 end)
    {
        if (start + ENTRY_HEADER > core.length) revert Truncated(start);
        uint256 trigger = start + ENTRY_HEADER;
        // known to the getters from here on; the rest is added below
        uint256 place = start;
        if (mid(core, place) > 1) revert BadEntryFlags(index, uint8(mid(core, place)));
        _requireField(uint256(newRoot(core, place)));
        uint256 next = checkAction(core, trigger);
        end = checkAction(core, next);

        uint8 kind = PackedAction.kind(core, trigger);
        if (kind == PackedAction.REVERT) revert BadTrigger(index, kind);
        uint8 nextKind = PackedAction.kind(core, next);
        if (nextKind == PackedAction.L2TX || nextKind == PackedAction.REVERT_CONTINUE) revert BadNext(index, nextKind);
        uint64 id = PackedAction.rollupId(core, trigger);
        place |= next << 32 | end << 64 | _position(core, id, index) << 96;
        places[index] = place;
        uint256 before = parent(core, place);
        if (before != NONE && before >= index) revert BadParent(index, before);
        uint64 source = PackedAction.sourceRollup(core, next);
        if (source != id) revert BadSource(index, source);
        if (nextKind <= PackedAction.TRY_CALL && PackedAction.rollupId(core, next) == id) revert CallToSelf(index);
        if (kind == PackedAction.RESULT) _checkReply(core, places, index);
        else if (replyTo(core, place) != NONE) revert BadReplyTo(index, replyTo(core, place));
        if (kind == PackedAction.REVERT_CONTINUE) _checkContinue(core, places, index);
        else if (revertOf(core, place) != NONE) revert BadRevertOf(index, revertOf(core, place));
    }

    /// @dev Rule 4: the answer goes back along a call that stands before it.
    function _checkReply(bytes memory core, uint256[] memory places, uint256 index) private pure {
        uint256 place = places[index];
        if (parent(core, place) == NONE) revert BadParent(index, NONE);
        uint256 to = replyTo(core, place);
        if (to >= index) revert BadReplyTo(index, to);
        uint256 asked = nextAt(places[to]);
        uint256 answer = triggerAt(place);
        if (
            !PackedAction.isCall(core, asked) || PackedAction.source(core, asked) != PackedAction.target(core, answer)
                || PackedAction.target(core, asked) != PackedAction.source(core, answer)
        ) revert BadReplyTo(index, to);
    }

    /// @dev Rule 5: it continues after a REVERT of its own rollup and scope, at the roots at which that scope was opened: those
    ///      after an entry of the same rollup on the way to the REVERT, whose next action lies in the scope and which does not.
    function _checkContinue(bytes memory core, uint256[] memory places, uint256 index) private pure {
        uint256 place = places[index];
        uint256 undoneIndex = revertOf(core, place);
        if (undoneIndex >= index) revert BadRevertOf(index, undoneIndex);
        uint256 undone = nextAt(places[undoneIndex]);
        uint256 trigger = triggerAt(place);
        if (
            PackedAction.kind(core, undone) != PackedAction.REVERT
                || PackedAction.rollupId(core, undone) != PackedAction.rollupId(core, trigger)
                || !PackedAction.sameScope(core, undone, trigger)
        ) revert BadRevertOf(index, undoneIndex);
        uint256 wanted = parent(core, place);
        if (wanted == NONE) revert BadParent(index, NONE);
        uint256 above = undoneIndex;
        while (above != wanted) {
            above = parent(core, places[above]);
            if (above == NONE) revert BadParent(index, wanted);
        }
        uint256 opener = places[above];
        uint256 length = PackedAction.scopeLength(core, trigger);
        (uint256 frame, uint256 frameLength) = _frame(core, places, opener);
        if (
            owner(opener) != owner(place) || !PackedAction.isWithin(core, trigger, nextAt(opener))
                || (frameLength >= length
                    && PackedAction.scopePath(core, frame, length) == PackedAction.scopePath(core, trigger, length))
        ) revert BadParent(index, above);
    }

    /// @dev The scope in which an entry is met, as the first items of an action's: that of the call which its trigger answers, the
    ///      one around the scope that was reverted, else none: a trigger begins.
    function _frame(bytes memory core, uint256[] memory places, uint256 place)
        private
        pure
        returns (uint256 start, uint256 length)
    {
        start = triggerAt(place);
        uint8 kind = PackedAction.kind(core, start);
        if (kind == PackedAction.RESULT) {
            start = nextAt(places[replyTo(core, place)]);
            return (start, PackedAction.scopeLength(core, start));
        }
        if (kind == PackedAction.REVERT_CONTINUE) return (start, PackedAction.scopeLength(core, start) - 1);
    }

    function _position(bytes memory core, uint64 id, uint256 index) private pure returns (uint256) {
        uint256 n = memberCount(core);
        for (uint256 i = 0; i < n; i++) {
            if (memberId(core, i) == id) return i;
        }
        revert OwnerNotInLockset(index, id);
    }

    // --- actions

    /// @notice Checks the packed action at an offset; refuses unused fields that are not zero.
    /// @return end the offset after it
    function checkAction(bytes memory data, uint256 start) internal pure returns (uint256 end) {
        if (start + PackedAction.MIN_BYTES > data.length) revert Truncated(start);
        uint8 kind = PackedAction.kind(data, start);
        if (kind > PackedAction.REVERT_CONTINUE) revert BadKind(start, kind);
        uint256 scope = PackedAction.scopeLength(data, start);
        if (scope > PackedAction.MAX_SCOPE) revert ScopeTooLong(start, scope);
        // a wrong length field lies past the end and so does what it leads to
        uint256 begins = PackedAction.dataAt(data, start);
        if (begins > data.length) revert Truncated(begins);
        uint256 length = PackedAction.dataLength(data, begins);
        if (length > PackedAction.MAX_DATA) revert DataTooLong(start, length);
        end = begins + length;
        if (end > data.length) revert Truncated(begins);
        _requireFields(data, start, kind, scope, length);
    }

    /// @dev Each kind has the fields that it needs and no others (SPEC §5.1).
    function _requireFields(bytes memory data, uint256 start, uint8 kind, uint256 scope, uint256 length) private pure {
        uint8 flags = PackedAction.flags(data, start);
        uint8 allowed =
            kind == PackedAction.RESULT ? PackedAction.FAILED : kind == PackedAction.TRY_CALL ? PackedAction.OPAQUE : 0;
        if (flags & ~allowed != 0) revert BadActionFlags(start, flags);
        if (kind == PackedAction.CALL) return;
        uint64 gasLimit = PackedAction.gasLimit(data, start);
        if (kind == PackedAction.TRY_CALL) {
            if (gasLimit == 0) revert MissingGas(start);
            return;
        }
        // REVERT and REVERT_CONTINUE: a rollup about its own frames
        bool isOwn = kind >= PackedAction.REVERT;
        bool isTransaction = kind == PackedAction.L2TX;
        bool unused = PackedAction.amount(data, start) != 0 || (!isTransaction && gasLimit != 0) || (!isOwn && scope != 0)
            || (isOwn && length != 0);
        if (kind != PackedAction.RESULT && !unused) {
            unused = PackedAction.destination(data, start) != address(0)
                || PackedAction.sourceAddress(data, start) != address(0)
                || (isTransaction && PackedAction.sourceRollup(data, start) != 0);
        }
        if (unused) revert UnusedFieldSet(start);
        if (!isOwn) return;
        if (scope == 0) revert MissingScope(start);
        uint64 source = PackedAction.sourceRollup(data, start);
        if (source != PackedAction.rollupId(data, start)) revert NotOwnFrame(start, source);
    }

    function _requireField(uint256 value) private pure {
        if (value >= FIELD) revert NotFieldElement(value);
    }
}
