// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHashVerifier} from "../interfaces/IHashVerifier.sol";
import {IRollups} from "../interfaces/IRollups.sol";

/// @title FOR TESTS ONLY: accepts `keccak(key | hash)` as proof of a hash. Whoever reads the key can prove anything.
contract KeyedVerifier is IHashVerifier {
    bytes32 private immutable KEY;

    constructor(bytes32 key) {
        KEY = key;
    }

    function verify(bytes calldata proof, bytes32 publicInputsHash) external view override returns (bool) {
        return proof.length == 32 && bytes32(proof) == keccak256(abi.encode(KEY, publicInputsHash));
    }
}

/// @title FOR TESTS ONLY: a verifier that misbehaves as told.
contract OddVerifier {
    /// 0 false, 1 true, 2 a word that is no bool, 3 true and more, 4 reverts, 5 burns all gas, 6 nothing, 7 reverts with a lot,
    /// 8 writes, 9 sends a log, 10 calls back into the target, 11 answers truth in a short word
    uint256 public mode;
    address public target;
    bytes public data;

    error Odd(uint256 mode);

    function set(uint256 newMode) external {
        mode = newMode;
    }

    function callBack(address to, bytes calldata what) external {
        (mode, target, data) = (10, to, what);
    }

    /// @dev same answer for a bare verifier and for a proof system, whose calls have other selectors
    fallback() external {
        uint256 m = mode;
        if (m == 4) revert Odd(m);
        if (m == 8) mode = 1;
        if (m == 10) {
            (bool ok, bytes memory reason) = target.call(data);
            if (!ok) {
                assembly ("memory-safe") {
                    revert(add(reason, 32), mload(reason))
                }
            }
        }
        assembly {
            mstore(0, 1)
            switch m
            case 0 {
                mstore(0, 0)
                return(0, 32)
            }
            case 2 {
                mstore(0, 2)
                return(0, 32)
            }
            case 3 { return(0, 64) }
            case 5 { invalid() }
            case 6 { return(0, 0) }
            case 7 { revert(0, 200000) }
            case 9 { log0(0, 32) }
            case 11 { return(1, 31) }
            return(0, 32)
        }
    }
}

/// @title FOR TESTS ONLY: registers a rollup whose systems include one that is gone when the transaction ends.
contract FleetingOwner {
    /// @dev deploys CALLER SELFDESTRUCT
    bytes private constant FLEETING = hex"60028060093d393df333ff";

    /// @param config a zero address in `systems` stands for the system that will be gone
    function create(IRollups rollups, IRollups.Config calldata config, bytes32 root) external returns (uint64 rollupId) {
        bytes memory code = FLEETING;
        address fleeting;
        assembly ("memory-safe") {
            fleeting := create2(0, add(code, 32), mload(code), 0)
        }
        IRollups.Config memory filled = config;
        for (uint256 i = 0; i < filled.systems.length; i++) {
            if (filled.systems[i] == address(0)) filled.systems[i] = fleeting;
        }
        rollupId = rollups.createRollup(filled, address(0), 0, root, hex"010000");
        (bool ok,) = fleeting.call("");
        require(ok);
    }

    function fleetingAddress() external view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), bytes32(0), keccak256(FLEETING))))));
    }
}
