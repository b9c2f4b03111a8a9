"""Baby Jubjub and EdDSA-Poseidon against circomlibjs: its signatures verify here, ours verify there."""

from __future__ import annotations

import json
import random
import subprocess
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.errors import DecodeError
from protocol.vm.babyjub import BASE, SUBGROUP_ORDER, Point, compress, decompress, multiply
from protocol.vm.eddsa import Signature, SigningKey, verify
from tests.support.tools import node, node_environment, npm_package

SCRIPT = """
const { buildEddsa, buildBabyjub } = require("circomlibjs");
(async () => {
  const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const eddsa = await buildEddsa(), curve = await buildBabyjub(), F = curve.F;
  const text = (p) => p.map((c) => F.toObject(c).toString());
  const point = (p) => p.map((c) => F.e(c));
  const answer = {
    base: text(curve.Base8), order: curve.subOrder.toString(),
    multiples: asked.scalars.map((s) => text(curve.mulPointEscalar(curve.Base8, BigInt(s)))),
    packed: asked.points.map((p) => Buffer.from(curve.packPoint(point(p))).toString("hex")),
    unpacked: asked.packed.map((h) => {
      const p = curve.unpackPoint(Uint8Array.from(Buffer.from(h, "hex")));
      return p === null ? null : text(p);
    }),
    signed: asked.messages.map((m) => {
      const secret = Buffer.from(asked.secret, "hex");
      const s = eddsa.signPoseidon(secret, F.e(m));
      return { public: text(eddsa.prv2pub(secret)), r8: text(s.R8), s: s.S.toString() };
    }),
    verified: asked.signatures.map((s) =>
      eddsa.verifyPoseidon(F.e(s.message), { R8: point(s.r8), S: BigInt(s.s) }, point(s.public))),
  };
  process.stdout.write(JSON.stringify(answer));
  process.exit(0);
})();
"""
RNG = random.Random(31)
KEY = SigningKey(RNG.randbytes(32))
MESSAGES = (0, 1, R - 1, RNG.randrange(R))
SCALARS = (0, 1, 2, 8, SUBGROUP_ORDER - 1, RNG.randrange(SUBGROUP_ORDER))
POINTS = tuple(multiply(s, BASE) for s in SCALARS)
WORDS = (2, 3, 4, 5, 6, 7, *(RNG.randrange(R) for _ in range(6)))
"""Of some, no x belongs to y."""


def ours() -> list[tuple[int, Signature]]:
    """Good signatures, then bad ones."""
    good = [(m, KEY.sign(m)) for m in MESSAGES]
    first = good[0][1]
    bad = [
        (1, first),
        (0, Signature(r8=first.r8, s=(first.s + 1) % SUBGROUP_ORDER)),
        (0, Signature(r8=first.r8, s=first.s + SUBGROUP_ORDER)),
        (0, Signature(r8=multiply(2, first.r8), s=first.s)),
    ]
    return good + bad


@cache
def answer() -> dict[str, list[object]]:
    """One run of node for all questions."""
    npm_package("circomlibjs")
    asked = {
        "scalars": [str(s) for s in SCALARS],
        "points": [[str(c) for c in p] for p in POINTS],
        "packed": [w.to_bytes(32, "little").hex() for w in WORDS],
        "messages": [str(m) for m in MESSAGES],
        "secret": RNG.randbytes(32).hex(),
        "signatures": [
            {"message": str(m), "r8": [str(c) for c in s.r8], "s": str(s.s), "public": [str(c) for c in KEY.public]}
            for m, s in ours()
        ],
    }
    done = subprocess.run(
        [str(node()), "-e", SCRIPT], input=json.dumps(asked), env=node_environment(),
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def as_point(pair: object) -> Point:
    """Two decimal strings."""
    assert isinstance(pair, list)
    return Point(int(pair[0]), int(pair[1]))


def test_curve_and_multiples_agree() -> None:
    """Base point, order, and scalars at the edges."""
    assert as_point(answer()["base"]) == BASE
    assert int(str(answer()["order"])) == SUBGROUP_ORDER
    assert [as_point(p) for p in answer()["multiples"]] == list(POINTS)


def test_packed_points_agree() -> None:
    """iden3's bytes are our word in little-endian."""
    assert answer()["packed"] == [compress(p).to_bytes(32, "little").hex() for p in POINTS]


def test_unpacked_points_agree() -> None:
    """Words without a point are refused by both."""
    for word, theirs in zip(WORDS, answer()["unpacked"], strict=True):
        if theirs is None:
            with pytest.raises(DecodeError):
                decompress(word)
        else:
            found = decompress(word)
            assert as_point(theirs) == found
    assert None in answer()["unpacked"]


def test_their_signatures_verify_here() -> None:
    """For messages at the edges of the field."""
    signed = answer()["signed"]
    assert len(signed) == len(MESSAGES)
    for message, made in zip(MESSAGES, signed, strict=True):
        assert isinstance(made, dict)
        signature = Signature(r8=as_point(made["r8"]), s=int(made["s"]))

        assert verify(as_point(made["public"]), message, signature)
        assert not verify(as_point(made["public"]), (message + 1) % R, signature)


def test_our_signatures_verify_there_and_bad_ones_fail_in_both() -> None:
    """The two verifiers give the same answers."""
    theirs = answer()["verified"]

    assert theirs == [verify(KEY.public, m, s) for m, s in ours()]
    assert theirs == [True] * len(MESSAGES) + [False] * 4
