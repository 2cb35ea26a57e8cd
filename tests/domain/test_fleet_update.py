"""The next steps of a fleet update, one situation at a time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rm.domain.fleet_explain import explain, next_sentence
from rm.domain.fleet_options import Options, Share
from rm.domain.fleet_state import Attempt, CloseAttempt, Finish, Order, OrderBack, Recall, Settle, Stop
from rm.domain.fleet_update import current_wave, is_only_offline_left, step
from tests.cast import NOW
from tests.domain.fleet_world import TO_SEQ, fleet, member

STRICT = Options()
LENIENT = Options(budget=Share(1))
WAVES = Options(waves=(Share(10),), max_in_flight=2)


def open_attempt(state="running", **changed):
    return Attempt(id="a", state=state, **changed)


def ended(state="failed", failure_class="release", **changed):
    return Attempt(id="a", state=state, failure_class=failure_class, message="It did not come back.", **changed)


def updating(name, position=0, attempt=None, **changed):
    return member(name, position, state="updating", attempt=attempt or open_attempt(), **changed)


def failing(attempt, options=STRICT, **changed):
    return step(fleet(updating("web1", attempt=attempt, **changed), member("web2", 1), options=options), NOW)


def ordered(actions):
    return [action.host_id for action in actions if isinstance(action, Order)]


# ---- order ------------------------------------------------------------------------------------------


def test_one_host_is_ordered_at_a_time():
    assert step(fleet(member("web1"), member("web2", 1)), NOW) == [Order("web1")]


def test_the_next_host_waits_until_the_last_is_committed():
    soaking = member("web1", state="soaking", attempt=open_attempt("soaking"))

    assert step(fleet(soaking, member("web2", 1)), NOW) == []


def test_the_next_host_starts_when_the_last_is_committed():
    actions = step(fleet(member("web1", state="soaking", attempt=ended("succeeded", "")), member("web2", 1)), NOW)

    assert actions == [Settle("web1", "soaking", "succeeded"), Order("web2")]


def test_in_waves_a_slot_is_free_at_hello():
    soaking = [member(f"s{i}", i, state="soaking", attempt=open_attempt("soaking")) for i in range(2)]

    assert ordered(step(fleet(*soaking, member("web2", 2), options=WAVES), NOW)) == ["web2"]


def test_at_most_twice_as_many_soak_as_may_be_in_flight():
    soaking = [member(f"s{i}", i, state="soaking", attempt=open_attempt("soaking")) for i in range(4)]

    assert step(fleet(*soaking, member("web2", 9), options=WAVES), NOW) == []


def test_canaries_hold_their_slot_until_they_are_committed():
    canaries = [member(f"c{i}", i, wave=0, state="soaking", attempt=open_attempt("soaking")) for i in range(2)]

    assert step(fleet(*canaries, member("c3", 3, wave=0), options=WAVES), NOW) == []


def test_a_wave_starts_when_the_wave_before_is_done():
    first = member("web1", state="soaking", attempt=open_attempt("soaking"))

    assert step(fleet(first, member("web2", 1, wave=2), options=WAVES), NOW) == []
    assert ordered(step(fleet(replace(first, state="succeeded", attempt=ended("succeeded", "")),
                              member("web2", 1, wave=2), options=WAVES), NOW)) == ["web2"]  # fmt: skip


def test_an_offline_host_holds_up_no_wave():
    asleep = member("web1", is_online=False)

    assert ordered(step(fleet(asleep, member("web2", 1, wave=2), options=WAVES), NOW)) == ["web2"]


def test_no_wave_starts_while_all_canaries_are_offline():
    asleep = member("canary", wave=0, is_online=False)
    state = fleet(asleep, member("web2", 1), options=WAVES)

    assert step(state, NOW) == []
    assert "no wave starts before a canary" in explain(state, "web2", to_version="2.0")


def test_one_canary_that_succeeded_is_enough_for_a_canary_that_is_offline():
    canaries = [
        member("c1", wave=0, state="succeeded", attempt=ended("succeeded", "")),
        member("c2", 1, wave=0, is_online=False),
    ]

    assert ordered(step(fleet(*canaries, member("web2", 2), options=WAVES), NOW)) == ["web2"]


def test_a_host_that_runs_the_release_by_now_is_current():
    [settled, order] = step(fleet(member("web1", agent_seq=TO_SEQ), member("web2", 1)), NOW)

    assert (settled.after, settled.verdict, order) == ("excluded", "current", Order("web2"))


def test_a_revoked_host_is_left_out():
    [settled, _] = step(fleet(member("web1", is_revoked=True), member("web2", 1)), NOW)

    assert (settled.after, settled.verdict) == ("excluded", "revoked")


# ---- busy hosts -------------------------------------------------------------------------------------


def test_a_busy_host_is_passed_over_and_the_next_one_is_ordered():
    actions = step(fleet(member("web1", is_busy=True), member("web2", 1)), NOW)

    assert [type(action) for action in actions] == [Settle, Order]
    assert (actions[0].after, actions[1].host_id) == ("passed_over", "web2")


def test_a_host_that_drains_gives_its_slot_away():
    actions = step(fleet(updating("web1", attempt=open_attempt(phase="draining")), member("web2", 1)), NOW)

    assert actions == [Settle("web1", "updating", "passed_over"), Order("web2")]


def test_it_takes_a_slot_again_when_it_has_drained():
    drained = member("web1", state="passed_over", attempt=open_attempt(phase="downloading"))

    assert step(fleet(drained, member("web2", 1)), NOW) == [Settle("web1", "passed_over", "updating")]


def test_no_more_hosts_drain_beside_the_slots_than_there_are_slots():
    draining = member("web1", state="passed_over", attempt=open_attempt(phase="draining"))
    second = updating("web2", 1, attempt=open_attempt(phase="draining"))

    assert step(fleet(draining, second, member("web3", 2)), NOW) == []


def test_a_busy_host_comes_at_the_end_of_its_wave():
    passed = member("web1", state="passed_over", is_busy=True)
    free = member("web2", 1)

    assert ordered(step(fleet(passed, free), NOW)) == ["web2"]
    assert ordered(step(fleet(passed), NOW)) == ["web1"]


def test_a_deferred_host_holds_no_slot_and_no_wave():
    deferred = updating("web1", attempt=open_attempt("deferred"))
    actions = step(fleet(deferred, member("web2", 1, wave=2), options=WAVES), NOW)

    assert [type(action) for action in actions] == [Settle, Order]


# ---- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure_class", ["release", "infrastructure", "host", "integrity", ""])
@pytest.mark.parametrize("state", ["failed", "rolled_back", "refused", "lost"])
def test_strictly_every_failure_halts(state, failure_class):
    [settled] = failing(ended(state, failure_class))

    assert (settled.after, settled.stop.to, settled.stop.host_id) == ("failed", "halted", "web1")


@pytest.mark.parametrize("reason", ["pinned", "held", "ahead", "not_behind"])
def test_a_host_that_must_not_be_updated_is_no_failure(reason):
    settled, order = failing(ended("refused", "host", reason=reason))

    assert (settled.after, settled.stop, order) == ("excluded", None, Order("web2"))


def test_a_cancelled_attempt_never_halts():
    [settled, order] = failing(ended("cancelled", "", is_cancelled_by_hand=True))

    assert (settled.after, settled.stop, order) == ("skipped", None, Order("web2"))


def test_an_attempt_that_the_fence_closed_is_tried_again_a_little_later():
    state = fleet(updating("web1", attempt=ended("cancelled", "")))

    assert step(state, NOW) == [Settle("web1", "updating", "waiting")]
    waiting = member("web1", changed_at=NOW, attempt=ended("cancelled", ""))
    assert step(fleet(waiting), NOW + timedelta(seconds=9)) == []
    assert step(fleet(waiting), NOW + timedelta(seconds=10)) == [Order("web1")]


def test_a_budget_lets_so_many_fail_and_no_more():
    before = member("web0", state="failed", attempt=ended())
    first = step(fleet(updating("web1", attempt=ended()), member("web2", 1), options=LENIENT), NOW)
    second = step(fleet(before, updating("web1", 1, attempt=ended()), member("web2", 2), options=LENIENT), NOW)

    assert (first[0].stop, ordered(first)) == (None, ["web2"])
    assert (second[0].stop.to, ordered(second)) == ("halted", [])


def test_a_budget_in_percent_counts_the_hosts_of_the_fleet_update():
    left = [member(f"h{i}", i + 2) for i in range(18)] + [member("off", 30, state="excluded")]
    options = Options(budget=Share(5, is_percent=True))
    before = member("web0", state="failed", attempt=ended())

    assert step(fleet(updating("web1", 1, attempt=ended()), member("x"), *left, options=options), NOW)[0].stop is None
    assert step(fleet(before, updating("web1", 1, attempt=ended()), *left, options=options), NOW)[0].stop.to == "halted"


def test_with_a_budget_a_canary_that_fails_halts():
    assert failing(ended(), LENIENT, wave=0)[0].stop.to == "halted"


def test_with_a_budget_infrastructure_pauses():
    assert failing(ended("failed", "infrastructure"), LENIENT)[0].stop.to == "paused"


def test_with_a_budget_the_trouble_of_one_host_stops_nobody():
    settled, order = failing(ended("failed", "host"), LENIENT)

    assert (settled.after, settled.stop, order) == ("failed", None, Order("web2"))


def test_one_integrity_failure_halts_at_once_and_closes_what_has_not_swapped():
    stop = failing(ended("failed", "integrity"), Options(budget=Share(100)))[0].stop

    assert (stop.to, stop.closes_unfenced) == ("halted", True)


def test_a_host_that_could_not_go_back_halts_at_once():
    attempt = ended("failed", "host", is_revert_failed=True)

    assert failing(attempt, Options(budget=Share(100)))[0].stop.to == "halted"


def test_a_failure_while_paused_halts():
    [settled] = step(fleet(updating("web1", attempt=ended()), state="paused"), NOW)

    assert settled.stop.to == "halted"


def test_evidence_corrects_a_failure():
    corrected = member("web1", state="failed", attempt=ended("succeeded", ""))

    assert step(fleet(corrected, state="halted"), NOW) == [Settle("web1", "failed", "succeeded")]


def test_evidence_corrects_a_success():
    [settled] = step(fleet(member("web1", state="succeeded", attempt=ended("rolled_back")), member("web2", 1)), NOW)

    assert (settled.after, settled.stop.to) == ("failed", "halted")


def test_a_host_without_a_verdict_halts_at_the_fleets_own_cap():
    attempt = open_attempt(is_fenced=True, cap_at=NOW)
    state = fleet(updating("web1", attempt=attempt), member("web2", 1))

    assert step(state, NOW) == []
    [stop] = step(state, NOW + timedelta(seconds=1))
    assert (stop.to, stop.host_id) == ("halted", "web1")


def test_updated_hosts_that_go_offline_halt():
    gone = [
        member(f"h{i}", i, state="succeeded", attempt=ended("succeeded", ""), is_online=False,
               last_seen_at=NOW - timedelta(minutes=5)) for i in range(2)
    ]  # fmt: skip
    state = fleet(*gone, member("web2", 9))

    assert [type(action) for action in step(state, NOW)] == [Stop]
    assert ordered(step(fleet(gone[0], member("web2", 9)), NOW)) == ["web2"]
    assert ordered(step(replace(state, counted_from=NOW - timedelta(seconds=299)), NOW)) == ["web2"]
    assert ordered(step(replace(state, options=Options(max_vanished=2)), NOW)) == ["web2"]


def test_laptops_may_go_to_sleep():
    asleep = [
        member(f"h{i}", i, state="succeeded", attempt=ended("succeeded", ""), is_online=False, is_always_on=False,
               last_seen_at=NOW - timedelta(days=1)) for i in range(5)
    ]  # fmt: skip

    assert ordered(step(fleet(*asleep, member("web2", 9)), NOW)) == ["web2"]


# ---- pause, cancel, roll back, end ------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paused", "halted", "planned", "cancelled", "completed"])
def test_nothing_is_ordered_unless_it_runs(state):
    assert step(fleet(member("web1"), state=state), NOW) == []


@pytest.mark.parametrize("state", ["paused", "halted", "cancelling"])
@pytest.mark.parametrize("attempt", ["queued", "deferred"])
def test_an_order_that_has_not_begun_is_taken_back(state, attempt):
    held = member("web1", state="passed_over" if attempt == "deferred" else "updating", attempt=open_attempt(attempt))

    assert [type(action) for action in step(fleet(held, state=state), NOW)] == [Recall]


def test_an_order_that_did_not_reach_its_host_is_taken_back():
    gone = updating("web1", attempt=open_attempt("queued"), is_online=False)

    assert [type(action) for action in step(fleet(gone, member("web2", 1)), NOW)] == [Recall]


def test_a_soft_cancel_waits_for_the_current_host():
    assert step(fleet(updating("web1"), member("web2", 1), state="cancelling"), NOW) == []
    assert step(fleet(member("web2", 1), state="cancelling"), NOW) == [Finish("cancelled")]


def test_a_soft_cancel_does_not_wait_for_a_host_that_drains():
    draining = member("web1", state="passed_over", attempt=open_attempt(phase="draining"))

    assert step(fleet(draining, state="cancelling"), NOW) == [CloseAttempt("web1")]


def test_a_hard_cancel_closes_what_has_not_passed_the_fence_once():
    hosts = (
        updating("web1", attempt=open_attempt(is_fenced=True)),
        updating("web2", 1, attempt=open_attempt(phase="downloading")),
        updating("web3", 2, attempt=open_attempt(is_cancel_requested=True)),
    )

    assert step(fleet(*hosts, state="cancelling", is_hard_cancel=True), NOW) == [CloseAttempt("web2")]


def test_updated_hosts_go_back_one_at_a_time_and_the_newest_first():
    done = [
        member(f"h{i}", i, state="succeeded", attempt=ended("succeeded", ""), changed_at=NOW + timedelta(seconds=i))
        for i in range(3)
    ]
    state = fleet(*done, state="cancelling", is_rolling_back=True)

    assert step(state, NOW) == [OrderBack("h2")]
    going = replace(done[2], state="updating", attempt=open_attempt(is_rollback=True))
    assert step(replace(state, members=(*done[:2], going)), NOW) == []


def test_a_host_that_went_back_is_left_out_and_the_end_is_cancelled():
    back = member("h0", state="updating", attempt=ended("succeeded", "", is_rollback=True))

    actions = step(fleet(back, state="cancelling", is_rolling_back=True), NOW)

    assert (actions[0].after, actions[1]) == ("skipped", Finish("cancelled"))


def test_a_rollback_that_breaks_a_host_halts():
    back = member("h0", state="updating", attempt=ended("failed", is_rollback=True, is_revert_failed=True))

    assert step(fleet(back, state="cancelling", is_rolling_back=True), NOW)[0].stop.to == "halted"


def test_it_is_completed_when_every_host_is():
    done = member("web1", state="succeeded", attempt=ended("succeeded", ""))

    assert step(fleet(done, member("x", state="excluded")), NOW) == [Finish("completed")]
    assert step(fleet(done, member("x", state="skipped")), NOW) == [Finish("completed_with_exceptions")]


def test_it_stays_open_for_hosts_that_are_offline():
    members = (member("web1", is_online=False), member("x", 1, state="excluded"))

    assert step(fleet(*members), NOW) == []
    assert is_only_offline_left(members)
    assert "updated when they return" in next_sentence(fleet(*members), NOW)


# ---- while the server itself must give no orders ----------------------------------------------------


def held(*members, **changed):
    return replace(fleet(*members, **changed), held_because="The server's disk is almost full.")


def test_while_it_is_held_nothing_starts_and_it_says_why():
    waiting = held(member("web1"), member("web2", 1, state="passed_over"))

    assert step(waiting, NOW) == []
    assert next_sentence(waiting, NOW) == "No host starts now. The server's disk is almost full."
    assert explain(waiting, "web1", to_version="1.4.0") == "web1 waits. The server's disk is almost full."
    assert ordered(step(replace(waiting, held_because=""), NOW)) == ["web1"]


def test_while_it_is_held_what_runs_is_judged_and_what_is_done_ends():
    done = member("web1", state="soaking", attempt=ended("succeeded", ""))

    assert step(held(done, member("web2", 1)), NOW) == [Settle("web1", "soaking", "succeeded")]
    assert step(held(member("web1", state="succeeded")), NOW) == [Finish("completed")]


def test_while_it_is_held_no_host_goes_back_and_rolling_back_does_not_end():
    done = member("web1", state="succeeded", attempt=ended("succeeded", ""))
    back = held(done, state="cancelling", is_rolling_back=True)

    assert step(back, NOW) == []
    assert "almost full" in next_sentence(back, NOW)
    assert step(replace(back, held_because=""), NOW) == [OrderBack("web1")]


# ---- explaining -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (fleet(member("web1", is_online=False)), "offline since 2026-11-23 12:00 UTC"),
        (fleet(member("web1"), state="paused"), "is paused"),
        (fleet(member("web1"), state="halted"), "is halted"),
        (fleet(member("web1"), state="cancelling"), "will not be updated"),
        (fleet(member("web1"), state="planned"), "has not been started"),
        (fleet(member("web1"), state="completed"), "is over"),
        (fleet(member("web1"), updating("db1", 1)), "waits for a free slot: db1 is being updated, 1 at a time"),
        (fleet(member("web1", wave=2), updating("db1", 1)), "waits for wave 1: 1 host to go (db1)"),
        (fleet(member("web1", is_busy=True)), "runs a job"),
        (fleet(member("web1", state="passed_over", attempt=open_attempt(phase="draining"))), "lets a running job end"),
        (fleet(member("web1", state="passed_over", attempt=open_attempt("deferred"))), "was busy for too long"),
        (fleet(member("web1", state="excluded", reason="web1 is pinned.")), "is not updated: web1 is pinned."),
        (fleet(member("web1", state="skipped", reason="Skipped by alice.")), "is left out: Skipped by alice."),
        (fleet(member("web1", state="failed", reason="No hello.")), "failed: No hello."),
        (fleet(member("web1", state="succeeded")), "runs 2.0"),
        (fleet(updating("web1", attempt=open_attempt(phase="verifying"))), "being updated now (verifying)"),
        (fleet(member("web1", state="soaking")), "watched until its soak"),
        (fleet(member("web1", attempt=ended("cancelled"))), "ended without a verdict"),
        (fleet(member("web1")), "is next"),
    ],
)
def test_there_is_a_sentence_for_every_host(state, said):
    assert said in explain(state, "web1", to_version="2.0")


def test_the_current_wave_is_the_last_one_when_all_others_are_done():
    assert current_wave([member("a", state="succeeded"), member("b", wave=3, is_online=False)]) == 3
    assert current_wave([member("a", state="succeeded")]) is None
