"""secp256k1 signatures: frame digests and EIP-712 structs (SPEC §8.2, §9.1).

Signatures are r | s | v, 65 bytes, s in the lower half of the group order, v 27 or 28: one signature per digest and
key, and the
form that the contracts accept.
"""

from __future__ import annotations

from typing import Final

from coincurve import PrivateKey, PublicKey

from protocol.agreement import Ack, Agreement, Decline, Receipt, StatementAmend
from protocol.codec import Frame
from protocol.errors import Reject
from protocol.hashing import keccak256
from protocol.verdicts import WireCode

GROUP_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER: Final = GROUP_ORDER // 2


class AccountKey:
    """A secp256k1 key of an account. Its representation never shows the secret."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError unless `secret` is 32 bytes in [1, group order)."""
        if len(secret) != 32:
            raise ValueError("an account key has 32 bytes")
        self._key = PrivateKey(secret)
        self.address: Final = _address(self._key.public_key)

    def __repr__(self) -> str:
        return f"AccountKey(0x{self.address.hex()})"

    def sign_digest(self, digest: bytes) -> bytes:
        """65-byte signature of a 32-byte digest; deterministic (RFC 6979), low s."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return bytes(signature[:64]) + bytes((signature[64] + 27,))


def _address(key: PublicKey) -> bytes:
    return keccak256(key.format(compressed=False)[1:])[12:]


def recover_signer(digest: bytes, signature: bytes) -> bytes:
    """Address that signed a 32-byte digest.

    Raises:
        Reject: not 65 bytes, v not 27 or 28, r or s out of range, s in the upper half, or no such point.
    """
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise Reject(WireCode.BAD_SIGNATURE, size=len(signature))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not 0 < r < GROUP_ORDER or not 0 < s <= HALF_ORDER:
        raise Reject(WireCode.BAD_SIGNATURE, why="r or s out of range")
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes((signature[64] - 27,)), digest, hasher=None)
    except ValueError as error:  # coincurve: no point with this r
        raise Reject(WireCode.BAD_SIGNATURE, why="no such point") from error
    return _address(key)


def verify_frame(frame: Frame) -> None:
    """Raises Reject unless the frame's signer signed the bytes that were received."""
    signer = recover_signer(frame.digest, frame.signature)
    if signer != frame.header.signer:
        raise Reject(WireCode.WRONG_SIGNER, claimed=frame.header.signer, signer=signer)


_DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_AGREEMENT_TYPE: Final = (
    b"Agreement(bytes32 requestId,uint8 rank,address requester,uint32 requesterTicket,address prover,"
    b"uint32 proverTicket,address payee,uint96 priceWei,uint96 bondWei,bytes32 statementCommit,"
    b"bytes32 payloadCommit,bytes32 systemsHash,uint64 openFrom,uint64 ackBy,uint64 deliverBy,uint64 claimFrom,"
    b"uint64 claimBy)"
)
_ACK_TYPE: Final = b"Ack(bytes32 agreementHash,bytes32 payloadCommit,uint64 ackAt)"
_RECEIPT_TYPE: Final = b"Receipt(bytes32 agreementHash,bytes32 coreId,uint64 receivedAt)"
_AMEND_TYPE: Final = b"StatementAmend(bytes32 agreementHash,uint16 counter,bytes32 statementCommit)"
_DECLINE_TYPE: Final = b"Decline(bytes32 agreementHash,uint8 verdict,uint96 feeWei)"


def _digest(chain_id: int, market: bytes, type_text: bytes, values: tuple[int | bytes, ...]) -> bytes:
    """EIP-712 digest of a struct of static members, values in field order."""
    domain = keccak256(
        keccak256(_DOMAIN_TYPE)
        + keccak256(b"Unveto")
        + keccak256(b"1")
        + chain_id.to_bytes(32, "big")
        + market.rjust(32, b"\0")
    )
    words = (value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0") for value in values)
    return keccak256(b"\x19\x01" + domain + keccak256(keccak256(type_text) + b"".join(words)))


def agreement_digest(chain_id: int, market: bytes, agreement: Agreement) -> bytes:
    """`agreementHash`: what requester and prover both sign."""
    return _digest(chain_id, market, _AGREEMENT_TYPE, agreement.values())


def ack_digest(chain_id: int, market: bytes, ack: Ack) -> bytes:
    """What the prover signs when it starts; with it non-delivery is slashable."""
    return _digest(chain_id, market, _ACK_TYPE, (ack.agreement_hash, ack.payload_commit, ack.ack_at))


def receipt_digest(chain_id: int, market: bytes, receipt: Receipt) -> bytes:
    """What the requester signs when it has verified the delivery."""
    return _digest(chain_id, market, _RECEIPT_TYPE, (receipt.agreement_hash, receipt.core_id, receipt.received_at))


def amend_digest(chain_id: int, market: bytes, amend: StatementAmend) -> bytes:
    """What both sign when the agreement is to be about another table."""
    return _digest(chain_id, market, _AMEND_TYPE, (amend.agreement_hash, amend.counter, amend.statement_commit))


def decline_digest(chain_id: int, market: bytes, decline: Decline) -> bytes:
    """What both sign when the prover is released for a fee."""
    return _digest(chain_id, market, _DECLINE_TYPE, (decline.agreement_hash, decline.verdict, decline.fee_wei))
