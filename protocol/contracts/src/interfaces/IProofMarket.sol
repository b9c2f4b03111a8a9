// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Tickets, agreements and settlement of proofs (SPEC §8.2). Nobody administers it.
/// @notice There is no lock on chain: a ticket is safe for an agreement because taking it out takes WITHDRAW_DELAY, longer than
///         any agreement's last claim and slash. Who accepts a ticket must check that no withdrawal of it is pending.
/// @notice `settlement` everywhere: the packed agreement, the salt that opens its statement, both signatures, and at most one
///         StatementAmend with both signatures (SPEC §8.2).
interface IProofMarket {
    struct TicketView {
        /// a ticket of class k holds exactly TICKET_UNIT * 4^k wei, and as much again as bond
        uint8 class;
        /// wei it can pay: all of it, or nothing once it paid or was withdrawn
        uint96 amount;
        /// wei that answer for naming it in two requests at a time
        uint96 bond;
        /// unix seconds from which what it holds may be withdrawn, 0 if neither requested nor paid
        uint64 withdrawableAt;
        /// what it paid for: the first 200 bits of keccak(abi(agreementHash, coreId)), 0 for nothing
        uint200 paidFor;
    }

    struct Agreement {
        bytes32 requestId;
        /// 1 for the winner, then the runners-up
        uint8 rank;
        address requester;
        uint32 requesterTicket;
        address prover;
        uint32 proverTicket;
        address payee;
        uint96 priceWei;
        uint96 bondWei;
        /// 0 if the first StatementAmend names the statement
        bytes32 statementCommit;
        bytes32 payloadCommit;
        bytes32 systemsHash;
        /// unix seconds, as all that follow: nothing is paid before, and claims are checked against the configurations of this moment
        uint64 openFrom;
        uint64 ackBy;
        uint64 deliverBy;
        /// no claim before, so that a claim cannot unseal the table early
        uint64 claimFrom;
        uint64 claimBy;
    }

    struct StateView {
        bool recorded;
        bool delivered;
        bool slashed;
        bool cancelled;
        bool relieved;
        bool voided;
        /// answered forced release, or penalty taken
        bool answered;
        bool penalised;
        /// of the recorded StatementAmend, 0 for none
        uint16 counter;
        /// unix seconds until which a forced release can be answered, 0 for none
        uint64 respondBy;
        /// of the recorded StatementAmend, 0 for none
        bytes32 statementCommit;
    }

    event TicketsDeposited(address indexed owner, uint32 first, uint32 count, uint8 class, uint96 amountEach);
    event WithdrawRequested(address indexed owner, uint32 ticket, uint64 withdrawableAt);
    event TicketWithdrawn(address indexed owner, uint32 ticket, uint96 amount, uint96 bond);
    event Collected(address indexed account, uint256 amount);
    event SubmitterProposed(address indexed owner, address indexed submitter);
    event SubmitterAccepted(address indexed owner, address indexed submitter);
    /// @param validUntil unix seconds until which its signatures still count
    event SubmitterRevoked(address indexed owner, address indexed submitter, uint64 validUntil);
    /// @notice Signatures were checked for good; `counter` and `statementCommit` are of the latest recorded amend.
    event AgreementRecorded(
        bytes32 indexed agreementHash,
        address indexed requester,
        address indexed prover,
        uint16 counter,
        bytes32 statementCommit
    );
    /// @param ticket of the requester; it is spent, and the rest of it credited to the requester
    /// @param byClaim true if paid by claimWithProof, false if inside a load
    event AgreementSettled(
        bytes32 indexed agreementHash,
        address indexed requester,
        address indexed payee,
        bytes32 requestId,
        uint32 ticket,
        uint96 priceWei,
        bytes32 coreId,
        bool byClaim
    );
    /// @notice A valid proof came by claimWithProof, but there was nothing to pay it from (or another rank was paid).
    event DeliveredUnpaid(bytes32 indexed agreementHash, bytes32 indexed requestId, bytes32 coreId);
    event AgreementCancelled(bytes32 indexed agreementHash, address indexed prover);
    /// @param ticket of the requester; spent iff feeWei is not 0
    event AgreementDeclined(
        bytes32 indexed agreementHash,
        address indexed requester,
        address indexed payee,
        uint32 ticket,
        uint8 verdict,
        uint96 feeWei
    );
    event AgreementVoided(bytes32 indexed agreementHash, uint64 rollupId, uint64 epoch);
    /// @param ticket of the prover; it is spent, and the rest of it credited to the prover, or its bond was taken (BondTaken)
    event AgreementSlashed(
        bytes32 indexed agreementHash,
        address indexed prover,
        address indexed requester,
        uint32 ticket,
        uint96 takenWei
    );
    /// @param box the payload, sealed to the prover's key
    event ReleaseForced(bytes32 indexed agreementHash, address indexed prover, uint64 respondBy, bytes box);
    event ReleaseAnswered(bytes32 indexed agreementHash, uint64 ackAt);
    /// @param ticket of the prover; it is spent, and the rest of it credited to the prover
    event PeekPenalised(
        bytes32 indexed agreementHash,
        address indexed prover,
        address indexed requester,
        uint32 ticket,
        uint96 penaltyWei
    );
    /// @notice The requester promised a ticket twice.
    /// @param firstWei what the payee of the first agreement got, 0 if the ticket paid it
    event EquivocationSlashed(
        address indexed owner,
        uint32 indexed ticket,
        bytes32 firstHash,
        bytes32 secondHash,
        address firstPayee,
        address secondPayee,
        uint96 firstWei,
        uint96 secondWei
    );
    /// @notice The bond of a ticket is gone; beside what others got, this was burned (credited to address 0).
    event BondTaken(address indexed owner, uint32 indexed ticket, uint96 burnedWei);

