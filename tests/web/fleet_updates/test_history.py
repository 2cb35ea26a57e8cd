"""Fleet updates elsewhere: timeline, past ones, the lamp of every page, the audit log."""

import pytest

from rm.events import EventBus
from rm.store.models import AuditEntry, FleetUpdate, Release
from rm.web import fleet_update_reading
from tests import cast, update_rows
from tests.web.conftest import Browser
from tests.web.fleet_updates.moving import PATH, add_many, fail_first, row_texts


def test_the_timeline_shows_the_newest_and_leads_to_all(alice: Browser, started: FleetUpdate) -> None:
    for n in range(120):
        update_rows.note(started, "host.succeeded", f"event {n}", cast.NOW)

    page = alice.get(f"{PATH}/{started.id}")
    every = alice.get(str(page.find("#fleet-update-events .card__head a")["href"]))

    assert len(page.soup.select("#fleet-update-events li")) == fleet_update_reading.EVENTS_SHOWN
    assert row_texts(page, "#fleet-update-events li")[0].endswith("event 119")
    assert len(every.soup.select(".timeline li")) == 100
    assert "event 0" in alice.get(str(every.find("a[rel=next]")["href"])).text("main")


def test_past_fleet_updates_stay_with_their_result(charlie: Browser, release: Release) -> None:
    ids = add_many(3)
    members = [(ids[0], "succeeded", 1), (ids[1], "failed", 1), (ids[2], "excluded", -1)]
    made = update_rows.fleet("completed_with_exceptions", cast.NOW, members)

    page = charlie.get(PATH)

    text = page.text(f"#past-{made.id}")
    assert "To 1.5.0" in text and "Completed with exceptions" in text
    assert "1 updated · 1 failed · 1 left out" in text
    past = charlie.get(f"{PATH}/{made.id}")
    assert past.text("h1") == "1 of 2 hosts runs agent 1.5.0. 1 host does not."
    assert not charlie.get("/").has("#lamps .lamp--news")


@pytest.mark.parametrize(
    ("state", "look", "text"),
    [
        ("running", "running", "1/2 updated"), ("paused", "warn", "update paused"),
        ("halted", "failed", "update halted"), ("cancelling", "warn", "update stopping"),
    ],
)  # fmt: skip
def test_the_bar_of_every_page_shows_the_fleet_update_that_is_under_way(
    charlie: Browser, release: Release, state: str, look: str, text: str
) -> None:
    ids = add_many(3)
    made = update_rows.fleet(
        state, cast.NOW, [(ids[0], "succeeded", 1), (ids[1], "waiting", 1), (ids[2], "excluded", -1)]
    )

    for path in ("/", "/alerts", "/repositories", f"/hosts/{ids[0]}", "/nowhere"):
        lamp = charlie.get(path).find("#lamps .lamp--news")
        assert f"lamp--{look}" in lamp["class"]
        assert " ".join(lamp.get_text(" ").split()) == text
        assert lamp["href"] == f"{PATH}/{made.id}"


def test_a_halt_needs_somebody_and_leads_to_the_decision(
    charlie: Browser, bus: EventBus, started: FleetUpdate
) -> None:  # fmt: skip
    fail_first(bus, started)

    needs = charlie.get("/").find("#needs")

    assert "Fleet update halted" in needs.get_text()
    assert needs.select_one(f'a[href="{PATH}/{started.id}"]')
    assert charlie.get("/alerts").find(f'#alerts a[href="{PATH}/{started.id}"]')


def test_settings_lead_to_what_whoever_asks_may_see(alice: Browser, charlie: Browser, release: Release) -> None:
    assert alice.get("/settings").response.headers["Location"] == "/settings/general"
    assert charlie.get("/settings").response.headers["Location"] == PATH
    assert "/settings/users" in [a["href"] for a in alice.get(PATH).soup.select(".tabs a")]
    charlies = [a["href"] for a in charlie.get(PATH).soup.select(".tabs a")]
    assert charlies == [PATH, "/settings/tokens", "/settings/account"]


def test_what_was_done_is_in_the_audit_log_in_words(alice: Browser, started: FleetUpdate) -> None:
    alice.post(f"{PATH}/{started.id}/pause", {"reason": "network"})

    assert "paused the" in alice.get("/audit").text("main")
    assert AuditEntry.select().where(AuditEntry.action == "fleet_update.paused").count() == 1
