// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Strict reader of packed actions and cores (SPEC §5.1, §5.2).
/// @notice Nothing here copies action data: views hold offsets into the bytes that were read. Every rule of §5.2 that needs
///         neither the epoch nor the chain is checked here, so that whoever decodes has checked it.
library CoreCodec {
    uint8 internal constant CALL = 0;
    uint8 internal constant TRY_CALL = 1;
    uint8 internal constant RESULT = 2;
    uint8 internal constant L2TX = 3;
    uint8 internal constant REVERT = 4;
    uint8 internal constant REVERT_CONTINUE = 5;

    uint256 internal constant FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 internal constant NONE = 0xffff;
    uint256 internal constant MAX_LOCKSET = 8;
    uint256 internal constant MAX_ENTRIES = 256;
    uint256 internal constant MAX_CORE_BYTES = 65536;
    uint256 internal constant MAX_ACTION_DATA = 1024;
    uint256 internal constant MAX_SCOPE = 7;
    /// @dev bytes of an action with neither scope nor data
    uint256 internal constant MIN_ACTION_BYTES = 85;
    /// @dev bytes of a core before its entry count, beside the 40 of each member
    uint256 internal constant HEADER_BYTES = 98;

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

    /// @notice A packed action inside some bytes.
    struct ActionView {
        uint8 kind;
        uint8 flags;
        uint64 rollupId;
        address destination;
        uint128 value;
        uint64 gasLimit;
        uint64 sourceRollup;
        address sourceAddress;
        /// offset of the first scope item, four bytes each
        uint256 scopeAt;
        uint256 scopeLength;
        uint256 dataAt;
        uint256 dataLength;
        /// offsets of the first byte and of the byte after the last
        uint256 start;
        uint256 end;
    }

    struct EntryView {
        uint256 parent;
        uint256 replyTo;
        uint256 revertOf;
        bool mid;
        bytes32 newRoot;
        /// position of the owner in the lockset
        uint256 owner;
        ActionView trigger;
        ActionView next;
    }

    struct Core {
        uint64[] lockset;
        bytes32[] preRoots;
        uint64 l2Time;
        uint64 notBefore;
        uint64 validUntil;
        address executor;
        bytes32 triggersHash;
        address feeRecipient;
        EntryView[] entries;
    }

    /// @notice Reads a whole core.
    function decode(bytes memory core) internal pure returns (Core memory c) {
        uint256 offset;
        (c, offset) = decodeHeader(core);
        if (offset + 2 > core.length) revert Truncated(offset);
        uint256 count = uint16(_word(core, offset) >> 240);
        if (count == 0 || count > MAX_ENTRIES) revert BadEntryCount(count);
        offset += 2;
        c.entries = new EntryView[](count);
        // entry 0 has no smaller index for a parent, so some trigger always stands on the pre-roots
        uint256 forced = 0;
        for (uint256 i = 0; i < count; i++) {
            offset = _readEntry(core, offset, c, i);
            ActionView memory trigger = c.entries[i].trigger;
            if (trigger.kind == L2TX && trigger.gasLimit != 0) {
                // rule 8: it calls nobody, and there is one of its rollup
                if (c.entries[i].next.kind != RESULT) revert BadNext(i, c.entries[i].next.kind);
                uint256 bit = 1 << c.entries[i].owner;
                if (forced & bit != 0) revert TwoForced(i);
                forced |= bit;
            }
        }
        if (offset != core.length) revert TrailingBytes(offset);
    }

    /// @notice Reads the header only; `offset` is the offset of the entry count.
    function decodeHeader(bytes memory core) internal pure returns (Core memory c, uint256 offset) {
        if (core.length > MAX_CORE_BYTES) revert CoreTooLong(core.length);
        if (core.length < HEADER_BYTES) revert Truncated(core.length);
        uint256 word = _word(core, 0);
        if (uint8(word >> 248) != 1) revert BadVersion(uint8(word >> 248));
        uint256 n = uint8(word >> 240);
        if (n == 0 || n > MAX_LOCKSET) revert BadLockset(n);
        if (core.length < HEADER_BYTES + 40 * n) revert Truncated(core.length);
        c.lockset = new uint64[](n);
        c.preRoots = new bytes32[](n);
        offset = 2;
        uint64 last = 0;
        for (uint256 i = 0; i < n; i++) {
            uint64 id = uint64(_word(core, offset) >> 192);
            if (id <= last) revert BadLockset(i);
            c.lockset[i] = last = id;
            c.preRoots[i] = _fieldElement(core, offset + 8);
            offset += 40;
        }
        word = _word(core, offset);
        c.l2Time = uint64(word >> 192);
        c.notBefore = uint64(word >> 128);
        c.validUntil = uint64(word >> 64);
        c.executor = address(uint160(_word(core, offset + 24) >> 96));
        c.triggersHash = bytes32(_word(core, offset + 44));
        c.feeRecipient = address(uint160(_word(core, offset + 76) >> 96));
        offset += 96;
    }

    function _readEntry(bytes memory core, uint256 offset, Core memory c, uint256 index) private pure returns (uint256) {
        if (offset + 39 > core.length) revert Truncated(offset);
        EntryView memory e = c.entries[index];
        uint256 word = _word(core, offset);
        e.parent = uint16(word >> 240);
        e.replyTo = uint16(word >> 224);
        e.revertOf = uint16(word >> 208);
        uint8 flags = uint8(word >> 200);
        if (flags > 1) revert BadEntryFlags(index, flags);
        e.mid = flags == 1;
        e.newRoot = _fieldElement(core, offset + 7);
        // into the memory that the array allocated
        _read(core, offset + 39, e.trigger);
        _read(core, e.trigger.end, e.next);

        if (e.trigger.kind == REVERT) revert BadTrigger(index, REVERT);
        if (e.next.kind == L2TX || e.next.kind == REVERT_CONTINUE) revert BadNext(index, e.next.kind);
        e.owner = _position(c.lockset, e.trigger.rollupId, index);
        if (e.parent != NONE && e.parent >= index) revert BadParent(index, e.parent);
        if (e.next.sourceRollup != e.trigger.rollupId) revert BadSource(index, e.next.sourceRollup);
        if (isCall(e.next) && e.next.rollupId == e.trigger.rollupId) revert CallToSelf(index);
        if (e.trigger.kind == RESULT) _checkReply(c, e, index);
        else if (e.replyTo != NONE) revert BadReplyTo(index, e.replyTo);
        if (e.trigger.kind == REVERT_CONTINUE) _checkContinue(core, c, e, index);
        else if (e.revertOf != NONE) revert BadRevertOf(index, e.revertOf);
        return e.next.end;
    }

    /// @dev Rule 4: the answer goes back along a call that stands before it.
    function _checkReply(Core memory c, EntryView memory e, uint256 index) private pure {
        if (e.parent == NONE) revert BadParent(index, NONE);
        if (e.replyTo >= index) revert BadReplyTo(index, e.replyTo);
        ActionView memory asked = c.entries[e.replyTo].next;
        ActionView memory answer = e.trigger;
        if (
            !isCall(asked) || asked.sourceRollup != answer.rollupId || asked.sourceAddress != answer.destination
                || asked.rollupId != answer.sourceRollup || asked.destination != answer.sourceAddress
        ) revert BadReplyTo(index, e.replyTo);
    }

    /// @dev Rule 5: it continues after a REVERT of its own rollup and scope, at the roots at which that scope was opened: those
    ///      after an entry of the same rollup on the way to the REVERT, whose next action lies in the scope and which does not.
    function _checkContinue(bytes memory core, Core memory c, EntryView memory e, uint256 index) private pure {
        if (e.revertOf >= index) revert BadRevertOf(index, e.revertOf);
        ActionView memory undone = c.entries[e.revertOf].next;
        uint64 owner = e.trigger.rollupId;
        if (undone.kind != REVERT || undone.rollupId != owner || !sameScope(core, undone, core, e.trigger)) {
            revert BadRevertOf(index, e.revertOf);
        }
        if (e.parent == NONE) revert BadParent(index, NONE);
        uint256 place = e.revertOf;
        while (place != e.parent) {
            place = c.entries[place].parent;
            if (place == NONE) revert BadParent(index, e.parent);
        }
        EntryView memory opener = c.entries[place];
        (uint256 scopeAt, uint256 length) = _frame(c, opener);
        if (
            opener.trigger.rollupId != owner || !isWithin(core, e.trigger, core, opener.next)
                || (length >= e.trigger.scopeLength
                    && scopePath(core, scopeAt, e.trigger.scopeLength)
                        == scopePath(core, e.trigger.scopeAt, e.trigger.scopeLength))
        ) revert BadParent(index, place);
    }

    /// @dev The scope in which an entry is met: that of the call which its trigger answers, the one around the scope that was
    ///      reverted, else none: a trigger begins.
    function _frame(Core memory c, EntryView memory e) private pure returns (uint256 scopeAt, uint256 length) {
        if (e.trigger.kind == RESULT) return (c.entries[e.replyTo].next.scopeAt, c.entries[e.replyTo].next.scopeLength);
        if (e.trigger.kind == REVERT_CONTINUE) return (e.trigger.scopeAt, e.trigger.scopeLength - 1);
    }

    /// @notice CALL or TRY_CALL.
    function isCall(ActionView memory a) internal pure returns (bool) {
        return a.kind <= TRY_CALL;
    }

    /// @notice Whether the scope of `inner` is that of `outer` or one inside it.
    function isWithin(bytes memory data, ActionView memory outer, bytes memory innerData, ActionView memory inner)
        internal
        pure
        returns (bool)
    {
        uint256 length = outer.scopeLength;
        return inner.scopeLength >= length
            && scopePath(data, outer.scopeAt, length) == scopePath(innerData, inner.scopeAt, length);
    }

    function sameScope(bytes memory data, ActionView memory a, bytes memory otherData, ActionView memory b)
        internal
        pure
        returns (bool)
    {
        return a.scopeLength == b.scopeLength && isWithin(data, a, otherData, b);
    }

    /// @notice The first `length` items of a scope as one number, the last item lowest; at most 7 of 32 bits.
    function scopePath(bytes memory data, uint256 scopeAt, uint256 length) internal pure returns (uint256) {
        return _word(data, scopeAt) >> (256 - 32 * length);
    }

    /// @notice Reads one packed action at `offset`; refuses unused fields that are not zero.
    function readAction(bytes memory data, uint256 offset) internal pure returns (ActionView memory a) {
        _read(data, offset, a);
    }

    function _read(bytes memory data, uint256 offset, ActionView memory a) private pure {
        if (offset + MIN_ACTION_BYTES > data.length) revert Truncated(offset);
        _fill(data, offset, a);
        if (a.kind > REVERT_CONTINUE) revert BadKind(offset, a.kind);
        if (a.scopeLength > MAX_SCOPE) revert ScopeTooLong(offset, a.scopeLength);
        // a wrong length field lies past the end and so does what it leads to
        if (a.dataAt > data.length) revert Truncated(a.dataAt);
        if (a.dataLength > MAX_ACTION_DATA) revert DataTooLong(offset, a.dataLength);
        if (a.end > data.length) revert Truncated(a.dataAt);
        _requireFields(a, offset);
    }

    /// @notice A packed action that is known to be well-formed: read by readAction before, or packed by the caller.
    function viewAction(bytes memory data, uint256 offset) internal pure returns (ActionView memory a) {
        _fill(data, offset, a);
    }

    function _fill(bytes memory data, uint256 offset, ActionView memory a) private pure {
        uint256 word = _word(data, offset);
        a.start = offset;
        a.kind = uint8(word >> 248);
        a.flags = uint8(word >> 240);
        a.rollupId = uint64(word >> 176);
        a.destination = address(uint160(word >> 16));
        word = _word(data, offset + 30);
        a.value = uint128(word >> 128);
        a.gasLimit = uint64(word >> 64);
        a.sourceRollup = uint64(word);
        word = _word(data, offset + 62);
        a.sourceAddress = address(uint160(word >> 96));
        a.scopeLength = uint8(word >> 88);
        unchecked {
            // offsets into memory, far below 2^64
            a.scopeAt = offset + 83;
            a.dataAt = a.scopeAt + 4 * a.scopeLength + 2;
            a.dataLength = uint16(_word(data, a.dataAt - 2) >> 240);
            a.end = a.dataAt + a.dataLength;
        }
    }

    /// @dev Each kind has the fields that it needs and no others (SPEC §5.1).
    function _requireFields(ActionView memory a, uint256 offset) private pure {
        uint8 kind = a.kind;
        uint8 allowed = kind == RESULT ? 1 : kind == TRY_CALL ? 2 : 0;
        if (a.flags & ~allowed != 0) revert BadActionFlags(offset, a.flags);
        if (kind == CALL) return;
        if (kind == TRY_CALL) {
            if (a.gasLimit == 0) revert MissingGas(offset);
            return;
        }
        // REVERT and REVERT_CONTINUE: a rollup about its own frames
        bool isOwn = kind >= REVERT;
        bool unused = a.value != 0 || (kind != L2TX && a.gasLimit != 0) || (!isOwn && a.scopeLength != 0)
            || (kind != RESULT && (a.destination != address(0) || a.sourceAddress != address(0)))
            || (kind == L2TX && a.sourceRollup != 0) || (isOwn && a.dataLength != 0);
        if (unused) revert UnusedFieldSet(offset);
        if (!isOwn) return;
        if (a.scopeLength == 0) revert MissingScope(offset);
        if (a.sourceRollup != a.rollupId) revert NotOwnFrame(offset, a.sourceRollup);
    }

    function _position(uint64[] memory lockset, uint64 id, uint256 index) private pure returns (uint256) {
        for (uint256 i = 0; i < lockset.length; i++) {
            if (lockset[i] == id) return i;
        }
        revert OwnerNotInLockset(index, id);
    }

    function _fieldElement(bytes memory data, uint256 offset) private pure returns (bytes32) {
        uint256 value = _word(data, offset);
        if (value >= FIELD) revert NotFieldElement(value);
        return bytes32(value);
    }

    /// @dev 32 bytes at an offset. Callers check bounds for the bits they use; what lies past the end is never used.
    function _word(bytes memory data, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 32), offset))
        }
    }
}
