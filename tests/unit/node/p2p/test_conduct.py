"""Strikes, forgiveness, bans."""

from node.p2p.conduct import MAX_DOUBLINGS, MAX_PEERS_TRACKED, Conduct


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock) -> Conduct:
    return Conduct(limit=3, forgive_s=10.0, ban_s=100.0, now=clock)


def test_limit_bans_exactly_once() -> None:
    """Only the strike that begins the ban says so."""
    conduct = make(Clock())

    assert [False, False, True, False] == [conduct.strike("p") for _ in range(4)]
    assert conduct.is_banned("p")
    assert not conduct.is_banned("q")


def test_one_strike_is_forgiven_per_period() -> None:
    """A peer that errs now and then is never banned."""
    clock = Clock()
    conduct = make(clock)

    for _ in range(20):
        assert not conduct.strike("p")
        clock.now += 10.0

    assert 0 == conduct.strikes("p")


def test_forgiveness_does_not_come_early() -> None:
    """Strikes just under a period apart add up."""
    clock = Clock()
    conduct = make(clock)
    conduct.strike("p")
    conduct.strike("p")
    clock.now = 9.9

    assert conduct.strike("p")


def test_ban_ends() -> None:
    """And the peer starts with a clean record."""
    clock = Clock()
    conduct = make(clock)
    for _ in range(3):
        conduct.strike("p")
    clock.now = 99.9
    assert conduct.is_banned("p")
    clock.now = 100.0

    assert not conduct.is_banned("p")
    assert 0 == conduct.strikes("p")


def test_flood_of_ids_neither_grows_the_table_nor_lifts_a_ban() -> None:
    """Peer ids cost nothing."""
    conduct = make(Clock())
    for _ in range(3):
        conduct.strike("banned")

    for number in range(3 * MAX_PEERS_TRACKED):
        conduct.strike(f"invented {number}")

    assert conduct.is_banned("banned")
    assert len(conduct._records) <= MAX_PEERS_TRACKED


def banned(conduct: Conduct, clock: Clock, peer: str) -> float:
    """Strikes a peer into a ban and returns the ban's length; the ban is over then."""
    began = clock.now
    while not conduct.strike(peer):
        pass
    while conduct.is_banned(peer):
        clock.now += 50.0
    return clock.now - began


def test_each_further_ban_is_twice_as_long_up_to_a_limit() -> None:
    """Whoever comes back and goes on is refused for longer, a day at the most."""
    clock = Clock()
    conduct = make(clock)

    lengths = [banned(conduct, clock, "p") for _ in range(MAX_DOUBLINGS + 2)]

    assert [100.0 * 2**n for n in range(MAX_DOUBLINGS + 1)] + [100.0 * 2**MAX_DOUBLINGS] == lengths


def test_a_peer_that_behaves_for_long_starts_again_with_a_short_ban() -> None:
    """Four times the last ban's length for each ban that is forgotten."""
    clock = Clock()
    conduct = make(clock)
    banned(conduct, clock, "p")
    banned(conduct, clock, "p")
    clock.now += 2 * 4 * 200.0

    assert 100.0 == banned(conduct, clock, "p")


def test_a_ban_for_other_reasons_begins_once_and_never_shortens_one() -> None:
    """Evidence may say for longer what strikes said; nothing takes it back."""
    clock = Clock()
    conduct = make(clock)

    assert conduct.ban("p", 1000.0)
    assert not conduct.ban("p", 10.0)
    clock.now = 999.0
    assert conduct.is_banned("p")
    clock.now = 1000.0
    assert not conduct.is_banned("p")
