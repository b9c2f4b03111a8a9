// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {IRollups} from "./interfaces/IRollups.sol";

/// @title Loads tables and makes calls that meet them, as the user's own account, in one transaction (SPEC §8).
/// @notice Code for an account to run, without storage: the delegate of an EOA (EIP-7702), or reached by DELEGATECALL from a
///         contract account. Dapps see the account as their caller. Whatever it may do, the account may do: so it obeys only the
///         account itself, and a contract account only where that account's own code chose to come here.
///         Never make it the implementation of a proxy: such an account would have no code that says no.
contract BundleRunner {
    /// @notice A table; each part as in IRollups.loadAndRun, which gets no triggers: `calls` are what meets the table.
    struct Load {
        bytes core;
        bytes proofs;
        bytes expects;
        /// empty if the table is not paid for here
        bytes settlement;
    }

    struct Call {
        address to;
        uint256 value;
        bytes data;
    }

    /// @dev code of an EOA with a delegate: this prefix and an address
    bytes3 private constant DELEGATION = 0xef0100;
    uint256 private constant DELEGATION_BYTES = 23;
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    address private immutable RUNNER = address(this);

    error NotTheAccount(address caller);
    error NotARunnerItself();

    modifier onlyAccount() {
        if (address(this) == RUNNER) revert NotARunnerItself();
        if (msg.sender != address(this) && _isDelegated()) revert NotTheAccount(msg.sender);
        _;
    }

    /// @notice All or nothing: checks expectations and loads every table, makes the calls in order, then pays for the tables and
    ///         ends them, so that nobody later in the transaction meets what is left of them. A call that fails reverts with its data.
    /// @dev Needs no reentrancy guard: a callee is not the account, and what it does as itself it could do anyway.
    /// @return answers of the calls
    function run(IRollups rollups, Load[] calldata loads, Call[] calldata calls)
        external
        payable
        onlyAccount
        returns (bytes[] memory answers)
    {
        for (uint256 i = 0; i < loads.length; i++) {
            rollups.loadAndRun(loads[i].core, loads[i].proofs, loads[i].expects, "", "");
        }
        answers = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            bool ok;
            (ok, answers[i]) = calls[i].to.call{value: calls[i].value}(calls[i].data);
            if (!ok) _bubble(answers[i]);
        }
        for (uint256 i = 0; i < loads.length; i++) {
            bytes32 coreId = ActionHash.coreId(loads[i].core);
            if (loads[i].settlement.length != 0) rollups.settleLoaded(coreId, loads[i].settlement);
            rollups.closeTable(coreId);
        }
    }

    /// @notice ERC-1271 for an EOA that has this code: its own key signs, as it did before it had code.
    /// @param signature r | s | v, low s, v 27 or 28
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length == 65 && uint256(bytes32(signature[32:64])) <= HALF_ORDER) {
            address signer =
                ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
            if (signer != address(0) && signer == address(this)) return this.isValidSignature.selector;
        }
        return 0xffffffff;
    }

    // An EOA accepts ether and tokens from anybody; with code it must say so.

    receive() external payable {}

    function onERC721Received(address, address, uint256, bytes calldata) external pure returns (bytes4) {
        return this.onERC721Received.selector;
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external pure returns (bytes4) {
        return this.onERC1155Received.selector;
    }

    function onERC1155BatchReceived(address, address, uint256[] calldata, uint256[] calldata, bytes calldata)
        external
        pure
        returns (bytes4)
    {
        return this.onERC1155BatchReceived.selector;
    }

    /// @dev Whether the account is an EOA with some delegate. Then no code but the delegate's stands between it and the caller, even
    ///      if the delegate is a proxy that leads here.
    function _isDelegated() private view returns (bool) {
        bytes memory code = address(this).code;
        return code.length == DELEGATION_BYTES && bytes3(code) == DELEGATION;
    }

    function _bubble(bytes memory reason) private pure {
        assembly ("memory-safe") {
            revert(add(reason, 32), mload(reason))
        }
    }
}
