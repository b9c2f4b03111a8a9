// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title FOR TESTS ONLY: an L1 contract whose one function does what it was told to do.
contract Puppet {
    address public target;
    uint256 public value;
    bytes public data;
    uint256 public answerLength;
    uint256 public received;
    address public lastCaller;
    bool public fails;
    bool public swallows;

    error ToldToFail(uint256 code);

    function instruct(address target_, uint256 value_, bytes calldata data_) external {
        target = target_;
        value = value_;
        data = data_;
    }

    function failAlways(bool fails_) external {
        fails = fails_;
    }

    function swallowFailures(bool swallows_) external {
        swallows = swallows_;
    }

    function answerWith(uint256 length) external {
        answerLength = length;
    }

    /// @dev Any other call: counts ether, then makes the call it was told to make and returns its answer.
    fallback(bytes calldata) external payable returns (bytes memory) {
        received += msg.value;
        lastCaller = msg.sender;
        if (fails) revert ToldToFail(42);
        if (answerLength != 0) return new bytes(answerLength);
        if (target == address(0)) return "";
        (bool ok, bytes memory answer) = target.call{value: value}(data);
        if (!ok && !swallows) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }

    receive() external payable {
        received += msg.value;
    }
}

/// @title FOR TESTS ONLY: a proof system that misbehaves as told.
contract OddProofSystem {
    /// 0 false, 1 true, 2 a word that is not a bool, 3 too long, 4 reverts, 5 burns its gas, 6 nothing, 7 reverts with a lot
    uint256 public mode;

    error Odd(uint256 mode);

    function set(uint256 newMode) external {
        mode = newMode;
    }

    function verify(bytes32, bytes32, bytes calldata, bytes calldata) external view {
        uint256 m = mode;
        if (m == 4) revert Odd(m);
        assembly {
            mstore(0, 1)
            switch m
            case 0 {
                mstore(0, 0)
                return(0, 32)
            }
            case 1 { return(0, 32) }
            case 2 {
                mstore(0, 2)
                return(0, 32)
            }
            case 3 { return(0, 64) }
            case 5 { invalid() }
            case 7 { revert(0, 4096) }
        }
    }
}

/// @title FOR TESTS ONLY: several calls in one transaction.
contract Bundle {
    struct Step {
        address to;
        uint256 value;
        bytes data;
    }

    function run(Step[] calldata steps) external payable {
        for (uint256 i = 0; i < steps.length; i++) {
            (bool ok, bytes memory answer) = steps[i].to.call{value: steps[i].value}(steps[i].data);
            if (!ok) {
                assembly ("memory-safe") {
                    revert(add(answer, 32), mload(answer))
                }
            }
        }
    }

    receive() external payable {}
}

/// @title FOR TESTS ONLY: an account that refuses payment.
contract Refuser {
    function call(address to, bytes calldata data) external payable {
        (bool ok, bytes memory answer) = to.call{value: msg.value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}
