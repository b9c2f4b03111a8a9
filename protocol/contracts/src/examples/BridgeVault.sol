// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRollupsExecution} from "../interfaces/IRollupsExecution.sol";

interface IERC20 {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// @title L1 end of a bridge for one ERC-20 token; the other end is the program `bridge` of the table VM.
/// @notice The tokens held here are the coins that exist there. A deposit calls the program, a withdrawal is called by it: both happen
///         in one flow or not at all, so neither end ever waits for the other.
contract BridgeVault {
    IRollupsExecution public immutable rollups;
    IERC20 public immutable token;
    uint64 public immutable rollupId;
    address public immutable program;
    /// @notice The only caller of `release`: it speaks for the program on L1.
    address public immutable proxy;

    event Deposited(address indexed from, uint256 indexed to, uint256 amount);
    event Released(address indexed to, uint256 amount);

    error NotTheProgram(address caller);
    error TransferFailed(uint256 amount);
    error OtherAmount(uint256 wanted, uint256 came);

    constructor(address rollups_, address token_, uint64 rollupId_, address program_) {
        rollups = IRollupsExecution(rollups_);
        token = IERC20(token_);
        rollupId = rollupId_;
        program = program_;
        proxy = IRollupsExecution(rollups_).computeProxyAddress(program_, rollupId_);
    }

    /// @notice Takes tokens and has the program credit them. A token that takes a fee is refused.
    /// @param to endpoint on the rollup's side: rollupId * 2^160 + address; an L1 address is one
    function deposit(uint256 to, uint256 amount) external {
        uint256 before = token.balanceOf(address(this));
        _require(token.transferFrom(msg.sender, address(this), amount), amount);
        uint256 came = token.balanceOf(address(this)) - before;
        if (came != amount) revert OtherAmount(amount, came);
        rollups.callL2(rollupId, program, abi.encodeWithSignature("credited(uint256,uint256)", to, amount));
        emit Deposited(msg.sender, to, amount);
    }

    /// @notice Pays out, by the program alone. A failure undoes the withdrawal on the rollup, too.
    function release(address to, uint256 amount) external {
        if (msg.sender != proxy) revert NotTheProgram(msg.sender);
        _require(token.transfer(to, amount), amount);
        emit Released(to, amount);
    }

    function _require(bool done, uint256 amount) private pure {
        if (!done) revert TransferFailed(amount);
    }
}
