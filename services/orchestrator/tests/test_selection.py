"""Which failover server takes over (M10)."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.model import StorageState, Verdict
from understudy_orchestrator.selection import Candidate, refusal, select

FIT = Candidate(
    server="fs-1",
    name="Spare 1",
    site="a",
    machine="m-1",
    capacity=10,
    verdict=Verdict.HEALTHY,
    storage=StorageState.NORMAL,
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"disabled": True}, "disabled"),
        ({"machine": None}, "no machine has joined as this server yet"),
        ({"busy_with": "f-7"}, "busy with f-7"),
        ({"verdict": Verdict.DISCONNECTED}, "disconnected"),
        ({"verdict": Verdict.STORAGE_DAMAGED}, "storage damaged"),
        ({"verdict": Verdict.INCOMPATIBLE}, "incompatible"),
        ({"answers": False}, "does not answer"),
        ({"storage": StorageState.FULL}, "storage full"),
    ],
)
def test_an_unfit_candidate_is_rejected_with_its_reason(change, why):
    candidate = dataclasses.replace(FIT, **change)
    selection = select([candidate], site="a", cameras=5)
    assert selection.chosen is None
    assert selection.rejected == {"fs-1": why}


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([{"server": "fs-2", "site": "b", "capacity": 5}], "fs-1"),  # same site before closest capacity
        ([{"server": "fs-2", "capacity": 4}], "fs-1"),  # sufficing before closest
        ([{"server": "fs-2", "capacity": 6}], "fs-2"),  # the smallest difference
        ([{"server": "fs-0"}], "fs-0"),  # then the id
    ],
)
def test_the_order_of_the_fit_ones(others, chosen):
    candidates = [FIT, *(dataclasses.replace(FIT, **other) for other in others)]
    for order in (candidates, candidates[::-1]):
        selection = select(order, site="a", cameras=5)
        assert selection.chosen is not None
        assert selection.chosen.server == chosen


def test_only_the_one_that_was_asked_for():
    other = dataclasses.replace(FIT, server="fs-2")
    selection = select([FIT, other], site="a", cameras=5, requested="fs-2")
    assert selection.chosen == other
    assert selection.rejected == {"fs-1": "another one was asked for"}


candidates = st.builds(
    Candidate,
    server=st.sampled_from([f"fs-{n}" for n in range(6)]),
    name=st.just("Spare"),
    site=st.sampled_from("ab"),
    machine=st.sampled_from([None, "m-1"]),
    capacity=st.integers(0, 200),
    verdict=st.sampled_from(list(Verdict)),
    storage=st.sampled_from(list(StorageState)),
    busy_with=st.sampled_from([None, "f-1"]),
    disabled=st.booleans(),
    answers=st.booleans(),
)


@given(st.lists(candidates, max_size=8, unique_by=lambda c: c.server), st.integers(0, 200), st.randoms())
def test_the_choice_does_not_depend_on_the_order_and_is_always_fit(found, cameras, randomness):
    chosen = select(found, site="a", cameras=cameras).chosen
    shuffled = list(found)
    randomness.shuffle(shuffled)
    assert select(shuffled, site="a", cameras=cameras).chosen == chosen
    if chosen is None:
        assert all(refusal(candidate) for candidate in found)
    else:
        assert refusal(chosen) is None
