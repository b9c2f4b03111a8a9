// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title FOR TESTS ONLY: an L1 contract that does what its call data says, so that a whole flow is written down in one table.
/// @notice call data: four bytes, then steps: `1 | swallow u8 | target b20 | value u128 | length u16 | data` calls, `2 | answer` returns the
///         rest, `3 | data` reverts with the rest, `4` burns all gas. Ends with an empty answer if no step ends it.
contract Scripted {
    /// @notice calls that were not undone
    uint256 public runs;
    /// @notice wei that came with them
    uint256 public received;

    fallback(bytes calldata program) external payable returns (bytes memory) {
        runs++;
        received += msg.value;
        for (uint256 here = 4; here < program.length;) {
            uint8 op = uint8(program[here]);
            if (op == 2) return program[here + 1:];
            if (op == 3) {
                bytes memory data = program[here + 1:];
                assembly ("memory-safe") {
                    revert(add(data, 32), mload(data))
                }
            }
            if (op == 4) {
                assembly {
                    invalid()
                }
            }
            here = _call(program, here);
        }
        return "";
    }

    function _call(bytes calldata program, uint256 here) private returns (uint256 next) {
        bool swallow = program[here + 1] != 0;
        address target = address(bytes20(program[here + 2:here + 22]));
        uint256 value = uint128(bytes16(program[here + 22:here + 38]));
        next = here + 40 + uint16(bytes2(program[here + 38:here + 40]));
        (bool ok, bytes memory answer) = target.call{value: value}(program[here + 40:next]);
        if (!ok && !swallow) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    receive() external payable {
        received += msg.value;
    }
}
