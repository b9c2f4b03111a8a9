// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProofMarket} from "./interfaces/IProofMarket.sol";

/// @title Packed agreements and the EIP-712 structs around them (SPEC §8.2).
library AgreementCodec {
    uint256 internal constant AGREEMENT_BYTES = 261;
    /// @dev agreement and salt; signatures follow
    uint256 internal constant FIXED_BYTES = 293;

    bytes32 private constant AGREEMENT_TYPE = keccak256(
        "Agreement(bytes32 requestId,uint8 rank,address requester,uint32 requesterTicket,address prover,uint32 proverTicket,address payee,uint96 priceWei,uint96 bondWei,bytes32 statementCommit,bytes32 payloadCommit,bytes32 systemsHash,uint64 openFrom,uint64 ackBy,uint64 deliverBy,uint64 claimFrom,uint64 claimBy)"
    );
    bytes32 private constant ACK_TYPE = keccak256("Ack(bytes32 agreementHash,bytes32 payloadCommit,uint64 ackAt)");
    bytes32 private constant RECEIPT_TYPE =
        keccak256("Receipt(bytes32 agreementHash,bytes32 coreId,uint64 receivedAt)");
    bytes32 private constant AMEND_TYPE =
        keccak256("StatementAmend(bytes32 agreementHash,uint16 counter,bytes32 statementCommit)");
    bytes32 private constant DECLINE_TYPE =
        keccak256("Decline(bytes32 agreementHash,uint8 verdict,uint96 feeWei)");

    function domain() internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Unveto"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
    }

    /// @dev The fixed part only; what follows is for whoever checks signatures.
    function read(bytes calldata s) internal pure returns (IProofMarket.Agreement memory a) {
        if (s.length < FIXED_BYTES) revert IProofMarket.MalformedSettlement(s.length);
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
        a.systemsHash = bytes32(s[189:221]);
        a.openFrom = uint64(bytes8(s[221:229]));
        a.ackBy = uint64(bytes8(s[229:237]));
        a.deliverBy = uint64(bytes8(s[237:245]));
        a.claimFrom = uint64(bytes8(s[245:253]));
        a.claimBy = uint64(bytes8(s[253:261]));
    }

    function salt(bytes calldata s) internal pure returns (bytes32) {
        return bytes32(s[AGREEMENT_BYTES:FIXED_BYTES]);
    }

    function digest(bytes32 domainHash, IProofMarket.Agreement memory a) internal pure returns (bytes32) {
        return _typed(domainHash, keccak256(abi.encode(AGREEMENT_TYPE, a)));
    }

    function ackDigest(bytes32 domainHash, bytes32 agreed, bytes32 payloadCommit, uint64 ackAt)
        internal
        pure
        returns (bytes32)
    {
        return _typed(domainHash, keccak256(abi.encode(ACK_TYPE, agreed, payloadCommit, ackAt)));
    }

    function receiptDigest(bytes32 domainHash, bytes32 agreed, bytes32 coreId, uint64 receivedAt)
        internal
        pure
        returns (bytes32)
    {
        return _typed(domainHash, keccak256(abi.encode(RECEIPT_TYPE, agreed, coreId, receivedAt)));
    }

    function amendDigest(bytes32 domainHash, bytes32 agreed, uint16 counter, bytes32 statementCommit)
        internal
        pure
        returns (bytes32)
    {
        return _typed(domainHash, keccak256(abi.encode(AMEND_TYPE, agreed, counter, statementCommit)));
    }

    function declineDigest(bytes32 domainHash, bytes32 agreed, uint8 verdict, uint96 feeWei)
        internal
        pure
        returns (bytes32)
    {
        return _typed(domainHash, keccak256(abi.encode(DECLINE_TYPE, agreed, verdict, feeWei)));
    }

    function _typed(bytes32 domainHash, bytes32 structHash) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes2(0x1901), domainHash, structHash));
    }
}
