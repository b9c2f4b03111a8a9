// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AgreementCodec} from "./AgreementCodec.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {IRollups} from "./interfaces/IRollups.sol";
import {ActionHash} from "./ActionHash.sol";
import {MarketAgreements} from "./MarketAgreements.sol";

/// @title What becomes of an agreement that was not kept (SPEC §8.2).
abstract contract MarketFaults is MarketAgreements {
    /// @notice Seconds after claimBy in which a bond can be taken.
    uint64 public constant SLASH_WINDOW = 3600;
    /// @notice Seconds in which a forced release must be answered.
    uint64 public constant RELEASE_WINDOW = 600;
    /// @notice Part of a bond ticket that silence after a forced release costs: 1/16.
    uint96 public constant PEEK_DIVISOR = 16;
    /// @notice Longest sealed payload that can be published by forceRelease, bytes.
    uint256 public constant MAX_BOX = 65_584;

    /// @dev where a core says how many rollups it has, and where they begin
    uint256 private constant LOCKSET_AT = 2;
    uint256 private constant MEMBER_BYTES = 40;
    /// @dev who collects for it gives it to nobody
    address private constant BURNED = address(0);
    uint16 private constant ENDED = CANCELLED | RELIEVED | VOIDED;

    IRollups internal immutable ROLLUPS;

    constructor() {
        ROLLUPS = IRollups(msg.sender);
    }

    // --- nothing came after the ack

    /// @inheritdoc IProofMarket
    function slash(bytes calldata settlement, bytes calldata ack, bytes calldata failover) external override {
        Deal memory d = _open(settlement);
        Agreement memory a = d.a;
        if (block.timestamp <= a.claimBy) revert SlashTooEarly(a.claimBy, block.timestamp);
        if (block.timestamp > a.claimBy + SLASH_WINDOW) {
            revert SlashTooLate(a.claimBy + SLASH_WINDOW, block.timestamp);
        }
        uint16 flags = d.state.flags;
        if (flags & RELIEVED != 0) revert AgreementIsRelieved(d.agreed);
        if (flags & DELIVERED != 0) revert AlreadyDelivered(d.agreed);
        if (flags & SLASHED != 0) revert AlreadySlashed(d.agreed);
        // a requester that could not have paid has nothing to complain of
        if (flags & FREED != 0) {
            // it could have, until the prover let go
        } else if (failover.length == 0) {
            _requireFunded(
                _tickets[a.requester][a.requesterTicket], a.requester, a.requesterTicket, a.priceWei
            );
        } else {
            _requirePaidLater(a, failover);
        }
        Ticket memory t = _tickets[a.prover][a.proverTicket];
        // a ticket that paid for another of its prover's faults was promised twice: its bond answers for that
        bool whole = t.holds & BONDED == 0 || t.holds & FUNDED != 0;
        if (whole) _requireFunded(t, a.prover, a.proverTicket, a.bondWei);
        _authorise(d, settlement);
        if (d.statement == 0) revert NoStatement(d.agreed);
        uint64 ackAt = _checkAck(d, ack);
        // who acknowledged before the change that made it void was bound already
        if (flags & VOIDED != 0 && ackAt >= d.state.voidFrom) revert AgreementIsVoid(d.agreed);
        d.state.flags |= SLASHED;
        _states[d.agreed] = d.state;
        uint96 taken = a.bondWei;
        if (whole) _spend(t, a.prover, a.proverTicket, taken, a.requester, _tag(d.agreed, 0));
        else (taken,) = _takeBond(t, a.prover, a.proverTicket, [a.requester, BURNED], [taken, 0]);
        emit AgreementSlashed(d.agreed, a.prover, a.requester, a.proverTicket, taken);
    }

    /// @dev Neither delivered nor released from its duty.
    function _requireLiable(Deal memory d) private pure {
        _requireAlive(d);
        if (d.state.flags & DELIVERED != 0) revert AlreadyDelivered(d.agreed);
    }

    /// @dev A later rank of the same request was paid, out of the same ticket and for a table, once this one's time to deliver was over:
    ///      this one failed before. A paid agreement's signatures were checked when it was paid.
    function _requirePaidLater(Agreement memory a, bytes calldata failover) private view {
        if (failover.length < 32) revert MalformedSettlement(failover.length);
        Deal memory later = _open(failover[32:]);
        Agreement memory b = later.a;
        bytes32 coreId = bytes32(failover[:32]);
        Ticket memory t = _tickets[a.requester][a.requesterTicket];
        // a ticket that pays can be withdrawn WITHDRAW_DELAY later, or before if that was asked for: never paid after this moment
        bool inTime = t.withdrawableAt <= a.deliverBy + WITHDRAW_DELAY;
        if (
            !_isRankOf(a, b) || b.rank <= a.rank || coreId == 0 || inTime || t.paidFor != _tag(later.agreed, coreId)
        ) revert NotFailover(later.agreed);
    }

    // --- silence before the ack

    /// @inheritdoc IProofMarket
    function forceRelease(bytes calldata settlement, bytes calldata box) external override {
        Deal memory d = _open(settlement);
        Agreement memory a = d.a;
        if (!_actsFor(a.requester, msg.sender)) revert NotRequester(msg.sender);
        if (box.length > MAX_BOX) revert BoxTooLong(box.length);
        if (block.timestamp < a.openFrom) revert AgreementNotOpen(a.openFrom, block.timestamp);
        if (block.timestamp > a.deliverBy) revert ReleaseTooLate(a.deliverBy, block.timestamp);
        _requireLiable(d);
        if (d.state.flags & CANCELLED != 0) revert AgreementIsCancelled(d.agreed);
        if (d.state.respondBy != 0) revert AlreadyForced(d.agreed);
        _requireFunded(_tickets[a.requester][a.requesterTicket], a.requester, a.requesterTicket, a.priceWei);
        _authorise(d, settlement);
        // recorded, so that the answer and the penalty do not depend on what a signer says later
        d.state.flags |= RECORDED;
        d.state.respondBy = uint64(block.timestamp) + RELEASE_WINDOW;
        _states[d.agreed] = d.state;
        emit ReleaseForced(d.agreed, a.prover, d.state.respondBy, box);
    }

    /// @inheritdoc IProofMarket
    function answerRelease(bytes calldata settlement, bytes calldata ack) external override {
        Deal memory d = _open(settlement);
        uint64 until = d.state.respondBy == 0 ? d.a.claimBy : d.state.respondBy;
        if (block.timestamp > until) revert ReleaseTooLate(until, block.timestamp);
        if (d.state.flags & ANSWERED != 0) revert AlreadyAnswered(d.agreed);
        _authorise(d, settlement);
        uint64 ackAt = _checkAck(d, ack);
        d.state.flags |= RECORDED | ANSWERED;
        d.state.ackAt = ackAt;
        _states[d.agreed] = d.state;
        emit ReleaseAnswered(d.agreed, ackAt);
    }

    /// @inheritdoc IProofMarket
    function takePeekPenalty(bytes calldata settlement) external override {
        Deal memory d = _open(settlement);
        Agreement memory a = d.a;
        if (d.state.respondBy == 0) revert NotForced(d.agreed);
        if (block.timestamp > a.claimBy + SLASH_WINDOW) {
            revert SlashTooLate(a.claimBy + SLASH_WINDOW, block.timestamp);
        }
        _requireLiable(d);
        if (block.timestamp <= d.state.respondBy || d.state.flags & (ANSWERED | CANCELLED | PENALISED | SLASHED) != 0) {
            revert NotPenalisable(d.agreed, d.state.respondBy, block.timestamp);
        }
        _requireFunded(_tickets[a.requester][a.requesterTicket], a.requester, a.requesterTicket, a.priceWei);
        Ticket memory t = _tickets[a.prover][a.proverTicket];
        _requireFunded(t, a.prover, a.proverTicket, 0);
        uint96 penalty = _cap(t.class) / PEEK_DIVISOR;
        d.state.flags |= PENALISED;
        _states[d.agreed] = d.state;
        _spend(t, a.prover, a.proverTicket, penalty, a.requester, _tag(d.agreed, 0));
        emit PeekPenalised(d.agreed, a.prover, a.requester, a.proverTicket, penalty);
    }

    // --- one ticket, two promises

    /// @inheritdoc IProofMarket
    function slashEquivocation(bytes calldata first, bytes calldata second, bytes32 paidCore) external override {
        Deal memory d = _open(first);
        Deal memory e = _open(second);
        (Agreement memory a, Agreement memory b) = (d.a, e.a);
        // a prover let go of its payment in an agreement that ended
        if (e.state.flags & ENDED != 0) revert NotEquivocation(d.agreed, e.agreed);
        _authorise(e, second);
        Ticket memory t = _tickets[b.requester][b.requesterTicket];
        bool whole = t.holds & FUNDED != 0;
        if (whole) {
            if (!_isDouble(a, b, true) || d.state.flags & ENDED != 0) revert NotEquivocation(d.agreed, e.agreed);
            _authorise(d, first);
        } else {
            // it may also have answered for its owner as a prover
            bool asProver = a.prover == b.requester && a.proverTicket == b.requesterTicket
                && a.claimBy + SLASH_WINDOW >= b.openFrom && a.openFrom <= b.claimBy;
            if (!asProver && !_isDouble(a, b, !_isPassedOver(e, paidCore))) revert NotEquivocation(d.agreed, e.agreed);
            if (t.paidFor != _tag(d.agreed, paidCore)) revert NotThePayment(d.agreed);
        }
        (uint96 toFirst, uint96 toSecond) = _takeBond(
            t, b.requester, b.requesterTicket, [a.payee, b.payee], [whole ? a.priceWei : 0, b.priceWei]
        );
        emit EquivocationSlashed(
            b.requester, b.requesterTicket, d.agreed, e.agreed, a.payee, b.payee, toFirst, toSecond
        );
    }

    /// @dev Its payment was drawn by a fee, or by another table than the one that it delivered: a later rank that was amended is no
    ///      failover of whoever delivered what was agreed. What was delivered is remembered, since nobody signs the salt that opens it.
    function _isPassedOver(Deal memory d, bytes32 paidCore) private view returns (bool) {
        bytes32 delivered = _deliveredCores[d.agreed];
        return paidCore == 0 || (delivered != 0 && delivered != paidCore);
    }

    /// @dev Two promises whose terms overlap name one ticket of the requester. Other ranks of one request may, if what was paid for is a
    ///      table.
    /// @param sparesRanks false for a fee of a decline, which gets the other ranks nothing
    function _isDouble(Agreement memory a, Agreement memory b, bool sparesRanks) private pure returns (bool) {
        return _isOneTicket(a, b) && !(sparesRanks && _isRankOf(a, b)) && a.openFrom <= b.claimBy
            && b.openFrom <= a.claimBy;
    }

    /// @dev Ranks of one request name one ticket and are about the same statement, payload and systems; else its id is only borrowed.
    function _isRankOf(Agreement memory a, Agreement memory b) private pure returns (bool) {
        return _isOneTicket(a, b) && a.requestId == b.requestId && a.statementCommit == b.statementCommit
            && a.payloadCommit == b.payloadCommit && a.systemsHash == b.systemsHash;
    }

    function _isOneTicket(Agreement memory a, Agreement memory b) private pure returns (bool) {
        return a.requester == b.requester && a.requesterTicket == b.requesterTicket;
    }

    /// @dev At most half of a ticket's bond goes to those who are left without the ticket, what they do not get to nobody: else its
    ///      owner would get it all back by an agreement with itself.
    /// @param lost wei that each was promised, 0 for who lost nothing
    function _takeBond(
        Ticket memory t,
        address owner,
        uint32 ticket,
        address[2] memory victims,
        uint96[2] memory lost
    ) private returns (uint96 first, uint96 second) {
        uint96 bond = _bond(t);
        if (bond == 0) revert NoBond(owner, ticket);
        _tickets[owner][ticket].holds = t.holds & ~BONDED;
        uint96 share = lost[0] == 0 || lost[1] == 0 ? bond / 2 : bond / 4;
        first = lost[0] < share ? lost[0] : share;
        second = lost[1] < share ? lost[1] : share;
        if (first != 0) _credit(victims[0], first);
        if (second != 0) _credit(victims[1], second);
        _credit(BURNED, bond - first - second);
        emit BondTaken(owner, ticket, bond - first - second);
    }

    // --- nobody's fault

    /// @inheritdoc IProofMarket
    function voidAgreement(
        bytes calldata settlement,
        bytes calldata ack,
        bytes calldata core,
        uint64 rollupId,
        uint64 epoch
    ) external override {
        Deal memory d = _open(settlement);
        _requireLiable(d);
        if (d.state.flags & SLASHED != 0) revert AlreadySlashed(d.agreed);
        (, uint64 effectiveFrom) = ROLLUPS.config(rollupId, epoch);
        _authorise(d, settlement);
        uint64 ackAt = _checkAck(d, ack);
        bool wasBound = d.state.flags & ANSWERED != 0 && d.state.ackAt < effectiveFrom;
        if (wasBound || effectiveFrom <= d.a.openFrom || effectiveFrom > ackAt || ackAt > block.timestamp) {
            revert ConfigurationLives(rollupId, epoch, effectiveFrom);
        }
        _checkStatement(d, settlement, ActionHash.coreId(core));
        _requireMember(core, rollupId);
        d.state.flags |= VOIDED;
        d.state.voidFrom = effectiveFrom;
        _states[d.agreed] = d.state;
        emit AgreementVoided(d.agreed, rollupId, epoch);
    }

    /// @dev The core was committed to before, so its format need not be doubted, only its length.
    function _requireMember(bytes calldata core, uint64 rollupId) private pure {
        if (core.length >= LOCKSET_AT) {
            uint256 end = LOCKSET_AT + MEMBER_BYTES * uint8(core[1]);
            for (uint256 i = LOCKSET_AT; i < end && i + 8 <= core.length; i += MEMBER_BYTES) {
                if (uint64(bytes8(core[i:i + 8])) == rollupId) return;
            }
        }
        revert NotInLockset(rollupId);
    }
}
