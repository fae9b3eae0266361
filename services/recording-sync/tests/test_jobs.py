"""What a restoration needs next: pure."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.machine import Heartbeat, RestorationProgress
from understudy_contracts.restorations import RestorationJob
from understudy_recording_sync.jobs import (
    AWAY_AFTER_S,
    RENEW_MS,
    RETRY_MS,
    Attempt,
    Finish,
    Rest,
    Seen,
    SendFetch,
    SendStop,
    UpdateProgress,
    Wait,
    next_action,
)

NOW = 1_800_000_000_000
HTTP = "http://10.0.0.2:8080"
JOB = RestorationJob("f-1", 1, 7, "north", "m-2", "m-1", "running", NOW)
RUNNING = RestorationProgress("f-1", files_total=3)
ORDERED = Attempt("f-1", 7, HTTP, NOW)


def seen(machine, progress=None, age_s=0.0, address=""):
    return Seen(Heartbeat(machine, "site-a", "b", 1, 1, address=address), age_s, progress)


SOURCE = seen("m-2", address=HTTP)


def decide(job=JOB, target=None, source=SOURCE, attempt=ORDERED, now=NOW):
    return next_action(job, target, source, attempt, now)


@pytest.mark.parametrize("attempt", [None, ORDERED])
def test_a_target_that_knows_nothing_of_it_is_ordered_to_fetch(attempt):
    assert decide(target=seen("m-1"), attempt=attempt) == SendFetch(HTTP)


@pytest.mark.parametrize("target", [None, seen("m-1", RUNNING, AWAY_AFTER_S + 1)])
def test_a_target_that_is_away_is_waited_for_by_name(target):
    assert decide(target=target) == Wait("the recording server m-1 is away")


@pytest.mark.parametrize("source", [None, seen("m-2", age_s=AWAY_AFTER_S + 1, address=HTTP)])
@pytest.mark.parametrize("progress", [None, RUNNING])
def test_a_source_that_is_away_is_waited_for_by_name(source, progress):
    wanted = Wait("the failover server m-2 is away", progress)
    assert decide(target=seen("m-1", progress), source=source) == wanted


def test_a_source_without_an_address_is_named():
    action = decide(target=seen("m-1"), source=seen("m-2"))
    assert action == Wait("the failover server m-2 has told no address for footage")


def test_a_fetch_that_runs_is_followed():
    assert decide(target=seen("m-1", RUNNING)) == UpdateProgress(RUNNING)
    slow = RestorationProgress("f-1", reason="the disk is full")
    assert decide(target=seen("m-1", slow)) == Wait("the disk is full", slow)


@pytest.mark.parametrize(
    "attempt",
    [
        None,
        Attempt("f-1", 6, HTTP, NOW),
        Attempt("f-1", 7, "http://10.0.0.9:1", NOW),
        Attempt("f-1", 7, HTTP, NOW - RENEW_MS),
        Attempt("f-1", 7, HTTP, NOW + RENEW_MS),
    ],
)
def test_an_order_of_another_step_or_address_or_whose_grant_runs_out_is_renewed(attempt):
    assert decide(target=seen("m-1", RUNNING), attempt=attempt) == SendFetch(HTTP)


def test_a_fetch_that_failed_is_ordered_again_after_a_pause_and_says_why_meanwhile():
    failed = RestorationProgress("f-1", "failed", reason="checksum")
    assert decide(target=seen("m-1", failed)) == Wait("checksum", failed)
    assert decide(target=seen("m-1", failed), now=NOW + RETRY_MS) == SendFetch(HTTP)


def test_it_is_done_when_the_target_has_verified_all_even_if_both_are_away_by_now():
    done = RestorationProgress("f-1", "done", 3, 3, 10, 10, digest="d")
    assert decide(target=seen("m-1", done, 99), source=None) == Finish(done)
    assert decide(target=seen("m-1", msgspec.structs.replace(done, digest=""))) != Finish(done)


def test_a_stopped_job_stops_a_target_that_still_fetches():
    stopped = msgspec.structs.replace(JOB, state="stopped")
    assert decide(stopped, seen("m-1", RUNNING)) == SendStop()
    assert decide(stopped, seen("m-1")) == Rest()
    for state in ("done", "discarded"):
        assert decide(msgspec.structs.replace(JOB, state=state), seen("m-1", RUNNING)) == Rest()


PROGRESS = st.none() | st.builds(
    RestorationProgress,
    st.just("f-1"),
    st.sampled_from(["running", "done", "stopped", "failed"]),
    digest=st.sampled_from(["", "d"]),
    reason=st.sampled_from(["", "slow"]),
)
AGES = st.floats(0, 100)
TARGETS = st.none() | st.builds(lambda p, age: seen("m-1", p, age), PROGRESS, AGES)
SOURCES = st.none() | st.builds(
    lambda age, http: seen("m-2", None, age, http), AGES, st.sampled_from(["", HTTP])
)
ATTEMPTS = st.none() | st.builds(
    Attempt, st.just("f-1"), st.integers(1, 9), st.just(HTTP), st.integers(NOW - 10**8, NOW + 10**8)
)


@given(st.sampled_from(["running", "waiting"]), TARGETS, SOURCES, ATTEMPTS)
def test_whatever_the_machines_say_a_job_under_way_goes_on_or_names_what_it_waits_for(
    state, target, source, attempt
):
    action = decide(msgspec.structs.replace(JOB, state=state), target, source, attempt)
    match action:
        case Wait(reason=reason):
            assert reason
        case SendFetch(source=address):
            assert address == HTTP
            assert target is not None
            assert not target.away
        case Finish(progress=progress):
            assert (progress.state, progress.digest) == ("done", "d")
        case UpdateProgress(progress=progress):
            assert progress.state == "running"
        case _:
            pytest.fail(f"{action} for a job that is under way")
