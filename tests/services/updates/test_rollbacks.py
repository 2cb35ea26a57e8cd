"""Going back to the agent before."""

import pytest

from rm.errors import Conflict, Invalid
from rm.services import updates
from rm.shared.protocol import CommandRollback
from rm.store.models import Host
from tests.cast import BOB, NOW
from tests.services.updates.looking import texts
from tests.updating import DAY, MINUTE, OLD_SHA256, SECOND, again, ends, give_release, reports, says_hello, takes_orders


def test_a_rollback_within_seven_days_puts_the_recorded_agent_back(bus, online, committed):
    at = NOW + 6 * DAY
    attempt = updates.order_rollback(bus, host_id=online.id, actor=BOB, now=at, reason="it is slow")
    [order] = takes_orders(bus, online, now=at)
    reports(bus, online, attempt, "swapping", now=at)
    says_hello(bus, online, now=at + 5 * SECOND)
    ends(bus, online, attempt, "committed", now=at + 70 * SECOND)

    assert isinstance(order, CommandRollback)
    assert (order.to_sha256, again(attempt).state, again(attempt).is_rollback) == (OLD_SHA256, "succeeded", True)
    assert "it is slow" in texts(attempt)[0]


def test_a_rollback_happens_once(bus, online, committed):
    test_a_rollback_within_seven_days_puts_the_recorded_agent_back(bus, online, committed)

    with pytest.raises(Conflict) as refused:
        updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + 6 * DAY + MINUTE, reason="again")

    assert refused.value.code == "no_rollback"


@pytest.mark.parametrize(
    ("days", "fields", "code"),
    [(8, {}, "no_rollback"), (1, {"agent_seq": 9}, "no_rollback"), (1, {"is_pinned": True}, "pinned"),
     (1, {"revoked_at": NOW}, "host_revoked")],
)  # fmt: skip
def test_a_rollback_that_cannot_be_is_refused(bus, online, committed, days, fields, code):
    if fields:
        Host.update(fields).where(Host.id == online.id).execute()

    with pytest.raises(Conflict) as refused:
        updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + days * DAY, reason="why not")

    assert refused.value.code == code


def test_a_rollback_wants_a_reason(bus, online, committed):
    with pytest.raises(Invalid):
        updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + DAY, reason="  ")


def test_update_and_rollback_do_not_cross(bus, online, release, committed):
    back = updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + DAY, reason="it is slow")
    give_release(seq=3, version="0.3.0")

    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=BOB, now=NOW + DAY)

    assert refused.value.code == "rollback_under_way"
    assert updates.order_rollback(bus, host_id=online.id, actor=BOB, now=NOW + DAY, reason="x").job_id == back.job_id
