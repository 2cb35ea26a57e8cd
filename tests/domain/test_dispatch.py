"""Who is next in the queue: one job per host, exclusive jobs alone, backups first, nobody for ever."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm.domain import dispatch
from rm.domain.dispatch import Hold, OpenJob

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
KINDS = ("backup", "check", "prune", "unlock", "snapshots", "init", "forget", "restore")


def job(id, kind="backup", host="web1", age=1, sent=False, silent=0, connected=True, repository="r"):
    return OpenJob(
        id=id, host_id=host, repository_id=repository, kind=kind, created_at=NOW - age * MINUTE, is_sent=sent,
        last_sign_at=NOW - silent * MINUTE if sent else None, is_host_connected=connected,
    )  # fmt: skip


def test_a_host_gets_one_job_at_a_time():
    chosen, holds = dispatch.next_job("web1", [job("1", sent=True), job("2", "unlock")], NOW)

    assert (chosen, holds) == (None, {"2": Hold(dispatch.HOST_BUSY, "1")})


def test_a_prune_waits_for_a_backup_of_another_host():
    chosen, holds = dispatch.next_job("web1", [job("1", host="db1", sent=True), job("2", "prune")], NOW)

    assert (chosen, holds) == (None, {"2": Hold(dispatch.REPOSITORY_BUSY, "1")})


@pytest.mark.parametrize("kind", ["backup", "check", "prune"])
def test_nothing_that_locks_starts_beside_a_prune(kind):
    open_jobs = [job("1", "prune", host="db1", sent=True), job("2", kind)]

    assert dispatch.next_job("web1", open_jobs, NOW)[0] is None


@pytest.mark.parametrize("kind", ["unlock", "snapshots", "init"])
def test_what_takes_no_lock_does_not_wait_for_a_prune(kind):
    open_jobs = [job("1", "prune", host="db1", sent=True), job("2", kind)]

    assert dispatch.next_job("web1", open_jobs, NOW)[0] == "2"


def test_backups_of_two_hosts_run_side_by_side_and_another_repository_does_not_matter():
    assert dispatch.next_job("web1", [job("1", host="db1", sent=True), job("2")], NOW)[0] == "2"
    elsewhere = job("1", "prune", host="db1", sent=True, repository="other")
    assert dispatch.next_job("web1", [elsewhere, job("2")], NOW)[0] == "2"


def test_a_backup_that_waits_goes_before_an_older_prune_on_its_host_and_on_others():
    prune = job("1", "prune", age=30)

    assert dispatch.next_job("web1", [prune, job("2", age=1)], NOW)[0] == "2"
    _, holds = dispatch.next_job("web1", [prune, job("2", host="db1", age=1)], NOW)
    assert holds == {"1": Hold(dispatch.BACKUPS_FIRST, "2")}


def test_after_an_hour_it_is_the_prunes_turn():
    prune, later = job("1", "prune", age=60), job("2", host="db1")

    assert dispatch.next_job("web1", [prune, later], NOW)[0] == "1"
    assert dispatch.next_job("db1", [prune, later], NOW)[1] == {"2": Hold(dispatch.ITS_TURN, "1")}


def test_a_host_that_is_away_holds_up_nobody():
    prune, backup = job("1", "prune", age=90, connected=False), job("2", host="db1")

    assert dispatch.next_job("db1", [prune, backup], NOW)[0] == "2"
    waiting = job("3", host="db1", connected=False)
    assert dispatch.next_job("web1", [job("1", "prune"), waiting], NOW)[0] == "1"


def test_a_backup_stops_waiting_for_a_prune_that_nobody_hears_of_but_a_prune_does_not():
    silent = job("1", "prune", host="db1", sent=True, silent=36)

    assert dispatch.next_job("web1", [silent, job("2")], NOW)[0] == "2"
    assert dispatch.next_job("web1", [silent, job("2", "check", age=90)], NOW)[0] is None
    assert dispatch.next_job("web1", [job("1", host="db1", sent=True, silent=600), job("2", "prune")], NOW)[0] is None


@pytest.mark.parametrize(("sent_before", "chosen"), [(57, None), (59, "2"), (90, "2")])
def test_a_backup_is_sent_shortly_before_the_time_box_of_a_prune_is_over_so_that_it_waits_no_longer(
    sent_before, chosen
):
    hour = timedelta(hours=1)
    prune = replace(
        job("1", "prune", host="db1", sent=True), frees_at=dispatch.frees_at(NOW - sent_before * MINUTE, hour)
    )

    assert dispatch.next_job("web1", [prune, job("2")], NOW)[0] == chosen
    assert dispatch.next_job("web1", [prune, job("2", "check", age=90)], NOW)[0] is None


def test_a_job_without_a_time_box_never_makes_way_by_time():
    assert dispatch.frees_at(NOW, timedelta(0)) is None


ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(["web1", "db1", "nas"]),
        st.sampled_from(["r", "s"]),
        st.integers(0, 12),  # when it is ordered, and how long it runs, in ticks
        st.integers(1, 4),
    ),
    max_size=14,
)
TICK = 10 * MINUTE


def play(arrivals):
    """The queue tick by tick: (tick, jobs that run) as long as something is left, and when each one started."""
    waiting, running, started, moments = [], {}, {}, []
    todo = sorted(
        (at, str(n).zfill(3), kind, host, repository, lasts)
        for n, (kind, host, repository, at, lasts) in enumerate(arrivals)
    )
    for tick in range(300):
        now = NOW + tick * TICK
        running = {one: (until, what) for one, (until, what) in running.items() if until > tick}
        while todo and todo[0][0] <= tick:
            _, id_, kind, host, repository, lasts = todo.pop(0)
            waiting.append((OpenJob(id_, host, repository, kind, now, False, None, True), lasts))
        for host in ("web1", "db1", "nas"):
            sent = [what for _, what in running.values()]
            chosen, holds = dispatch.next_job(host, [*sent, *(one for one, _ in waiting)], now)
            assert set(holds) | {chosen} >= {one.id for one, _ in waiting if one.host_id == host}
            for one, lasts in [pair for pair in waiting if pair[0].id == chosen]:
                waiting.remove((one, lasts))
                running[one.id] = (tick + lasts, replace(one, is_sent=True, last_sign_at=now))
                started[one.id] = tick
        moments.append((tick, [what for _, what in running.values()]))
        if not (todo or waiting or running):
            return moments, started
    raise AssertionError("the queue stands still")


@settings(max_examples=60, deadline=None)
@given(ARRIVALS)
def test_jobs_that_must_not_meet_never_do_and_every_job_gets_its_turn(arrivals):
    moments, started = play(arrivals)

    for _, running in moments:
        assert len({one.host_id for one in running}) == len(running)
        for one in running:
            for other in running:
                assert one is other or one.repository_id != other.repository_id or not dispatch.conflicts(
                    one.kind, other.kind
                )  # fmt: skip
    assert len(started) == len(arrivals)


@pytest.mark.parametrize("kind", ["check", "prune"])
@pytest.mark.parametrize("lasts", [1, 3, 8])
def test_a_stream_of_backups_does_not_starve_an_exclusive_job(kind, lasts):
    stream = [("backup", host, "r", at, lasts) for host in ("web1", "db1") for at in range(30)]

    _, started = play([(kind, "nas", "r", 0, 10), *stream])

    assert started["000"] <= dispatch.PATIENCE // TICK + lasts


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS), st.sampled_from(["web1", "db1", "nas"]), st.integers(0, 200), st.booleans(),
            st.booleans(), st.integers(0, 90),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whoever_waits_waits_for_a_job_that_is_open_and_not_for_itself(found):
    open_jobs = [
        job(str(n), kind, host, age=age, sent=sent, connected=connected, silent=silent)
        for n, (kind, host, age, sent, connected, silent) in enumerate(found)
    ]

    for host in ("web1", "db1", "nas"):
        chosen, holds = dispatch.next_job(host, open_jobs, NOW)
        ids = {one.id for one in open_jobs}
        assert all(hold.blocker_id in ids - {one} for one, hold in holds.items())
        assert chosen is None or (chosen not in holds and not any(o.is_sent for o in open_jobs if o.host_id == host))


def test_an_update_is_not_sent_by_this_queue_and_holds_up_nothing_until_it_is_sent():
    chosen, holds = dispatch.next_job("web1", [job("1", "update", repository=""), job("2")], NOW)

    assert (chosen, holds) == ("2", {})


def test_an_update_that_is_under_way_holds_up_every_job_of_its_host():
    open_jobs = [job("1", "update", sent=True, repository=""), job("2"), job("3", "unlock"), job("4", host="db1")]

    assert dispatch.next_job("web1", open_jobs, NOW) == (
        None, {"2": Hold(dispatch.HOST_BUSY, "1"), "3": Hold(dispatch.HOST_BUSY, "1")},
    )  # fmt: skip
    assert dispatch.next_job("db1", open_jobs, NOW)[0] == "4"
