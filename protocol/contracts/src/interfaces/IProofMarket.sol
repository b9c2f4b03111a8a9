// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Tickets and settlement of proof agreements (SPEC §8.2). Nobody administers it; it never calls out but to verify and to pay.
/// @notice There is no lock on chain: a ticket is safe for an agreement because taking it out takes WITHDRAW_DELAY, longer than
///         the agreement's last claim and slash. Who accepts a ticket must check that no withdrawal of it is pending.
interface IProofMarket {
    struct Ticket {
        /// wei; 0 for none or withdrawn
        uint96 amount;
        /// unix seconds from which it may be withdrawn, 0 if none was requested; 1 if the ticket paid: it pays no more, and its rest
        /// may be withdrawn
        uint64 withdrawableAt;
    }

    struct Agreement {
        bytes32 requestId;
        uint8 rank;
        address requester;
        uint32 requesterTicket;
        address prover;
        uint32 proverTicket;
        address payee;
        uint96 priceWei;
        uint96 bondWei;
        bytes32 statementCommit;
        bytes32 payloadCommit;
        bytes32 familyHash;
        uint64 ackBy;
        uint64 deliverBy;
        uint64 claimBy;
    }

    event TicketsDeposited(address indexed owner, uint32 first, uint32 count, uint96 amountEach);
    event WithdrawRequested(address indexed owner, uint32 ticket, uint64 withdrawableAt);
    event TicketWithdrawn(address indexed owner, uint32 ticket, uint96 amount);
    /// @param byClaim true if paid by claimWithProof, false if inside a load
    event AgreementSettled(
        bytes32 indexed agreementHash,
        bytes32 indexed requestId,
        address indexed payee,
        uint96 priceWei,
        bytes32 coreId,
        bool byClaim
    );
    /// @notice A valid proof came by claimWithProof, but there was nothing to pay it from (or another rank was paid).
    event DeliveredUnpaid(bytes32 indexed agreementHash, bytes32 indexed requestId, bytes32 coreId);
    event AgreementSlashed(bytes32 indexed agreementHash, address indexed prover, address requester, uint96 bondWei);
    event AgreementCancelled(bytes32 indexed agreementHash, address indexed prover);
    event Collected(address indexed account, uint256 amount);

    error NotRollups(address caller);
    error BadDeposit(uint32 count, uint256 value);
    error NoTicket(address owner, uint32 ticket);
    error WithdrawNotRequested(address owner, uint32 ticket);
    error WithdrawTooEarly(uint64 withdrawableAt, uint256 time);
    error MalformedSettlement(uint256 length);
    error AgreementMismatch(bytes32 expected, bytes32 actual);
    error PayeeMismatch(address agreed, address proven);
    error FamilyMismatch(bytes32 agreed, bytes32 proven);
    error StatementMismatch(bytes32 agreed, bytes32 opened);
    /// @param role 0 requester, 1 prover, 2 prover's ack
    error BadSignature(uint8 role, address expected);
    error AgreementExpired(uint64 claimBy, uint256 time);
    error AgreementIsCancelled(bytes32 agreementHash);
    error Unfunded(address owner, uint32 ticket, uint256 wanted, uint256 held);
    error AlreadySettled(bytes32 agreementHash);
    /// @notice The request was paid under another agreement.
    error RequestSettled(bytes32 agreementHash);
    error AlreadyDelivered(bytes32 agreementHash);
    error AlreadySlashed(bytes32 agreementHash);
    error SlashTooEarly(uint64 claimBy, uint256 time);
    error SlashTooLate(uint64 until, uint256 time);
    error LateAck(uint64 ackBy, uint64 ackAt);
    error MalformedAck(uint256 length);
    error NotProver(address caller);
    error NothingToCollect(address account);
    error PaymentFailed(address account);

    /// @notice Adds `count` (1..256) tickets of `msg.value / count` wei each; the value must divide evenly.
    /// @return first number of the first one; a caller's tickets are numbered from 0
    function deposit(uint32 count) external payable returns (uint32 first);

    function requestWithdraw(uint32 ticket) external;

    /// @notice Pays the ticket out to its owner's credit, WITHDRAW_DELAY after the request.
    function withdraw(uint32 ticket) external;

    /// @notice Called by Rollups inside a load whose triggers run. Pays the payee's credit out of the requester's ticket and
    ///         frees the rest of it. Does nothing if this agreement was paid already.
    function settle(
        bytes32 coreId,
        bytes32 agreementHash,
        address payee,
        bytes32 familyHash,
        bytes calldata settlement
    ) external;

    /// @notice Pays for a delivered proof without loading it, until claimBy. Proofs are checked against the configurations in force
    ///         at the earlier of now and ackBy. Never reverts for want of money: the delivery counts either way.
    function claimWithProof(bytes calldata core, bytes calldata proofs, bytes calldata settlement) external;

    /// @notice Between claimBy and claimBy + SLASH_WINDOW: the prover acknowledged and did not deliver, its bond goes to the requester.
    /// @param ack `ackAt u64 | signature 65`
    function slash(bytes calldata settlement, bytes calldata ack) external;

    /// @notice The prover gives up its payment, so that the requester's ticket is free at once. It stays liable for its ack.
    function cancelAgreement(bytes calldata settlement) external;

    /// @notice Sends an account's whole credit to it.
    function collect(address account) external;

    function payoutOf(address account) external view returns (uint256);
    function ticketOf(address owner, uint32 ticket) external view returns (Ticket memory);
    function ticketCount(address owner) external view returns (uint32);
    /// @notice The agreement that was paid for a request, 0 for none.
    function settledBy(address requester, bytes32 requestId) external view returns (bytes32);
    /// @notice The EIP-712 digest of the agreement in `settlement`.
    function agreementHash(bytes calldata settlement) external view returns (bytes32);
    function domainSeparator() external view returns (bytes32);
}
