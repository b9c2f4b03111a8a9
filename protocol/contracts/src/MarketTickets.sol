// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {MarketSignatures} from "./MarketSignatures.sol";

/// @title Tickets and credits. What the contract holds is what tickets hold and credits say, at any time.
abstract contract MarketTickets is MarketSignatures {
    /// @notice wei of a ticket of class 0; each class holds four times the one before.
    uint96 public constant TICKET_UNIT = 1e15;
    uint8 public constant MAX_CLASS = 15;
    uint32 private constant MAX_TICKETS = 256;

    /// @dev bits of Ticket.holds
    uint8 internal constant FUNDED = 1;
    uint8 internal constant BONDED = 2;

    /// @dev One slot: a payment writes no other but the two credits.
    struct Ticket {
        uint8 class;
        uint8 holds;
        uint40 withdrawableAt;
        uint200 paidFor;
    }

    mapping(address owner => mapping(uint32 ticket => Ticket)) internal _tickets;
    /// @inheritdoc IProofMarket
    mapping(address owner => uint32) public override ticketCount;
    /// @dev wei plus one, 0 for accounts that never had a credit: paying one that collected writes to a slot that is not empty
    mapping(address account => uint256) private _credits;

    /// @inheritdoc IProofMarket
    function deposit(uint8 class, uint32 count) external payable override returns (uint32 first) {
        if (class > MAX_CLASS || count == 0 || count > MAX_TICKETS || msg.value != 2 * uint256(_cap(class)) * count) {
            revert BadDeposit(class, count, msg.value);
        }
        first = ticketCount[msg.sender];
        ticketCount[msg.sender] = first + count;
        for (uint32 i = 0; i < count; i++) {
            _tickets[msg.sender][first + i] = Ticket(class, FUNDED | BONDED, 0, 0);
        }
        // so that the rest of a ticket that pays is cheap to credit
        _credit(msg.sender, 0);
        emit TicketsDeposited(msg.sender, first, count, class, _cap(class));
    }

    /// @inheritdoc IProofMarket
    function requestWithdraw(uint32 ticket) external override {
        Ticket storage t = _tickets[msg.sender][ticket];
        if (t.holds == 0) revert NoTicket(msg.sender, ticket);
        // asking again does not postpone
        if (t.withdrawableAt == 0) t.withdrawableAt = uint40(block.timestamp + WITHDRAW_DELAY);
        emit WithdrawRequested(msg.sender, ticket, t.withdrawableAt);
    }

    /// @inheritdoc IProofMarket
    function withdraw(uint32 ticket) external override {
        Ticket memory t = _tickets[msg.sender][ticket];
        if (t.holds == 0) revert NoTicket(msg.sender, ticket);
        if (t.withdrawableAt == 0) revert WithdrawNotRequested(msg.sender, ticket);
        if (block.timestamp < t.withdrawableAt) revert WithdrawTooEarly(t.withdrawableAt, block.timestamp);
        (uint96 amount, uint96 bond) = (_held(t), _bond(t));
        _tickets[msg.sender][ticket].holds = 0;
        _credit(msg.sender, uint256(amount) + bond);
        emit TicketWithdrawn(msg.sender, ticket, amount, bond);
    }

    /// @inheritdoc IProofMarket
    function collect(address account) external override {
        uint256 amount = payoutOf(account);
        if (amount == 0) revert NothingToCollect(account);
        _credits[account] = 1;
        (bool ok,) = account.call{value: amount}("");
        if (!ok) revert PaymentFailed(account);
        emit Collected(account, amount);
    }

    // --- inside

    function _cap(uint8 class) internal pure returns (uint96) {
        // at most 10^15 * 4^15 < 2^81
        return TICKET_UNIT << (2 * class);
    }

    /// @dev What a ticket can pay.
    function _held(Ticket memory t) internal pure returns (uint96) {
        return t.holds & FUNDED != 0 ? _cap(t.class) : 0;
    }

    function _bond(Ticket memory t) internal pure returns (uint96) {
        return t.holds & BONDED != 0 ? _cap(t.class) : 0;
    }

    function _tag(bytes32 agreed, bytes32 coreId) internal pure returns (uint200) {
        return uint200(uint256(keccak256(abi.encode(agreed, coreId))) >> 56);
    }

    function _requireFunded(Ticket memory t, address owner, uint32 ticket, uint96 wanted) internal pure {
        uint96 held = _held(t);
        if (held == 0 || held < wanted) revert Unfunded(owner, ticket, wanted, held);
    }

    /// @dev Uses a ticket up: `amount` of it to `to`, the rest to its owner. Its bond stays for WITHDRAW_DELAY, in which the others to
    ///      whom it was promised can come.
    function _spend(Ticket memory t, address owner, uint32 ticket, uint96 amount, address to, uint200 tag) internal {
        uint96 rest = _cap(t.class) - amount;
        uint40 withdrawableAt = t.withdrawableAt == 0 ? uint40(block.timestamp + WITHDRAW_DELAY) : t.withdrawableAt;
        _tickets[owner][ticket] = Ticket(t.class, t.holds & ~FUNDED, withdrawableAt, tag);
        if (amount != 0) _credit(to, amount);
        if (rest != 0) _credit(owner, rest);
    }

    function _credit(address account, uint256 amount) internal {
        uint256 stored = _credits[account];
        if (stored == 0) _credits[account] = amount + 1;
        else if (amount != 0) _credits[account] = stored + amount;
    }

    // --- views

    /// @inheritdoc IProofMarket
    function payoutOf(address account) public view override returns (uint256) {
        uint256 stored = _credits[account];
        return stored == 0 ? 0 : stored - 1;
    }

    /// @inheritdoc IProofMarket
    function ticketOf(address owner, uint32 ticket) external view override returns (TicketView memory) {
        Ticket memory t = _tickets[owner][ticket];
        return TicketView(t.class, _held(t), _bond(t), t.withdrawableAt, t.paidFor);
    }

    /// @inheritdoc IProofMarket
    function isPaid(address owner, uint32 ticket, bytes32 agreement, bytes32 coreId)
        external
        view
        override
        returns (bool)
    {
        return _tickets[owner][ticket].paidFor == _tag(agreement, coreId);
    }
}
