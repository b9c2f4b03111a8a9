// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title FOR TESTS ONLY: a contract account that answers ERC-1271 questions as told, and does what it is told.
contract OddSigner {
    /// 0 yes; 1 no; 2 two words; 3 a word with more behind the magic value; 4 nothing; 5 burns its gas; 6 reverts with a lot; 7 returns a
    /// lot; 8 re-enters; 9 yes, after burning most of what it gets; 10 true
    uint256 public mode;
    /// only this digest, if it is not 0
    bytes32 public only;
    address public target;
    bytes public data;

    error ReentranceSucceeded();

    function set(uint256 mode_) external {
        mode = mode_;
    }

    function signOnly(bytes32 digest) external {
        only = digest;
    }

    function instruct(address target_, bytes calldata data_) external {
        target = target_;
        data = data_;
    }

    function act(address to, bytes calldata what) external payable {
        (bool ok, bytes memory answer) = to.call{value: msg.value}(what);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        uint256 m = mode;
        if (only != 0 && digest != only) return bytes4(0xffffffff);
        if (m == 8) {
            (bool ok,) = target.staticcall(data);
            if (ok) revert ReentranceSucceeded();
        }
        if (m == 9) {
            uint256 left = gasleft();
            while (gasleft() > left / 10) {}
        }
        assembly {
            mstore(0, shl(224, 0x1626ba7e))
            switch m
            case 1 {
                mstore(0, shl(224, 0xffffffff))
                return(0, 32)
            }
            case 2 { return(0, 64) }
            case 3 {
                mstore(0, or(shl(224, 0x1626ba7e), 1))
                return(0, 32)
            }
            case 4 { return(0, 0) }
            case 5 { invalid() }
            case 6 { revert(0, 8192) }
            case 7 { return(0, 8192) }
            case 10 {
                mstore(0, 1)
                return(0, 32)
            }
            default { return(0, 32) }
        }
    }

    /// @dev Paid: makes the call it was told to make, whose failure it swallows.
    receive() external payable {
        if (target != address(0)) {
            (bool ok,) = target.call(data);
            if (ok) revert ReentranceSucceeded();
        }
    }
}
