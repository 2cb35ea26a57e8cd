"""Updates over the wire: what a host is sent and answered, on a fake socket and a real database."""

import pytest

from rm.services import jobs, updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import Heartbeat, UpdateProgress, UpdateResult
from rm.store import updates as stored
from rm.store.models import FleetUpdate, OrphanResult, UpdateAttempt
from tests import cast
from tests.agent_link.conftest import wait_until
from tests.cast import ALICE, BOB, NOW
from tests.updating import OLD_SHA256, again, at_target

OLD = {"agent_version": "0.1.0", "agent_seq": 1, "running_sha256": OLD_SHA256, "arch": "amd64", "guard_version": "2"}


@pytest.fixture
def attempt(bus, web1, release, connect):
    return updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)


def count(ws, type_):
    return sum(message.type == type_ for message in ws.sent)


def heartbeat_is_answered(ws):
    """All that was sent before has been handled."""
    beat = ws.say(Heartbeat(sent_at="2026-11-23T12:00:00.000000Z"))
    ws.wait_for("ack", id=beat)


def test_the_order_leaves_for_a_connected_host_at_once(bus, connect, web1, release):
    ws = connect(web1, **OLD)

    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)

    order = ws.wait_for("command.update")
    assert (order.attempt_id, order.manifest_sha256, order.seq) == (attempt.job_id, release.id, 2)
    assert order.timers["revert_seconds"] == 60


def test_the_order_waits_for_a_host_that_is_away(connect, web1, attempt):
    ws = connect(web1, **OLD)

    assert ws.wait_for("command.update").attempt_id == attempt.job_id
    wait_until(lambda: again(attempt).state == "dispatched")


def test_an_order_is_sent_once_in_a_connection_and_again_in_the_next(connect, web1, attempt):
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="preflight"))
    ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="draining"))
    heartbeat_is_answered(ws)
    assert count(ws, "command.update") == 1

    ws.hang_up()
    second = connect(web1, **OLD)

    assert second.wait_for("command.update").attempt_id == attempt.job_id


def test_no_job_is_sent_beside_an_update(bus, vault, connect, web1, release):
    group = cast.give_repository(bus, vault, web1)
    updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
    jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)

    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    heartbeat_is_answered(ws)

    assert count(ws, "command.run") == 0


def test_the_fence_is_acknowledged_and_other_progress_is_not(connect, web1, attempt):
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    plain = ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="selftest"))
    question = ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="swapping"))

    ws.wait_for("ack", id=question)

    assert again(attempt).fenced_at == NOW
    assert plain not in [message.payload.id for message in ws.sent if message.type == "ack"]


def test_a_fence_that_is_closed_is_answered_with_attempt_closed(bus, connect, web1, attempt):
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    updates.cancel(bus, job_id=attempt.job_id, actor=BOB, now=NOW)
    ws.wait_for("command.update_cancel", attempt_id=attempt.job_id)
    question = ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="swapping"))

    assert ws.wait_for("error", id=question).code == "attempt_closed"
    assert again(attempt).fenced_at is None


def test_a_paused_fleet_update_closes_the_fence(bus, connect, web1, release):
    fleet = FleetUpdate.create(
        id=new_ulid(), state="running", release=release.id, to_version="0.2.0", to_seq=2, created_by="alice",
        created_at=NOW,
    )  # fmt: skip
    attempt = updates.order(bus, host_id=web1.id, actor=ALICE, now=NOW, fleet_update_id=fleet.id)
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    FleetUpdate.update(state="paused").execute()
    question = ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="swapping"))

    assert ws.wait_for("error", id=question).code == "attempt_closed"


def test_the_new_agent_says_hello_and_its_result_is_acknowledged(connect, web1, release, attempt):
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    ws.wait_for("ack", id=ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="swapping")))
    ws.hang_up()

    second = connect(web1, **OLD | at_target(release))
    assert again(attempt).state == "soaking"
    heartbeat_is_answered(second)
    assert count(second, "command.update") == 0
    second.wait_for("ack", id=second.say(UpdateResult(attempt_id=attempt.job_id, outcome="committed")))

    assert (again(attempt).state, again(attempt).is_proven) == ("succeeded", True)


def test_a_result_is_acknowledged_each_time_it_is_repeated(connect, web1, attempt):
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    report = UpdateResult(attempt_id=attempt.job_id, outcome="refused", phase="preflight", reason="no_space")

    for _ in range(3):
        ws.wait_for("ack", id=ws.say(report))

    assert again(attempt).state == "refused"


def test_a_result_that_the_server_does_not_know_is_acknowledged_and_kept(connect, web1):
    ws = connect(web1, **OLD)

    ws.wait_for("ack", id=ws.say(UpdateResult(attempt_id=new_ulid(), outcome="committed")))

    assert OrphanResult.select().count() == 1


def test_progress_of_what_is_unknown_or_of_another_host_is_refused(connect, web1, db1, attempt):
    ws = connect(db1, **OLD)

    unknown = ws.say(UpdateProgress(attempt_id=new_ulid(), phase="swapping"))
    foreign = ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="swapping"))
    stolen = ws.say(UpdateResult(attempt_id=attempt.job_id, outcome="committed"))

    assert ws.wait_for("error", id=unknown).code == "unknown_job"
    assert ws.wait_for("error", id=foreign).code == "not_yours"
    assert ws.wait_for("error", id=stolen).code == "not_yours"
    assert again(attempt).state == "queued"


def test_what_a_hello_says_of_an_update_is_known_before_the_welcome(connect, web1, release, attempt):
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    ws.wait_for("ack", id=ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="swapping")))
    ws.hang_up()
    journal = {"attempt_id": attempt.job_id, "phase": "trial", "outcome": "rolled_back", "reason": "boots"}

    connect(web1, **OLD | {"update": journal})

    # the fixture has waited for the welcome
    assert again(attempt).state == "rolled_back"


def test_the_end_of_a_connection_is_told_and_decides_nothing(connect, web1, attempt):
    ws = connect(web1, **OLD)
    ws.wait_for("command.update")
    ws.hang_up()
    ws.thread.join(5)

    assert stored.events(attempt.job_id)[-1].text == "The connection to web1 ended."
    assert UpdateAttempt.get_by_id(attempt.job_id).state == "dispatched"


def test_a_host_whose_clock_is_off_by_a_day_is_updated_like_any_other(connect, web1, release, attempt):
    ws = connect(web1, **OLD)
    order = ws.wait_for("command.update")
    ws.say(Heartbeat(sent_at="2026-11-24T12:00:00.000000Z"))
    ws.wait_for("ack", id=ws.say(UpdateProgress(attempt_id=attempt.job_id, phase="swapping")))

    assert order.not_after.startswith("2026-11-23T13:15")
    assert (again(attempt).fenced_at, again(attempt).deadline_at.isoformat()) == (NOW, "2026-11-23T12:01:30+00:00")
