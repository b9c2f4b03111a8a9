// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title FOR TESTS ONLY: a contract account of one owner that can call and delegate, like the ones people use.
contract SmallAccount {
    address public immutable OWNER;
    address public immutable ENTRY;

    error NotOwner(address caller);

    constructor(address owner, address entry) {
        (OWNER, ENTRY) = (owner, entry);
    }

    function execute(address to, uint256 value, bytes calldata data, bool delegate)
        external
        payable
        returns (bytes memory answer)
    {
        if (msg.sender != OWNER && msg.sender != ENTRY) revert NotOwner(msg.sender);
        bool ok;
        (ok, answer) = delegate ? to.delegatecall(data) : to.call{value: value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    receive() external payable {}
}

/// @title FOR TESTS ONLY: operations of many accounts in one transaction, each failing alone, as an ERC-4337 entry point runs them.
contract OperationBundle {
    struct Operation {
        SmallAccount account;
        address to;
        uint256 value;
        bytes data;
        bool delegate;
    }

    event OperationRan(uint256 index, bool ok, bytes answer);

    function handle(Operation[] calldata operations) external {
        for (uint256 i = 0; i < operations.length; i++) {
            Operation calldata o = operations[i];
            try o.account.execute(o.to, o.value, o.data, o.delegate) returns (bytes memory answer) {
                emit OperationRan(i, true, answer);
            } catch (bytes memory reason) {
                emit OperationRan(i, false, reason);
            }
        }
    }
}

/// @title FOR TESTS ONLY: an account without code of its own, which leads wherever its implementation is: how not to use a runner.
contract BlindProxy {
    address private immutable IMPLEMENTATION;

    constructor(address implementation) {
        IMPLEMENTATION = implementation;
    }

    fallback() external payable {
        (bool ok, bytes memory answer) = IMPLEMENTATION.delegatecall(msg.data);
        assembly ("memory-safe") {
            if ok { return(add(answer, 32), mload(answer)) }
            revert(add(answer, 32), mload(answer))
        }
    }

    receive() external payable {}
}
