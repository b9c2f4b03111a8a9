"""Constants of SPEC.md. A name that SPEC.md writes as `NAME = value` has that value here; a test compares both."""

from __future__ import annotations

from typing import Final

FIELD_ORDER: Final = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""Order r of the BN254 scalar field (SPEC §1)."""
ADDRESS_BITS: Final = 160
ENDPOINT_BITS: Final = 224

# §2 tags of the list hash
TAG_CODE: Final = 1
TAG_FRAME: Final = 2
TAG_DATA: Final = 3
TAG_STATEMENT: Final = 4
TAG_UNWIND: Final = 5
TAG_TX: Final = 6
TAG_ADDRESS: Final = 7

# §3 state
TREE_ARITY: Final = 4
TREE_DEPTH: Final = 16
"""Of a tree with more than 4^12 leaves, the largest there is."""
MIN_TREE_DEPTH: Final = 8
TREE_DEPTH_STEP: Final = 4
"""Smaller trees have depth 8, then 12 (SPEC §3.1)."""
NS_STORAGE: Final = 1
NS_ACCOUNT: Final = 2
NS_QUEUE: Final = 3
NS_DEPLOY: Final = 4
NS_DOMAIN: Final = 5
MAX_GENESIS_BYTES: Final = 65536
MAX_BUCKET_LEAVES: Final = 4096
"""Of one bucket: a light client hashes it in seconds."""

# §4 machine
INT_BITS: Final = 128
"""Width of an integer register."""
MAX_PROGRAM: Final = 4096
"""Instructions in one program."""
STEP_LIMIT: Final = 65536
"""Steps of one frame, suspensions included; a protocol rule, never a property of a tier."""
MAX_DATA_BYTES: Final = 516
"""Call data or answer that the machine can see: a selector and 16 words."""
DEPLOYER: Final = 1
"""Address, in every rollup, that deploys programs."""
DEPLOY_CHUNK: Final = 15
"""Instructions in one deploying call."""
MAX_WORDS: Final = 16
"""Argument, answer and out words of a frame."""

# §5 actions and cores
MAX_SCOPE: Final = 7
MAX_ACTION_DATA: Final = 1024
MAX_LOCKSET: Final = 8
MAX_ENTRIES: Final = 256
MAX_CORE_BYTES: Final = 65536
NONE: Final = 0xFFFF
"""Stands for "no index" in a core."""

# §8 contracts
MAX_SKEW: Final = 3600
"""Seconds between l2Time and the block that loads the table."""
TICKET_UNIT: Final = 1000000000000000
"""wei of a ticket of class 0; each class holds four times the one before."""
MAX_CLASS: Final = 15
MAX_TERM: Final = 7200
"""Longest time in seconds from openFrom to claimBy of an agreement."""
CLAIM_GRACE: Final = 300
"""Seconds after deliverBy in which rank 1 can claim without a receipt; then it is the next rank's turn."""
SLASH_WINDOW: Final = 3600
"""Seconds after claimBy in which a bond can be taken."""
WITHDRAW_DELAY: Final = 14400
"""Seconds between requestWithdraw and withdraw of a ticket; longer than MAX_TERM and SLASH_WINDOW together."""
RELEASE_WINDOW: Final = 600
"""Seconds in which a forced release must be answered."""
PEEK_DIVISOR: Final = 16
"""Part of a bond ticket that silence after a forced release costs."""
SIGNATURE_GAS: Final = 50000
"""Gas of one question to a contract whether it signed."""
MAX_CONTRACT_SIGNATURE: Final = 1024
"""Bytes of a contract's signature."""
MAX_BOX: Final = 65584
"""Bytes of a sealed payload that can be published by forceRelease."""
BOND_PER_ENTRY: Final = 5000000000000000
"""wei for each entry of a table in the persistent lane."""
MAX_TABLE_BLOCKS: Final = 50400
"""Blocks after which a table of the persistent lane is expired, whatever its validity."""
FORCE_BOUNTY: Final = 10000000000000000
"""Least wei with a forced transaction."""
MAX_FORCED_BYTES: Final = 512
"""Of a forced transaction."""
FORCED_GAP: Final = 5
"""Blocks after a forced transaction was taken before the next is overdue."""
MAX_SYSTEMS: Final = 8
"""Proof systems of a rollup's configuration."""

# §9 wire
MAX_GOSSIP_BODY: Final = 4096
MAX_FAULT_BODY: Final = 16384
"""Evidence is frames."""
MAX_LIFETIME_MS: Final = 600000
MAX_CLOCK_SKEW_MS: Final = 2000
MAX_DIRECT_AGE_MS: Final = 62000
"""A direct message is made for the stream that it travels on: the longest exchange, and the tolerance."""

# §11 payload
MIN_PAYLOAD_LOG2: Final = 10
MAX_PAYLOAD_LOG2: Final = 22
MAX_WITNESS_LEAVES: Final = 1024
MAX_WITNESS_NODES: Final = 16384
MAX_WITNESS_PROGRAMS: Final = 16
"""Limits of one state witness: hashing it all takes seconds, not minutes."""
