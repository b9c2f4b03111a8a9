// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {IRollups} from "./interfaces/IRollups.sol";

/// @title ProofMarket: tickets and settlement (SPEC §8.2). Deployed by Rollups, which is the only caller of `settle`.
contract ProofMarket is IProofMarket {
    uint64 public constant WITHDRAW_DELAY = 7200;
    uint64 public constant SLASH_WINDOW = 3600;
    uint256 private constant MAX_TICKETS = 256;
    uint256 private constant SETTLEMENT_BYTES = 407;
    uint256 private constant ACK_BYTES = 73;
    /// @dev half of the order of secp256k1: a signature has one form only
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    bytes32 private constant AGREEMENT_TYPE = keccak256(
        "Agreement(bytes32 requestId,uint8 rank,address requester,uint32 requesterTicket,address prover,uint32 proverTicket,address payee,uint96 priceWei,uint96 bondWei,bytes32 statementCommit,bytes32 payloadCommit,bytes32 familyHash,uint64 ackBy,uint64 deliverBy,uint64 claimBy)"
    );
    bytes32 private constant ACK_TYPE = keccak256("Ack(bytes32 agreementHash,bytes32 payloadCommit,uint64 ackAt)");

    /// @dev withdrawableAt of a ticket that paid: long past, so that the rest can be taken out at once
    uint64 private constant SPENT = 1;

    uint8 private constant DELIVERED = 1;
    uint8 private constant SLASHED = 2;
    uint8 private constant CANCELLED = 4;

    IRollups private immutable ROLLUPS;
    bytes32 private immutable DOMAIN;

    mapping(address owner => mapping(uint32 ticket => Ticket)) private _tickets;
    mapping(address owner => uint32) public override ticketCount;
    mapping(address account => uint256) public override payoutOf;
    /// @dev by requester and request id: anybody can sign agreements about somebody else's request id
    mapping(bytes32 requestKey => bytes32 agreementHash) private _settled;
    mapping(bytes32 agreementHash => uint8) private _flags;

    constructor() {
        ROLLUPS = IRollups(msg.sender);
        DOMAIN = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Unveto"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
    }

    // --- tickets

    /// @inheritdoc IProofMarket
    function deposit(uint32 count) external payable override returns (uint32 first) {
        if (count == 0 || count > MAX_TICKETS || msg.value == 0 || msg.value % count != 0) {
            revert BadDeposit(count, msg.value);
        }
        uint256 each = msg.value / count;
        if (each > type(uint96).max) revert BadDeposit(count, msg.value);
        first = ticketCount[msg.sender];
        ticketCount[msg.sender] = first + count;
        for (uint32 i = 0; i < count; i++) {
            _tickets[msg.sender][first + i].amount = uint96(each);
        }
        emit TicketsDeposited(msg.sender, first, count, uint96(each));
    }

    /// @inheritdoc IProofMarket
    function requestWithdraw(uint32 ticket) external override {
        Ticket storage t = _live(msg.sender, ticket);
        // asking again does not postpone
        if (t.withdrawableAt == 0) t.withdrawableAt = uint64(block.timestamp) + WITHDRAW_DELAY;
        emit WithdrawRequested(msg.sender, ticket, t.withdrawableAt);
    }

    /// @inheritdoc IProofMarket
    function withdraw(uint32 ticket) external override {
        Ticket storage t = _live(msg.sender, ticket);
        if (t.withdrawableAt == 0) revert WithdrawNotRequested(msg.sender, ticket);
        if (block.timestamp < t.withdrawableAt) revert WithdrawTooEarly(t.withdrawableAt, block.timestamp);
        uint96 amount = t.amount;
        t.amount = 0;
        payoutOf[msg.sender] += amount;
        emit TicketWithdrawn(msg.sender, ticket, amount);
    }

    function _live(address owner, uint32 ticket) private view returns (Ticket storage t) {
        t = _tickets[owner][ticket];
        if (t.amount == 0) revert NoTicket(owner, ticket);
    }

    /// @dev What a ticket can still pay.
    function _held(address owner, uint32 ticket) private view returns (uint96) {
        Ticket storage t = _tickets[owner][ticket];
        return t.withdrawableAt == SPENT ? 0 : t.amount;
    }

    /// @dev Uses a ticket up: `amount` of what it holds to an account; the rest stays and can be withdrawn at once.
    function _spend(address owner, uint32 ticket, uint256 held, uint96 amount, address to) private {
        _tickets[owner][ticket] = Ticket(uint96(held - amount), SPENT);
        if (amount != 0) payoutOf[to] += amount;
    }

    // --- payment

    /// @inheritdoc IProofMarket
    function settle(
        bytes32 coreId,
        bytes32 agreed,
        address payee,
        bytes32 familyHash,
        bytes calldata settlement
    ) external override {
        if (msg.sender != address(ROLLUPS)) revert NotRollups(msg.sender);
        Agreement memory a = _read(settlement);
        _checkBinding(a, settlement, coreId, agreed, payee, familyHash);
        bytes32 requestKey = _requestKey(a.requester, a.requestId);
        bytes32 paid = _settled[requestKey];
        if (paid == agreed) return;
        // else a requester could settle its request by an agreement with itself and use this proof for nothing
        if (paid != 0) revert RequestSettled(paid);
        if (block.timestamp > a.claimBy) revert AgreementExpired(a.claimBy, block.timestamp);
        if (_flags[agreed] & CANCELLED != 0) revert AgreementIsCancelled(agreed);
        uint256 held = _held(a.requester, a.requesterTicket);
        if (held == 0 || held < a.priceWei) revert Unfunded(a.requester, a.requesterTicket, a.priceWei, held);
        _checkSignatures(a, agreed, settlement);
        _pay(a, agreed, requestKey, held, coreId, false);
    }

    /// @inheritdoc IProofMarket
    function claimWithProof(bytes calldata core, bytes calldata proofs, bytes calldata settlement) external override {
        Agreement memory a = _read(settlement);
        bytes32 agreed = _digest(a);
        if (block.timestamp > a.claimBy) revert AgreementExpired(a.claimBy, block.timestamp);
        if (_flags[agreed] & DELIVERED != 0) revert AlreadyDelivered(agreed);
        bytes32 requestKey = _requestKey(a.requester, a.requestId);
        if (_settled[requestKey] == agreed) revert AlreadySettled(agreed);
        _checkSignatures(a, agreed, settlement);
        uint64 time = a.ackBy < block.timestamp ? a.ackBy : uint64(block.timestamp);
        (bytes32 coreId, address payee, bytes32 proven, bytes32 familyHash) = ROLLUPS.checkProofs(core, proofs, time);
        _checkBinding(a, settlement, coreId, proven, payee, familyHash);
        uint256 held = _held(a.requester, a.requesterTicket);
        bool canPay = _settled[requestKey] == 0 && _flags[agreed] & CANCELLED == 0 && held != 0 && held >= a.priceWei;
        _flags[agreed] |= DELIVERED;
        if (canPay) _pay(a, agreed, requestKey, held, coreId, true);
        else emit DeliveredUnpaid(agreed, a.requestId, coreId);
    }

    function _pay(
        Agreement memory a,
        bytes32 agreed,
        bytes32 requestKey,
        uint256 held,
        bytes32 coreId,
        bool byClaim
    ) private {
        _settled[requestKey] = agreed;
        _spend(a.requester, a.requesterTicket, held, a.priceWei, a.payee);
        emit AgreementSettled(agreed, a.requestId, a.payee, a.priceWei, coreId, byClaim);
    }

    /// @dev What was proven is what was agreed: hash, payee, families, and the statement that the salt opens.
    function _checkBinding(
        Agreement memory a,
        bytes calldata settlement,
        bytes32 coreId,
        bytes32 proven,
        address payee,
        bytes32 familyHash
    ) private view {
        bytes32 agreed = _digest(a);
        if (proven != agreed) revert AgreementMismatch(proven, agreed);
        if (payee != a.payee) revert PayeeMismatch(a.payee, payee);
        if (familyHash != a.familyHash) revert FamilyMismatch(a.familyHash, familyHash);
        bytes32 salt = bytes32(settlement[245:277]);
        bytes32 opened = keccak256(abi.encode(ActionHash.D_STATEMENT, salt, coreId));
        if (opened != a.statementCommit) revert StatementMismatch(a.statementCommit, opened);
    }

    // --- fault

    /// @inheritdoc IProofMarket
    function slash(bytes calldata settlement, bytes calldata ack) external override {
        Agreement memory a = _read(settlement);
        bytes32 agreed = _digest(a);
        if (ack.length != ACK_BYTES) revert MalformedAck(ack.length);
        uint64 ackAt = uint64(bytes8(ack[:8]));
        if (block.timestamp <= a.claimBy) revert SlashTooEarly(a.claimBy, block.timestamp);
        if (block.timestamp > uint256(a.claimBy) + SLASH_WINDOW) {
            revert SlashTooLate(a.claimBy + SLASH_WINDOW, block.timestamp);
        }
        if (ackAt > a.ackBy) revert LateAck(a.ackBy, ackAt);
        if (_flags[agreed] & SLASHED != 0) revert AlreadySlashed(agreed);
        if (_flags[agreed] & DELIVERED != 0) revert AlreadyDelivered(agreed);
        if (_settled[_requestKey(a.requester, a.requestId)] == agreed) revert AlreadySettled(agreed);
        uint256 held = _held(a.prover, a.proverTicket);
        if (held == 0 || held < a.bondWei) revert Unfunded(a.prover, a.proverTicket, a.bondWei, held);
        _checkSignatures(a, agreed, settlement);
        bytes32 ackDigest = _typed(keccak256(abi.encode(ACK_TYPE, agreed, a.payloadCommit, ackAt)));
        _checkSignature(ackDigest, ack[8:], a.prover, 2);
        _flags[agreed] |= SLASHED;
        _spend(a.prover, a.proverTicket, held, a.bondWei, a.requester);
        emit AgreementSlashed(agreed, a.prover, a.requester, a.bondWei);
    }

    /// @inheritdoc IProofMarket
    function cancelAgreement(bytes calldata settlement) external override {
        Agreement memory a = _read(settlement);
        if (msg.sender != a.prover) revert NotProver(msg.sender);
        bytes32 agreed = _digest(a);
        if (_settled[_requestKey(a.requester, a.requestId)] == agreed) revert AlreadySettled(agreed);
        if (_flags[agreed] & CANCELLED != 0) revert AgreementIsCancelled(agreed);
        _checkSignatures(a, agreed, settlement);
        _flags[agreed] |= CANCELLED;
        emit AgreementCancelled(agreed, a.prover);
    }

    // --- payouts

    /// @inheritdoc IProofMarket
    function collect(address account) external override {
        uint256 amount = payoutOf[account];
        if (amount == 0) revert NothingToCollect(account);
        payoutOf[account] = 0;
        (bool ok,) = account.call{value: amount}("");
        if (!ok) revert PaymentFailed(account);
        emit Collected(account, amount);
    }

    // --- formats

    function _read(bytes calldata s) private pure returns (Agreement memory a) {
        if (s.length != SETTLEMENT_BYTES) revert MalformedSettlement(s.length);
        a.requestId = bytes32(s[:32]);
        a.rank = uint8(s[32]);
        a.requester = address(bytes20(s[33:53]));
        a.requesterTicket = uint32(bytes4(s[53:57]));
        a.prover = address(bytes20(s[57:77]));
        a.proverTicket = uint32(bytes4(s[77:81]));
        a.payee = address(bytes20(s[81:101]));
        a.priceWei = uint96(bytes12(s[101:113]));
        a.bondWei = uint96(bytes12(s[113:125]));
        a.statementCommit = bytes32(s[125:157]);
        a.payloadCommit = bytes32(s[157:189]);
        a.familyHash = bytes32(s[189:221]);
        a.ackBy = uint64(bytes8(s[221:229]));
        a.deliverBy = uint64(bytes8(s[229:237]));
        a.claimBy = uint64(bytes8(s[237:245]));
    }

    function _digest(Agreement memory a) private view returns (bytes32) {
        return _typed(keccak256(abi.encode(AGREEMENT_TYPE, a)));
    }

    function _typed(bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(bytes2(0x1901), DOMAIN, structHash));
    }

    function _checkSignatures(Agreement memory a, bytes32 agreed, bytes calldata settlement) private pure {
        _checkSignature(agreed, settlement[277:342], a.requester, 0);
        _checkSignature(agreed, settlement[342:407], a.prover, 1);
    }

    /// @dev `r | s | v`, low s, v 27 or 28.
    function _checkSignature(bytes32 digest, bytes calldata signature, address expected, uint8 role) private pure {
        bytes32 r = bytes32(signature[:32]);
        bytes32 s = bytes32(signature[32:64]);
        uint8 v = uint8(signature[64]);
        address signer = uint256(s) > MAX_S || (v != 27 && v != 28) ? address(0) : ecrecover(digest, v, r, s);
        if (signer == address(0) || signer != expected) revert BadSignature(role, expected);
    }

    function _requestKey(address requester, bytes32 requestId) private pure returns (bytes32) {
        return keccak256(abi.encode(requester, requestId));
    }

    // --- views

    /// @inheritdoc IProofMarket
    function ticketOf(address owner, uint32 ticket) external view override returns (Ticket memory) {
        return _tickets[owner][ticket];
    }

    /// @inheritdoc IProofMarket
    function settledBy(address requester, bytes32 requestId) external view override returns (bytes32) {
        return _settled[_requestKey(requester, requestId)];
    }

    /// @inheritdoc IProofMarket
    function agreementHash(bytes calldata settlement) external view override returns (bytes32) {
        return _digest(_read(settlement));
    }

    /// @inheritdoc IProofMarket
    function domainSeparator() external view override returns (bytes32) {
        return DOMAIN;
    }
}
