// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title FOR TESTS ONLY: an ERC-20 token that anybody mints; it can be told to take a fee or to refuse.
contract TestToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    uint256 public fee;
    bool public refuses;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function set(uint256 fee_, bool refuses_) external {
        (fee, refuses) = (fee_, refuses_);
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        if (refuses) return false;
        balanceOf[from] -= amount;
        balanceOf[to] += amount - fee;
        return true;
    }
}
