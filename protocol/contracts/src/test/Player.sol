// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title FOR TESTS ONLY: an L1 contract that plays, for each selector, the part that it was taught.
contract Player {
    struct Step {
        address target;
        uint256 value;
        bytes data;
        /// a failure of the step is swallowed
        bool mayFail;
    }

    /// 0 returns `answer`, 1 reverts with it, 2 returns the last step's answer, 3 returns as much as its gas allows, 4 reverts with
    /// as much, 5 burns its gas
    struct Part {
        Step[] steps;
        bytes answer;
        uint8 ending;
    }

    mapping(bytes4 selector => Part) private _parts;
    /// @notice How often each part was played to its end.
    mapping(bytes4 selector => uint256) public played;
    uint256 public received;
    address public lastCaller;
    /// @notice Whether each swallowed step succeeded, and what it answered.
    bool[] public outcomes;
    bytes public lastAnswer;

    function teach(bytes4 selector, Step[] calldata steps, bytes calldata answer, uint8 ending) external {
        delete _parts[selector];
        Part storage part = _parts[selector];
        for (uint256 i = 0; i < steps.length; i++) {
            part.steps.push(steps[i]);
        }
        part.answer = answer;
        part.ending = ending;
    }

    function outcomeCount() external view returns (uint256) {
        return outcomes.length;
    }

    fallback(bytes calldata) external payable returns (bytes memory) {
        received += msg.value;
        lastCaller = msg.sender;
        played[msg.sig]++;
        Part storage part = _parts[msg.sig];
        bytes memory answer = part.answer;
        for (uint256 i = 0; i < part.steps.length; i++) {
            Step storage step = part.steps[i];
            (bool ok, bytes memory said) = step.target.call{value: step.value}(step.data);
            if (!ok && !step.mayFail) _revert(said);
            if (step.mayFail) outcomes.push(ok);
            lastAnswer = said;
            if (part.ending == 2) answer = said;
        }
        if (part.ending == 1) _revert(answer);
        if (part.ending >= 3) _explode(part.ending);
        return answer;
    }

    receive() external payable {
        received += msg.value;
    }

    function _revert(bytes memory data) private pure {
        assembly ("memory-safe") {
            revert(add(data, 32), mload(data))
        }
    }

    /// @dev Memory costs 3 gas a word and the square of the words over 512.
    function _explode(uint8 ending) private view {
        assembly {
            let words := 100
            for { } lt(add(mul(mul(words, 4), 3), div(mul(mul(words, words), 4), 512)), gas()) { } { words := mul(words, 2) }
            words := div(words, 2)
            switch ending
            case 3 { return(0, mul(words, 32)) }
            case 4 { revert(0, mul(words, 32)) }
            default { invalid() }
        }
    }
}
