"""Hosts that somebody keeps as they are."""

import pytest

from rm.domain.permissions import PERMISSIONS
from rm.errors import Conflict, Invalid
from rm.services import updates
from tests.cast import ALICE, NOW, host_row
from tests.updating import again, ends


def test_a_held_host_is_not_updated_until_it_is_released(bus, online, sent):
    updates.hold(bus, host_id=online.id, reason="month end", actor=ALICE, now=NOW)
    assert (host_row(online).held_reason, again(sent).cancel_requested_at) == ("month end", NOW)
    ends(bus, online, sent, "cancelled")
    with pytest.raises(Conflict) as refused:
        updates.order(bus, host_id=online.id, actor=ALICE, now=NOW)

    updates.unhold(bus, host_id=online.id, actor=ALICE, now=NOW)

    assert (refused.value.code, "month end" in refused.value.message) == ("held", True)
    assert updates.order(bus, host_id=online.id, actor=ALICE, now=NOW).state == "queued"


def test_holding_wants_a_reason_and_is_for_administrators(bus, online):
    with pytest.raises(Invalid):
        updates.hold(bus, host_id=online.id, reason="", actor=ALICE, now=NOW)

    assert (PERMISSIONS["hosts.hold"], PERMISSIONS["updates.force"], PERMISSIONS["updates.run"]) == (
        "admin", "admin", "operator",
    )  # fmt: skip


def test_what_is_past_the_fence_finishes_although_its_host_is_held(bus, online, fenced):
    updates.hold(bus, host_id=online.id, reason="month end", actor=ALICE, now=NOW)

    assert (again(fenced).state, again(fenced).cancel_requested_at) == ("running", None)
