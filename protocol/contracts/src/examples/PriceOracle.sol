// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title An L1 price that rollups can ask for; anybody may set it. For demonstrations and tests.
contract PriceOracle {
    uint256 public price;

    event PriceSet(uint256 price);

    constructor(uint256 initial) {
        price = initial;
    }

    function setPrice(uint256 newPrice) external {
        price = newPrice;
        emit PriceSet(newPrice);
    }
}
