// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// One contract that shows each property of an L1 that the node relies on.
contract Probe {
    error Refused(uint256 code, address who);

    event Stored(uint256 indexed slot, uint256 value);
    event Numbered(uint256 indexed index);

    uint256 transient lane;
    mapping(uint256 => uint256) public values;

    constructor() payable {}

    receive() external payable {}

    function setLane(uint256 value) external {
        lane = value;
    }

    function readLane() external view returns (uint256) {
        return lane;
    }

    /// Transient values are visible to a later call of the same transaction.
    function setAndReadLane(uint256 value) external returns (uint256) {
        lane = value;
        return this.readLane();
    }

    function setLaneAndFail(uint256 value) external {
        lane = value;
        revert Refused(value, msg.sender);
    }

    /// A reverted inner call takes its transient write with it.
    function laneAfterInnerRevert(uint256 kept, uint256 lost) external returns (uint256) {
        lane = kept;
        try this.setLaneAndFail(lost) {} catch {}
        return lane;
    }

    function store(uint256 slot, uint256 value) external {
        values[slot] = value;
        emit Stored(slot, value);
    }

    function emitMany(uint256 count) external {
        for (uint256 i = 0; i < count; i++) emit Numbered(i);
    }

    function storeMany(uint256 first, uint256 count) external {
        for (uint256 i = 0; i < count; i++) values[first + i] = i + 1;
    }

    function sumMany(uint256 first, uint256 count) external view returns (uint256 total) {
        for (uint256 i = 0; i < count; i++) total += values[first + i];
    }

    function refuse(uint256 code) external view {
        revert Refused(code, msg.sender);
    }

    function refuseWithReason() external pure {
        revert("no such luck");
    }

    function panic(uint256 zero) external pure returns (uint256) {
        return 1 / zero;
    }

    function halt() external pure {
        assembly {
            invalid()
        }
    }

    function pairing(bytes calldata input) external view returns (bool ok, uint256 answer) {
        bytes memory output;
        (ok, output) = address(8).staticcall{gas: 500000}(input);
        answer = output.length == 32 ? abi.decode(output, (uint256)) : 0;
    }

    function environment()
        external
        view
        returns (uint256 timestamp, uint256 number, uint256 chain, bytes32 parent, uint256 balance, address sender)
    {
        return (block.timestamp, block.number, block.chainid, blockhash(block.number - 1), address(this).balance, msg.sender);
    }

    function forward(address payable to, uint256 value, bytes calldata data) external payable returns (bytes memory) {
        (bool ok, bytes memory output) = to.call{value: value}(data);
        if (!ok) {
            assembly {
                revert(add(output, 32), mload(output))
            }
        }
        return output;
    }

    function spawn() external returns (address child) {
        child = address(new Child(values[0]));
        emit Stored(uint256(uint160(child)), values[0]);
    }
}

contract Child {
    uint256 public immutable seed;

    constructor(uint256 seed_) {
        seed = seed_;
    }
}
