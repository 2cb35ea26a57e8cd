"""Update attempts in each state, and what hosts say of them."""

from datetime import timedelta

from rm.domain import update_attempt as rules
from rm.domain import update_evidence as evidence
from rm.domain import update_timing as timing
from rm.domain.update_attempt import Attempt, Signs
from rm.domain.update_evidence import Greeting, Report
from tests.cast import NOW

NEW, OLD = "a" * 64, "b" * 64
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
AT_TARGET = Greeting(version="0.2.0", seq=2, sha256=NEW)


def queued(**fields):
    start = {
        "host_name": "web1", "from_version": "0.1.0", "from_seq": 1, "from_sha256": OLD, "to_version": "0.2.0",
        "to_seq": 2, "artifact_sha256": NEW, "state": "queued", "created_at": NOW,
        "not_after": NOW + timing.QUEUE, "deadline_at": NOW + timing.QUEUE,
    }  # fmt: skip
    return Attempt(**(start | fields))


def dispatched(**fields):
    attempt = queued(**fields)
    return attempt.after(rules.dispatch(attempt, NOW))


def running(phase="downloading", **fields):
    attempt = dispatched(**fields)
    return attempt.after(evidence.progress(attempt, phase, None, "", NOW))


def fenced(**fields):
    attempt = running("selftest", **fields)
    may_swap, step = rules.fence(attempt, "", NOW)
    assert may_swap
    return attempt.after(step)


def soaking(**fields):
    attempt = fenced(**fields)
    return attempt.after(evidence.greet(attempt, AT_TARGET, NOW, may_reopen=True))


def silent(attempt, **signs):
    """The attempt once its deadline has passed without a word."""
    return attempt.after(rules.overdue(attempt, Signs(**signs), attempt.deadline_at))


def greeted(attempt, greeting, now=NOW, may_reopen=True):
    step = evidence.greet(attempt, greeting, now, may_reopen=may_reopen)
    return attempt if step is None else attempt.after(step)


def told(attempt, outcome, now=NOW, may_reopen=True, **fields):
    step = evidence.result(attempt, Report(outcome, **fields), now, may_reopen=may_reopen)
    return attempt if step is None else attempt.after(step)
