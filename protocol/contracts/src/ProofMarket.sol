// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AgreementCodec} from "./AgreementCodec.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {MarketFaults} from "./MarketFaults.sol";

/// @title ProofMarket: who is paid for a proof, once (SPEC §8.2). Deployed by Rollups, which is the only caller of `settle`.
/// @notice Calls out only to check signatures and proofs, by STATICCALL, and to pay whoever collects.
contract ProofMarket is MarketFaults {
    /// @notice Seconds in which a rank may claim without a receipt before it is the next one's turn.
    uint64 public constant CLAIM_GRACE = 300;

    uint256 private constant RECEIPT_BYTES = 8;
    uint256 private constant DECLINE_BYTES = 13;

    // --- payment

    /// @inheritdoc IProofMarket
    function settle(
        bytes32 coreId,
        bytes32 agreed,
        address payee,
        bytes32 systemsHash,
        bytes calldata settlement
    ) external override {
        if (msg.sender != address(ROLLUPS)) revert NotRollups(msg.sender);
        Deal memory d = _open(settlement);
        Agreement memory a = d.a;
        _checkProven(d, agreed, payee, systemsHash);
        Ticket memory t = _tickets[a.requester][a.requesterTicket];
        uint200 tag = _tag(agreed, coreId);
        // a copied claim may have come first; the user's transaction must not fail for it
        if (t.paidFor == tag) return;
        if (block.timestamp < a.openFrom) revert AgreementNotOpen(a.openFrom, block.timestamp);
        if (block.timestamp > a.claimBy) revert AgreementExpired(a.claimBy, block.timestamp);
        _requireAlive(d);
        bool isGift = d.state.flags & CANCELLED != 0;
        if (!isGift) _requireFunded(t, a.requester, a.requesterTicket, a.priceWei);
        _authorise(d, settlement);
        _checkStatement(d, settlement, coreId);
        // who gave its price up must not stop the user of its proof by that
        if (isGift) _deliver(d, coreId);
        else _pay(d, t, tag, coreId, false);
    }

    /// @inheritdoc IProofMarket
    function claimWithProof(
        bytes calldata core,
        bytes calldata proofs,
        bytes calldata settlement,
        bytes calldata receipt
    ) external override {
        Deal memory d = _open(settlement);
        _checkWindow(d.a, receipt.length != 0);
        // a void agreement pays nobody, but whoever signed a second Ack, from before the change, delivers as well
        if (d.state.flags & RELIEVED != 0) revert AgreementIsRelieved(d.agreed);
        if (d.state.flags & DELIVERED != 0) revert AlreadyDelivered(d.agreed);
        _authorise(d, settlement);
        bytes32 coreId = _verify(d, core, proofs);
        _checkStatement(d, settlement, coreId);
        if (receipt.length != 0) _checkReceipt(d, coreId, receipt);

        Ticket memory t = _tickets[d.a.requester][d.a.requesterTicket];
        uint200 tag = _tag(d.agreed, coreId);
        if (t.paidFor == tag) revert AlreadySettled(d.agreed);
        uint96 held = _held(t);
        if (held != 0 && held >= d.a.priceWei && d.state.flags & (CANCELLED | VOIDED) == 0) {
            _pay(d, t, tag, coreId, true);
        } else {
            _deliver(d, coreId);
        }
    }

    function _deliver(Deal memory d, bytes32 coreId) private {
        d.state.flags |= DELIVERED;
        _states[d.agreed] = d.state;
        _deliveredCores[d.agreed] = coreId;
        emit DeliveredUnpaid(d.agreed, d.a.requestId, coreId);
    }

    /// @dev Rank 1 shows without a receipt that it was in time by claiming soon; then the next rank may.
    function _checkWindow(Agreement memory a, bool receipted) private view {
        if (a.rank == 0) revert BadRank();
        uint256 from = a.claimFrom;
        uint256 until = a.claimBy;
        if (!receipted) {
            uint256 turn = uint256(a.deliverBy > a.claimFrom ? a.deliverBy : a.claimFrom) + CLAIM_GRACE;
            if (a.rank != 1) from = turn + CLAIM_GRACE * uint256(a.rank - 2) + 1;
            else if (turn < until) until = turn;
        }
        if (block.timestamp < from || block.timestamp > until) {
            revert ClaimClosed(uint64(from), uint64(until), block.timestamp);
        }
    }

    function _verify(Deal memory d, bytes calldata core, bytes calldata proofs) private view returns (bytes32) {
        (bytes32 coreId, address payee, bytes32 proven, bytes32 systemsHash) =
            ROLLUPS.checkProofs(core, proofs, d.a.openFrom);
        _checkProven(d, proven, payee, systemsHash);
        return coreId;
    }

    /// @dev What was proven is what was agreed: hash, payee, systems.
    function _checkProven(Deal memory d, bytes32 proven, address payee, bytes32 systemsHash) private pure {
        if (proven != d.agreed) revert AgreementMismatch(proven, d.agreed);
        if (payee != d.a.payee) revert PayeeMismatch(d.a.payee, payee);
        if (systemsHash != d.a.systemsHash) revert SystemsMismatch(d.a.systemsHash, systemsHash);
    }

    function _checkReceipt(Deal memory d, bytes32 coreId, bytes calldata receipt) private view {
        if (receipt.length < RECEIPT_BYTES) revert MalformedReceipt(receipt.length);
        bytes32 digest = AgreementCodec.receiptDigest(DOMAIN, d.agreed, coreId, uint64(bytes8(receipt[:8])));
        _checkLastSignature(digest, receipt, RECEIPT_BYTES, d.a.requester, 3);
    }

    function _pay(Deal memory d, Ticket memory t, uint200 tag, bytes32 coreId, bool byClaim) private {
        Agreement memory a = d.a;
        _spend(t, a.requester, a.requesterTicket, a.priceWei, a.payee, tag);
        emit AgreementSettled(
            d.agreed, a.requester, a.payee, a.requestId, a.requesterTicket, a.priceWei, coreId, byClaim
        );
    }

    // --- ends without payment of the price

    /// @inheritdoc IProofMarket
    function cancelAgreement(bytes calldata settlement) external override {
        Deal memory d = _open(settlement);
        if (!_actsFor(d.a.prover, msg.sender)) revert NotProver(msg.sender);
        if (d.state.flags & CANCELLED != 0) revert AgreementIsCancelled(d.agreed);
        _requireAlive(d);
        _authorise(d, settlement);
        d.state.flags |= CANCELLED;
        uint96 held = _held(_tickets[d.a.requester][d.a.requesterTicket]);
        if (held != 0 && held >= d.a.priceWei) d.state.flags |= FREED;
        _states[d.agreed] = d.state;
        emit AgreementCancelled(d.agreed, d.a.prover);
    }

    /// @inheritdoc IProofMarket
    function decline(bytes calldata settlement, bytes calldata declined) external override {
        Deal memory d = _open(settlement);
        Agreement memory a = d.a;
        if (declined.length < DECLINE_BYTES) revert MalformedDecline(declined.length);
        uint8 verdict = uint8(declined[0]);
        uint96 fee = uint96(bytes12(declined[1:13]));
        if (block.timestamp > a.claimBy) revert AgreementExpired(a.claimBy, block.timestamp);
        // a ticket drawn by terms that have not begun would be no evidence against its owner
        if (block.timestamp < a.openFrom) revert AgreementNotOpen(a.openFrom, block.timestamp);
        if (fee > a.priceWei) revert FeeAbovePrice(fee, a.priceWei);
        _requireAlive(d);
        Ticket memory t = _tickets[a.requester][a.requesterTicket];
        if (fee != 0) _requireFunded(t, a.requester, a.requesterTicket, fee);
        _authorise(d, settlement);
        bytes32 digest = AgreementCodec.declineDigest(DOMAIN, d.agreed, verdict, fee);
        _checkLastSignatures(digest, declined, DECLINE_BYTES, a, 6);
        d.state.flags |= RELIEVED;
        _states[d.agreed] = d.state;
        if (fee != 0) _spend(t, a.requester, a.requesterTicket, fee, a.payee, _tag(d.agreed, 0));
        emit AgreementDeclined(d.agreed, a.requester, a.payee, a.requesterTicket, verdict, fee);
    }
}