    // tickets and credits
    error BadDeposit(uint8 class, uint32 count, uint256 value);
    error NoTicket(address owner, uint32 ticket);
    error NoBond(address owner, uint32 ticket);
    error WithdrawNotRequested(address owner, uint32 ticket);
    error WithdrawTooEarly(uint64 withdrawableAt, uint256 time);
    error NothingToCollect(address account);
    error PaymentFailed(address account);
    // submitters
    error BadSubmitter(address owner, address submitter);
    // formats and signatures
    error MalformedSettlement(uint256 length);
    error MalformedAck(uint256 length);
    error MalformedReceipt(uint256 length);
    error MalformedDecline(uint256 length);
    error MalformedSignature(uint256 offset);
    /// @param role 0 requester, 1 prover; 2 prover's ack; 3 requester's receipt; amend: 4 requester, 5 prover; decline: 6 requester,
    ///        7 prover
    error BadSignature(uint8 role, address expected);
    error BadRank();
    error BadTimes(uint64 openFrom, uint64 ackBy, uint64 deliverBy, uint64 claimFrom, uint64 claimBy);
    // binding
    error NotRollups(address caller);
    error AgreementMismatch(bytes32 expected, bytes32 actual);
    error PayeeMismatch(address agreed, address proven);
    error SystemsMismatch(bytes32 agreed, bytes32 proven);
    error StatementMismatch(bytes32 agreed, bytes32 opened);
    /// @notice The agreement names no statement and no amend came with it.
    error NoStatement(bytes32 agreementHash);
    error StaleAmend(uint16 recorded, uint16 counter);
    error NothingToRecord(bytes32 agreementHash);
    // times
    error AgreementNotOpen(uint64 openFrom, uint256 time);
    error AgreementExpired(uint64 claimBy, uint256 time);
    error AmendTooLate(uint64 deliverBy, uint256 time);
    /// @notice Outside of the window of this rank, with or without a receipt.
    error ClaimClosed(uint64 from, uint64 until, uint256 time);
    error SlashTooEarly(uint64 claimBy, uint256 time);
    error SlashTooLate(uint64 until, uint256 time);
    error LateAck(uint64 ackBy, uint64 ackAt);
    error ReleaseTooLate(uint64 until, uint256 time);
    error NotPenalisable(bytes32 agreementHash, uint64 respondBy, uint256 time);
    // states
    error Unfunded(address owner, uint32 ticket, uint256 wanted, uint256 held);
    error AlreadySettled(bytes32 agreementHash);
    error AlreadyDelivered(bytes32 agreementHash);
    error AlreadySlashed(bytes32 agreementHash);
    error AlreadyForced(bytes32 agreementHash);
    error AlreadyAnswered(bytes32 agreementHash);
    error NotForced(bytes32 agreementHash);
    error AgreementIsCancelled(bytes32 agreementHash);
    error AgreementIsVoid(bytes32 agreementHash);
    error AgreementIsRelieved(bytes32 agreementHash);
    // roles and evidence
    error NotProver(address caller);
    error NotRequester(address caller);
    error BoxTooLong(uint256 length);
    error FeeAbovePrice(uint96 feeWei, uint96 priceWei);
    error NotFailover(bytes32 agreementHash);
    error NotEquivocation(bytes32 first, bytes32 second);
    error NotThePayment(bytes32 agreementHash);
    error ConfigurationLives(uint64 rollupId, uint64 epoch, uint64 effectiveFrom);
    error NotInLockset(uint64 rollupId);

    // --- tickets and credits

    /// @notice Adds `count` (1..256) tickets of a class (0..15); `msg.value` is twice the class's cap for each: as much bond as cap.
    /// @return first number of the first one; a caller's tickets are numbered from 0
    function deposit(uint8 class, uint32 count) external payable returns (uint32 first);

    /// @notice Starts WITHDRAW_DELAY for a ticket that did not pay; one that paid needs no request.
    function requestWithdraw(uint32 ticket) external;

    /// @notice Credits the caller what its ticket still holds, once withdrawable.
    function withdraw(uint32 ticket) external;

    /// @notice Sends an account's whole credit to it.
    function collect(address account) external;

    // --- submitters: keys that sign for an owner; they never withdraw

