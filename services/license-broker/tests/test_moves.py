"""Which keys go where: pure, and over random orders of requests."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.errors import InvalidInput
from understudy_contracts.licenses import LedgerEntry, LicenseKey, overlapping_holdings
from understudy_license_broker.moves import check_epoch, plan_lending, plan_returning


def key(name, holder, home=None, failover=None):
    return LicenseKey(name, holder, 1, home, failover)


def moved(moves):
    return {move.after.key: (move.after.holder, move.after.home, move.after.failover) for move in moves}


def test_up_to_count_keys_are_lent_in_the_order_of_their_names():
    keys = [key("K3", "a"), key("K1", "a"), key("K2", "a"), key("K0", "b")]
    assert moved(plan_lending(keys, "f-1", "a", "spare", 2, 9)) == {
        "K1": ("spare", "a", "f-1"),
        "K2": ("spare", "a", "f-1"),
    }
    assert len(plan_lending(keys, "f-1", "a", "spare", 99, 9)) == 3
    assert plan_lending(keys, "f-1", "a", "spare", 0, 9) == []


@pytest.mark.parametrize("source", ["a", "spare-1"])
def test_a_later_failover_borrows_on_from_where_the_keys_are_and_home_stays_home(source):
    keys = [key("K1", "spare-1", "a", "f-1")]
    assert moved(plan_lending(keys, "f-2", source, "spare-2", 5, 9)) == {"K1": ("spare-2", "a", "f-2")}


def test_an_earlier_failover_takes_nothing_that_a_later_one_borrowed():
    keys = [key("K1", "spare-2", "a", "f-2")]
    assert plan_lending(keys, "f-1", "a", "spare-1", 5, 9) == []
    assert plan_returning(keys, "f-1", 9) == []


def test_epochs_are_compared_as_numbers():
    keys = [key("K1", "spare-1", "a", "f-9")]
    assert len(plan_lending(keys, "f-10", "a", "spare-2", 5, 9)) == 1


def test_what_failover_has_moved_already_is_moved_no_more():
    keys = [key("K1", "spare", "a", "f-1"), key("K2", "a")]
    assert plan_lending(keys, "f-1", "a", "spare", 2, 9) == []


def test_nonsense_is_refused():
    with pytest.raises(InvalidInput, match="to itself"):
        plan_lending([], "f-1", "a", "a", 1, 9)
    with pytest.raises(InvalidInput, match="not of epoch 2"):
        check_epoch("f-1", 2)


class World:
    """Carries plans out as the ledger does: a failover that has returned its keys borrows no more."""

    def __init__(self):
        self.keys = {}
        self.entries = []
        self.returned = set()

    def bring_in(self, name, holder):
        if name not in self.keys:
            self._put(None, LicenseKey(name, holder, 0))

    def lend(self, failover, source, target, count):
        if failover not in self.returned:
            self._carry_out(plan_lending(self.keys.values(), failover, source, target, count, 1))

    def give_back(self, failover):
        self.returned.add(failover)
        self._carry_out(plan_returning(self.keys.values(), failover, 1))

    def _carry_out(self, moves):
        for move in moves:
            assert self.keys[move.before.key] == move.before
            self._put(move.before.holder, move.after)

    def _put(self, source, after):
        self.keys[after.key] = after
        position = len(self.entries) + 1
        self.entries.append(LedgerEntry(position, after.key, 1, "x", source, after.holder))


SERVERS = ["a", "b", "spare-1", "spare-2", "spare-3"]
REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.just("import"), st.sampled_from(["K1", "K2", "K3", "K4"]), st.sampled_from(["a", "b"])),
        st.tuples(
            st.just("lend"),
            st.integers(1, 4),
            st.permutations(SERVERS).map(lambda servers: servers[:2]),
            st.integers(0, 4),
        ),
        st.tuples(st.just("return"), st.integers(1, 4)),
    ),
    max_size=40,
)


@given(REQUESTS, st.integers(0, 1))
def test_in_whatever_order_requests_come_no_key_has_two_holders_and_all_come_home(requests, repeats):
    world, homes = World(), {}
    for request in requests:
        for _ in range(repeats + 1):
            match request:
                case "import", name, holder:
                    homes.setdefault(name, holder)
                    world.bring_in(name, holder)
                case "lend", epoch, (source, target), count:
                    world.lend(f"f-{epoch}", source, target, count)
                case "return", epoch:
                    world.give_back(f"f-{epoch}")
        assert overlapping_holdings(world.entries) == 0
        assert world.keys.keys() == homes.keys()
    for epoch in range(1, 5):
        world.give_back(f"f-{epoch}")
    assert {name: each.holder for name, each in world.keys.items()} == homes
    assert all(
        msgspec.structs.replace(each, since=0) == LicenseKey(each.key, each.holder, 0)
        for each in world.keys.values()
    )
    assert overlapping_holdings(world.entries) == 0
