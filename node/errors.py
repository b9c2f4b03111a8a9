"""Errors of the node.

NodeError                  has a stable `code`, keeps its values, makes its message from them
├── ConfigError     NOD-001  the operator's file
├── UsageError      NOD-002  the operator's command line
├── NotFound        NOD-003  no such order, file, key
├── ChainMismatch   NOD-004  the endpoint is another chain, or an address holds no contract
├── PlanError       NOD-006  the intent cannot become a table (reason says why)
│   ├── RollupUnknown        it touches a rollup that is not followed
│   └── MissMaskable NOD-014  eth_call does not show whether a contract hid that it missed an entry
├── NotNow          NOD-013  an order is not in a state for what was asked
├── ApiFailed       NOD-015  a node's HTTP API gave no answer
├── StateUnavailable NOD-030 no peer gives a rollup's state at a root
├── ProofFailed     NOD-007  a proving child ended without a proof
│   └── ProofDied   NOD-020  without a word: killed, out of memory, or crashed
└── CalibrationError NOD-021 the file of measured costs cannot be used, or measuring failed
"""

from __future__ import annotations


class NodeError(Exception):
    """Base of the node's own errors."""

    code = "NOD-000"
    text = "error"

    def __init__(self, **values: object) -> None:
        self.values = values
        for name, value in values.items():
            setattr(self, name, value)
        super().__init__(f"[{self.code}] " + self.text.format(**values))


class ConfigError(NodeError):
    code = "NOD-001"
    text = "configuration {where}: {problem}"


class UsageError(NodeError):
    code = "NOD-002"
    text = "{problem}"


class NotFound(NodeError):
    code = "NOD-003"
    text = "no {what} {name}"


class ChainMismatch(NodeError):
    code = "NOD-004"
    text = "{what}: expected {expected}, found {actual}"


class PlanError(NodeError):
    code = "NOD-006"
    text = "cannot plan: {reason}"


class RollupUnknown(PlanError):
    """The flow touches a rollup that this node does not follow. `rollup_id` names it."""

    def __init__(self, rollup_id: int) -> None:
        self.rollup_id = rollup_id
        super().__init__(reason=f"rollup {rollup_id} is not followed")


class MissMaskable(PlanError):
    code = "NOD-014"
    text = "{account} could hide from eth_call that it missed an entry; an endpoint with eth_getProof shows it"


class StateUnavailable(NodeError):
    code = "NOD-030"
    text = "no peer gives the state of rollup {rollup_id} at its root: {why}"


class ProofFailed(NodeError):
    code = "NOD-007"
    text = "no proof: {reason}"


class NotNow(NodeError):
    """What was asked is of no use in this state. `reason` is a stable word, `why` says it in words."""

    code = "NOD-013"
    text = "{what}: {reason}: {why}"


class ApiFailed(NodeError):
    code = "NOD-015"
    text = "the API at {url} did not answer: {problem}"


class ProofDied(ProofFailed):
    code = "NOD-020"


class CalibrationError(NodeError):
    code = "NOD-021"
    text = "calibration {what}: {problem}"
