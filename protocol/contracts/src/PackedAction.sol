// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The fields of a packed action that begins at some offset of some bytes (SPEC §5.1).
/// @notice An action is never unpacked: whoever needs a field reads it where it lies. Bounds are checked once, by CoreCodec, or hold
///         because the caller packed the action itself; what lies past the end of the bytes is read but never used.
library PackedAction {
    uint8 internal constant CALL = 0;
    uint8 internal constant TRY_CALL = 1;
    uint8 internal constant RESULT = 2;
    uint8 internal constant L2TX = 3;
    uint8 internal constant REVERT = 4;
    uint8 internal constant REVERT_CONTINUE = 5;

    uint256 internal constant MAX_DATA = 1024;
    uint256 internal constant MAX_SCOPE = 7;
    /// @dev bytes of an action with neither scope nor data
    uint256 internal constant MIN_BYTES = 85;
    uint8 internal constant FAILED = 1;
    uint8 internal constant OPAQUE = 2;

    /// @notice 32 bytes at an offset.
    function word(bytes memory data, uint256 start) internal pure returns (uint256 result) {
        assembly ("memory-safe") {
            result := mload(add(add(data, 32), start))
        }
    }

    function kind(bytes memory data, uint256 start) internal pure returns (uint8) {
        return uint8(word(data, start) >> 248);
    }

    function flags(bytes memory data, uint256 start) internal pure returns (uint8) {
        return uint8(word(data, start) >> 240);
    }

    function rollupId(bytes memory data, uint256 start) internal pure returns (uint64) {
        return uint64(word(data, start) >> 176);
    }

    function destination(bytes memory data, uint256 start) internal pure returns (address) {
        return address(uint160(word(data, start) >> 16));
    }

    /// @notice Rollup and address of the target as one number, `rollupId * 2^160 + address`.
    function target(bytes memory data, uint256 start) internal pure returns (uint256) {
        return word(data, start) << 16 >> 32;
    }

    /// @notice wei
    function amount(bytes memory data, uint256 start) internal pure returns (uint128) {
        return uint128(_offset(data, start, 30) >> 128);
    }

    function gasLimit(bytes memory data, uint256 start) internal pure returns (uint64) {
        return uint64(_offset(data, start, 30) >> 64);
    }

    function sourceRollup(bytes memory data, uint256 start) internal pure returns (uint64) {
        return uint64(_offset(data, start, 30));
    }

    function sourceAddress(bytes memory data, uint256 start) internal pure returns (address) {
        return address(uint160(_offset(data, start, 62) >> 96));
    }

    /// @notice Rollup and address of the source as one number.
    function source(bytes memory data, uint256 start) internal pure returns (uint256) {
        return _offset(data, start, 54) >> 32;
    }

    /// @notice Items of the scope.
    function scopeLength(bytes memory data, uint256 start) internal pure returns (uint256) {
        return uint8(_offset(data, start, 82) >> 248);
    }

    /// @notice Where the scope begins, four bytes an item.
    function scopeAt(uint256 start) internal pure returns (uint256) {
        unchecked {
            return start + 83;
        }
    }

    /// @notice Where the data begin.
    function dataAt(bytes memory data, uint256 start) internal pure returns (uint256) {
        unchecked {
            return start + MIN_BYTES + 4 * scopeLength(data, start);
        }
    }

    /// @param dataAt_ where they begin
    function dataLength(bytes memory data, uint256 dataAt_) internal pure returns (uint256) {
        unchecked {
            return word(data, dataAt_ - 2) >> 240;
        }
    }

    /// @notice The offset after the last byte.
    function end(bytes memory data, uint256 start) internal pure returns (uint256) {
        unchecked {
            uint256 begins = dataAt(data, start);
            return begins + dataLength(data, begins);
        }
    }

    /// @notice CALL or TRY_CALL.
    function isCall(bytes memory data, uint256 start) internal pure returns (bool) {
        return kind(data, start) <= TRY_CALL;
    }

    /// @notice An L2TX that takes from the forced queue.
    function isForced(bytes memory data, uint256 start) internal pure returns (bool) {
        return kind(data, start) == L2TX && gasLimit(data, start) != 0;
    }

    /// @notice The first `length` items of an action's scope as one number, the last item lowest; at most 7 of 32 bits.
    function scopePath(bytes memory data, uint256 start, uint256 length) internal pure returns (uint256) {
        return word(data, scopeAt(start)) >> (256 - 32 * length);
    }

    /// @notice Whether the scope of the action at `inner` is that of the one at `outer` or one inside it.
    function isWithin(bytes memory data, uint256 outer, uint256 inner) internal pure returns (bool) {
        uint256 length = scopeLength(data, outer);
        return scopeLength(data, inner) >= length && scopePath(data, outer, length) == scopePath(data, inner, length);
    }

    /// @notice Whether two actions have the same scope.
    function sameScope(bytes memory data, uint256 start, uint256 other) internal pure returns (bool) {
        return scopeLength(data, start) == scopeLength(data, other) && isWithin(data, start, other);
    }

    /// @notice A copy of `length` bytes, which must lie inside.
    function slice(bytes memory data, uint256 offset, uint256 length) internal pure returns (bytes memory part) {
        assembly ("memory-safe") {
            part := mload(64)
            mstore(part, length)
            mcopy(add(part, 32), add(add(data, 32), offset), length)
            mstore(64, add(part, and(add(length, 63), not(31))))
        }
    }

    /// @notice The bytes of the data.
    function payload(bytes memory data, uint256 start) internal pure returns (bytes memory) {
        uint256 begins = dataAt(data, start);
        return slice(data, begins, dataLength(data, begins));
    }

    /// @notice The packed action itself.
    function copy(bytes memory data, uint256 start) internal pure returns (bytes memory) {
        unchecked {
            return slice(data, start, end(data, start) - start);
        }
    }

    function _offset(bytes memory data, uint256 start, uint256 field) private pure returns (uint256) {
        unchecked {
            return word(data, start + field);
        }
    }
}