    /// @notice Step one, by the owner.
    function proposeSubmitter(address submitter) external;

    /// @notice Step two, by the key: from now on its signatures count as the owner's.
    function acceptSubmitter(address owner) external;

    /// @notice By the owner or the key: its signatures count for WITHDRAW_DELAY more, so that no signed agreement is undone.
    function revokeSubmitter(address owner, address submitter) external;

    // --- payment

    /// @notice Called by Rollups inside a load whose triggers run. Pays the payee's credit out of the requester's ticket.
    ///         Does nothing if exactly this agreement and core were paid already.
    function settle(
        bytes32 coreId,
        bytes32 agreementHash,
        address payee,
        bytes32 systemsHash,
        bytes calldata settlement
    ) external;

    /// @notice Pays for a delivered proof without loading it, in the window of the agreement's rank. Proofs are checked against the
    ///         configurations of openFrom. Never reverts for want of money: the delivery counts either way.
    /// @param receipt empty, or `receivedAt u64 | signature` of the requester: then the window is claimFrom to claimBy
    function claimWithProof(
        bytes calldata core,
        bytes calldata proofs,
        bytes calldata settlement,
        bytes calldata receipt
    ) external;

    /// @notice Checks the signatures now and for good (a contract's or a submitter's may not hold later), and, until deliverBy,
    ///         makes the amend that comes along the agreement's statement: earlier ones are stale from then on.
    function record(bytes calldata settlement) external;

    // --- ends without payment of the price

    /// @notice The prover gives up its payment, which frees the requester's ticket, and declines a forced release. It stays liable
    ///         for its ack until its proof is there; a load that brings it is free.
    function cancelAgreement(bytes calldata settlement) external;

    /// @notice A decline that both signed: the fee is paid out of the requester's ticket (0 leaves it untouched), nothing else is owed.
    /// @param declined `verdict u8 | feeWei u96 | requester's signature | prover's signature`
    function decline(bytes calldata settlement, bytes calldata declined) external;

    /// @notice The configuration that the agreement is about ended before the prover's ack: neither side owes anything.
    /// @param ack `ackAt u64 | signature` of the prover
    /// @param core opens the statement; `rollupId` is a member of its lockset
    /// @param epoch a configuration of that rollup that took effect after openFrom, at or before ackAt
    function voidAgreement(
        bytes calldata settlement,
        bytes calldata ack,
        bytes calldata core,
        uint64 rollupId,
        uint64 epoch
    ) external;

    // --- faults

    /// @notice After claimBy, for SLASH_WINDOW: the prover acknowledged and did not deliver; bondWei of its ticket goes to the requester.
    ///         If that ticket has paid for another fault, at most half of its bond does, and the rest is burned.
    /// @param ack `ackAt u64 | signature` of the prover; empty if the contract saw it (answerRelease)
    /// @param failover empty if the requester's ticket is still whole; else `coreId b32 | settlement` of the agreement of a later
    ///        rank of the same request that was paid instead, out of the same ticket, after deliverBy
    function slash(bytes calldata settlement, bytes calldata ack, bytes calldata failover) external;

    /// @notice By the requester: publishes the sealed payload. The prover must answer within RELEASE_WINDOW, by its ack or by
    ///         cancelAgreement.
    function forceRelease(bytes calldata settlement, bytes calldata box) external;

    /// @notice Shows the prover's ack, which holds from then on, whatever its signer says later: until claimBy; as the answer to a
    ///         forced release, within RELEASE_WINDOW.
    function answerRelease(bytes calldata settlement, bytes calldata ack) external;

    /// @notice A forced release was not answered: a sixteenth of the prover's ticket goes to the requester. The agreement goes on.
    function takePeekPenalty(bytes calldata settlement) external;

    /// @notice The requester named one ticket in agreements of two requests whose terms (openFrom to claimBy) overlap. At most half of the
    ///         ticket's bond goes to the payees that it does not pay, none gets more than its price, and the rest is burned.
    /// @param first the agreement that the ticket paid (or for which it was taken, if its owner is also a prover), if it paid
    /// @param paidCore the coreId that was paid; ignored if the ticket did not pay
    function slashEquivocation(bytes calldata first, bytes calldata second, bytes32 paidCore) external;

    // --- views

    function payoutOf(address account) external view returns (uint256);
    function ticketOf(address owner, uint32 ticket) external view returns (TicketView memory);
    function ticketCount(address owner) external view returns (uint32);
    /// @notice Whether this ticket paid for this core under this agreement.
    function isPaid(address owner, uint32 ticket, bytes32 agreement, bytes32 coreId) external view returns (bool);
    function stateOf(bytes32 agreement) external view returns (StateView memory);
    /// @notice Until when (unix seconds, inclusive) signatures of `submitter` count as those of `owner`.
    function submitterValidUntil(address owner, address submitter) external view returns (uint64);
    /// @notice The EIP-712 digest of the agreement in `settlement`.
    function agreementHash(bytes calldata settlement) external view returns (bytes32);
    function domainSeparator() external view returns (bytes32);
}
