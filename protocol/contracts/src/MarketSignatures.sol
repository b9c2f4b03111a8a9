// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProofMarket} from "./interfaces/IProofMarket.sol";

/// @title Who may sign for whom: accounts, contracts (ERC-1271), and submitter keys of either (SPEC §8.2).
abstract contract MarketSignatures is IProofMarket {
    /// @notice Seconds; longer than MAX_TERM + SLASH_WINDOW, so that what an agreement relies on outlives it.
    uint64 public constant WITHDRAW_DELAY = 14_400;
    /// @notice Gas of one ERC-1271 question.
    uint256 public constant SIGNATURE_GAS = 50_000;
    uint256 private constant MAX_CONTRACT_SIGNATURE = 1024;
    /// @dev half of the order of secp256k1: a signature has one form only
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    bytes4 private constant ERC1271 = 0x1626ba7e;

    uint8 private constant BY_KEY = 0;
    uint8 private constant BY_CONTRACT = 1;
    uint8 private constant BY_SUBMITTER_CONTRACT = 2;

    struct Submitter {
        /// unix seconds, inclusive; 0 if it never accepted
        uint64 validUntil;
        bool proposed;
    }

    mapping(address owner => mapping(address submitter => Submitter)) private _submitters;

    // --- submitters

    /// @inheritdoc IProofMarket
    function proposeSubmitter(address submitter) external override {
        if (submitter == address(0) || submitter == msg.sender) revert BadSubmitter(msg.sender, submitter);
        _submitters[msg.sender][submitter].proposed = true;
        emit SubmitterProposed(msg.sender, submitter);
    }

    /// @inheritdoc IProofMarket
    function acceptSubmitter(address owner) external override {
        Submitter storage s = _submitters[owner][msg.sender];
        if (!s.proposed) revert BadSubmitter(owner, msg.sender);
        s.proposed = false;
        s.validUntil = type(uint64).max;
        emit SubmitterAccepted(owner, msg.sender);
    }

    /// @inheritdoc IProofMarket
    function revokeSubmitter(address owner, address submitter) external override {
        Submitter storage s = _submitters[owner][submitter];
        if (msg.sender != owner && msg.sender != submitter) revert BadSubmitter(owner, submitter);
        if (!s.proposed && s.validUntil != type(uint64).max) revert BadSubmitter(owner, submitter);
        s.proposed = false;
        if (s.validUntil == type(uint64).max) s.validUntil = uint64(block.timestamp) + WITHDRAW_DELAY;
        emit SubmitterRevoked(owner, submitter, s.validUntil);
    }

    /// @inheritdoc IProofMarket
    function submitterValidUntil(address owner, address submitter) external view override returns (uint64) {
        return _submitters[owner][submitter].validUntil;
    }

    function _actsFor(address owner, address account) internal view returns (bool) {
        return account == owner || block.timestamp <= _submitters[owner][account].validUntil;
    }

    // --- signatures

    /// @dev Where the signature that starts at `start` ends: `0 | r s v`, `1 | length u16 | bytes` or `2 | submitter b20 | length u16 | bytes`.
    function _signatureEnd(bytes calldata s, uint256 start) internal pure returns (uint256 end) {
        if (start >= s.length) revert MalformedSignature(start);
        uint8 kind = uint8(s[start]);
        if (kind == BY_KEY) {
            end = start + 66;
        } else {
            uint256 bytesAt = start + (kind == BY_CONTRACT ? 3 : 23);
            if (kind > BY_SUBMITTER_CONTRACT || bytesAt > s.length) revert MalformedSignature(start);
            uint256 length = uint16(bytes2(s[bytesAt - 2:bytesAt]));
            if (length > MAX_CONTRACT_SIGNATURE) revert MalformedSignature(start);
            end = bytesAt + length;
        }
        if (end > s.length) revert MalformedSignature(start);
    }

    /// @dev Reverts unless the signature from `start` to `end` is `owner`'s, or one of its submitters', of `digest`.
    function _checkSignature(
        bytes32 digest,
        bytes calldata s,
        uint256 start,
        uint256 end,
        address owner,
        uint8 role
    ) internal view {
        uint8 kind = uint8(s[start]);
        bool good;
        if (kind == BY_KEY) {
            address signer = _recover(digest, s[start + 1:end]);
            good = signer != address(0) && _actsFor(owner, signer);
        } else if (kind == BY_CONTRACT) {
            good = _asks(owner, digest, s[start + 3:end]);
        } else {
            address submitter = address(bytes20(s[start + 1:start + 21]));
            good = _actsFor(owner, submitter) && _asks(submitter, digest, s[start + 23:end]);
        }
        if (!good) revert BadSignature(role, owner);
    }

    /// @dev A signature that must fill the rest of `s`.
    function _checkLastSignature(bytes32 digest, bytes calldata s, uint256 start, address owner, uint8 role)
        internal
        view
    {
        uint256 end = _signatureEnd(s, start);
        if (end != s.length) revert MalformedSignature(end);
        _checkSignature(digest, s, start, end, owner, role);
    }

    /// @dev Two signatures that must fill the rest of `s`.
    function _checkLastSignatures(
        bytes32 digest,
        bytes calldata s,
        uint256 start,
        Agreement memory a,
        uint8 firstRole
    ) internal view {
        uint256 middle = _signatureEnd(s, start);
        _checkSignature(digest, s, start, middle, a.requester, firstRole);
        _checkLastSignature(digest, s, middle, a.prover, firstRole + 1);
    }

    /// @dev `r | s | v`, low s, v 27 or 28; 0 if it is none.
    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        bytes32 s = bytes32(signature[32:64]);
        uint8 v = uint8(signature[64]);
        if (uint256(s) > MAX_S || (v != 27 && v != 28)) return address(0);
        return ecrecover(digest, v, bytes32(signature[:32]), s);
    }

    /// @dev ERC-1271 by STATICCALL with a gas cap; one word, holding the magic value, is a yes. What a contract returns beyond that is
    ///      never copied.
    function _asks(address account, bytes32 digest, bytes calldata signature) private view returns (bool) {
        bytes memory question = abi.encodeWithSelector(ERC1271, digest, signature);
        uint256 gasLimit = SIGNATURE_GAS;
        bool ok;
        uint256 size;
        bytes32 answer;
        // assembly: a high-level call would copy whatever is returned, at our cost
        assembly ("memory-safe") {
            mstore(0, 0)
            ok := staticcall(gasLimit, account, add(question, 32), mload(question), 0, 32)
            size := returndatasize()
            answer := mload(0)
        }
        return ok && size == 32 && answer == bytes32(ERC1271);
    }
}
