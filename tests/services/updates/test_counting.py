"""The counters of updates, and what is not written each time."""

import random
from datetime import timedelta

from rm.domain.update_attempt import ENDED, is_open
from rm.errors import Conflict
from rm.services import updates
from rm.store import updates as stored
from rm.store.models import Alert, Host, Job, UpdateAttempt, UpdateEvent
from tests.cast import ALICE, NOW
from tests.services.updates.looking import texts
from tests.updating import MINUTE, SECOND, again, at_target, ends, reports, says_hello, takes_orders


def test_the_counters_equal_the_events_after_whatever_happened(bus, online, release):
    chance = random.Random(4)
    now = NOW
    for _ in range(300):
        now += chance.choice([SECOND, 20 * SECOND, 91 * SECOND, 10 * MINUTE])
        found = stored.last_for_host(online.id)
        kind = chance.choice(["order", "send", "progress", "fence", "hello", "result", "cancel", "sweep", "sweep"])
        try:
            if kind == "order":
                updates.order(bus, host_id=online.id, actor=ALICE, now=now, force=True, reason="trying")
            elif kind == "send":
                takes_orders(bus, online, now=now)
            elif kind in ("progress", "fence") and found:
                reports(bus, online, found, "swapping" if kind == "fence" else "downloading", now=now)
            elif kind == "hello":
                says_hello(bus, online, now=now, **chance.choice([{}, at_target(release)]))
                Host.update(agent_seq=1).where(Host.id == online.id).execute()
            elif kind == "result" and found:
                outcome = chance.choice(["committed", "rolled_back", "refused", "deferred", "failed", "cancelled"])
                ends(bus, online, found, outcome, now=now)
            elif kind == "cancel" and found:
                updates.cancel(bus, job_id=found.job_id, actor=ALICE, now=now)
            else:
                updates.sweep(bus, now=now)
        except Conflict:
            continue

    attempts = list(UpdateAttempt.select())
    last = {event.job_id: event.state for event in UpdateEvent.select().order_by(UpdateEvent.id)}
    by_event = sorted(last[attempt.job_id] for attempt in attempts)
    assert by_event == sorted(attempt.state for attempt in attempts)
    assert len(attempts) > 20
    for attempt in attempts:
        job = Job.get_by_id(attempt.job_id)
        assert (job.state == "finished") == (attempt.state in ENDED)
        assert (attempt.deadline_at is not None) == is_open(attempt.state)
    latest = stored.last_for_host(online.id)
    if latest.state == "succeeded":
        assert Alert.select().where(Alert.state != "resolved").count() == 0


def test_a_flood_of_progress_is_not_written_each_time(bus, online, sent):
    reports(bus, online, sent, "downloading", percent=1.0, now=NOW + SECOND)
    for at in range(100):
        reports(bus, online, sent, "downloading", percent=2.0, now=NOW + SECOND + timedelta(milliseconds=at))

    assert again(sent).percent == 1.0
    assert len(texts(sent)) == 3
