// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ActionHash} from "./ActionHash.sol";
import {AgreementCodec} from "./AgreementCodec.sol";
import {IProofMarket} from "./interfaces/IProofMarket.sol";
import {MarketTickets} from "./MarketTickets.sol";

/// @title What is known on chain about agreements, and what an agreement is about at the moment (SPEC §8.2).
abstract contract MarketAgreements is MarketTickets {
    /// @notice Longest time in seconds from openFrom to claimBy.
    uint64 public constant MAX_TERM = 7200;

    uint256 private constant AMEND_BYTES = 34;
    uint256 private constant ACK_BYTES = 8;

    /// @dev bits of State.flags
    uint16 internal constant RECORDED = 1;
    uint16 internal constant DELIVERED = 2;
    uint16 internal constant SLASHED = 4;
    uint16 internal constant CANCELLED = 8;
    uint16 internal constant RELIEVED = 16;
    uint16 internal constant VOIDED = 32;
    uint16 internal constant ANSWERED = 64;
    uint16 internal constant PENALISED = 128;
    /// @dev when it was cancelled, the requester's ticket could have paid
    uint16 internal constant FREED = 256;

    struct State {
        uint16 flags;
        uint16 counter;
        uint64 respondBy;
        /// of the Ack that was shown in time (ANSWERED)
        uint64 ackAt;
        /// when the configuration that made it void took effect (VOIDED)
        uint64 voidFrom;
    }

    /// @dev An agreement that somebody presents.
    struct Deal {
        Agreement a;
        bytes32 agreed;
        State state;
        /// what is to be proven; known once the signatures are checked
        bytes32 statement;
    }

    bytes32 internal immutable DOMAIN;

    mapping(bytes32 agreementHash => State) internal _states;
    mapping(bytes32 agreementHash => bytes32) private _statements;
    /// @dev of deliveries that were not paid
    mapping(bytes32 agreementHash => bytes32 coreId) internal _deliveredCores;

    constructor() {
        DOMAIN = AgreementCodec.domain();
    }

    /// @inheritdoc IProofMarket
    function record(bytes calldata settlement) external override {
        Deal memory d = _open(settlement);
        if (block.timestamp > d.a.claimBy) revert AgreementExpired(d.a.claimBy, block.timestamp);
        uint16 counter = _authorise(d, settlement);
        if (d.state.flags & RECORDED != 0 && counter == d.state.counter) revert NothingToRecord(d.agreed);
        if (counter != d.state.counter) {
            // later, the prover could not make up for the change any more
            if (block.timestamp > d.a.deliverBy) revert AmendTooLate(d.a.deliverBy, block.timestamp);
            d.state.counter = counter;
            _statements[d.agreed] = d.statement;
        }
        d.state.flags |= RECORDED;
        _states[d.agreed] = d.state;
        emit AgreementRecorded(d.agreed, d.a.requester, d.a.prover, counter, d.statement);
    }

    // --- reading

    /// @dev Nothing but its hash is known to be right before `_authorise`.
    function _open(bytes calldata settlement) internal view returns (Deal memory d) {
        d.a = AgreementCodec.read(settlement);
        d.agreed = AgreementCodec.digest(DOMAIN, d.a);
        d.state = _states[d.agreed];
    }

    function _checkTerms(Agreement memory a) private pure {
        if (a.rank == 0) revert BadRank();
        if (
            a.openFrom > a.ackBy || a.ackBy > a.deliverBy || a.deliverBy >= a.claimBy || a.openFrom > a.claimFrom
                || a.claimFrom > a.claimBy || a.claimBy - a.openFrom > MAX_TERM
        ) revert BadTimes(a.openFrom, a.ackBy, a.deliverBy, a.claimFrom, a.claimBy);
    }

    /// @dev Checks terms and both signatures, unless they were recorded, and finds the statement: of the amend that comes along, else of the
    ///      recorded one, else of the agreement. Nothing may follow.
    /// @return counter of the amend that holds, 0 for none
    function _authorise(Deal memory d, bytes calldata s) internal view returns (uint16 counter) {
        uint256 middle = _signatureEnd(s, AgreementCodec.FIXED_BYTES);
        uint256 end = _signatureEnd(s, middle);
        if (d.state.flags & RECORDED == 0) {
            _checkTerms(d.a);
            _checkSignature(d.agreed, s, AgreementCodec.FIXED_BYTES, middle, d.a.requester, 0);
            _checkSignature(d.agreed, s, middle, end, d.a.prover, 1);
        }
        counter = d.state.counter;
        d.statement = counter == 0 ? d.a.statementCommit : _statements[d.agreed];
        if (end == s.length) return counter;

        middle = end + AMEND_BYTES;
        if (s.length < middle) revert MalformedSettlement(s.length);
        uint16 presented = uint16(bytes2(s[end:end + 2]));
        bytes32 commit = bytes32(s[end + 2:middle]);
        // the recorded one is as good: else anybody could record it just before a transaction that brings it along
        if (presented == counter && counter != 0 && commit == d.statement) {
            end = _signatureEnd(s, _signatureEnd(s, middle));
            if (end != s.length) revert MalformedSignature(end);
            return counter;
        }
        if (presented <= counter) revert StaleAmend(counter, presented);
        _checkLastSignatures(AgreementCodec.amendDigest(DOMAIN, d.agreed, presented, commit), s, middle, d.a, 4);
        d.statement = commit;
        return presented;
    }

    /// @dev The core opens what is to be proven.
    function _checkStatement(Deal memory d, bytes calldata settlement, bytes32 coreId) internal pure {
        if (d.statement == 0) revert NoStatement(d.agreed);
        bytes32 opened = keccak256(abi.encode(ActionHash.D_STATEMENT, AgreementCodec.salt(settlement), coreId));
        if (opened != d.statement) revert StatementMismatch(d.statement, opened);
    }

    /// @dev The prover's timely acknowledgement. The one that the contract saw before (also if `ack` is empty) holds for good.
    function _checkAck(Deal memory d, bytes calldata ack) internal view returns (uint64 ackAt) {
        bool wasSeen = d.state.flags & ANSWERED != 0;
        if (wasSeen && ack.length == 0) return d.state.ackAt;
        if (ack.length < ACK_BYTES) revert MalformedAck(ack.length);
        ackAt = uint64(bytes8(ack[:8]));
        if (wasSeen && ackAt == d.state.ackAt) return ackAt;
        if (ackAt > d.a.ackBy) revert LateAck(d.a.ackBy, ackAt);
        bytes32 digest = AgreementCodec.ackDigest(DOMAIN, d.agreed, d.a.payloadCommit, ackAt);
        _checkLastSignature(digest, ack, ACK_BYTES, d.a.prover, 2);
    }

    function _requireAlive(Deal memory d) internal pure {
        uint16 flags = d.state.flags;
        if (flags & VOIDED != 0) revert AgreementIsVoid(d.agreed);
        if (flags & RELIEVED != 0) revert AgreementIsRelieved(d.agreed);
    }

    // --- views

    /// @inheritdoc IProofMarket
    function stateOf(bytes32 agreement) external view override returns (StateView memory v) {
        State memory s = _states[agreement];
        v.recorded = s.flags & RECORDED != 0;
        v.delivered = s.flags & DELIVERED != 0;
        v.slashed = s.flags & SLASHED != 0;
        v.cancelled = s.flags & CANCELLED != 0;
        v.relieved = s.flags & RELIEVED != 0;
        v.voided = s.flags & VOIDED != 0;
        v.answered = s.flags & ANSWERED != 0;
        v.penalised = s.flags & PENALISED != 0;
        v.counter = s.counter;
        v.respondBy = s.respondBy;
        v.statementCommit = _statements[agreement];
    }

    /// @inheritdoc IProofMarket
    function agreementHash(bytes calldata settlement) external view override returns (bytes32) {
        return AgreementCodec.digest(DOMAIN, AgreementCodec.read(settlement));
    }

    /// @inheritdoc IProofMarket
    function domainSeparator() external view override returns (bytes32) {
        return DOMAIN;
    }
}
