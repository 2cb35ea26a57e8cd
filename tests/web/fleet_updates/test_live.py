"""The page of a fleet update moves by itself."""

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from rm.events import EventBus, FleetUpdateChanged, UpdateChanged
from rm.store.models import FleetUpdate, FleetUpdateHost, Host, Release, UpdateAttempt
from rm.web import fleet_update_view
from rm.web.fleet_update_reading import Fleets, Query
from rm.web.fleet_update_view import FleetUpdateView
from tests import cast, update_rows
from tests.cast import EnrolledHost
from tests.web.conftest import Browser
from tests.web.fleet_updates.moving import PATH, add_many, fail_first
from tests.web.test_live import Tab, part, targets


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_update_view, "SUMMARY_SECONDS", 0.0)


def test_the_page_moves_by_itself_and_sends_only_what_changed(
    charlie: Browser, bus: EventBus, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost], quick: None
) -> None:
    web1, db1 = pair
    tab = Tab(charlie, f"/live/fleet-updates/{started.id}")
    first = tab.next()

    made = update_rows.attempt(db1.id, "running", cast.NOW, phase="verifying")
    FleetUpdateHost.update(state="updating", attempt_id=made.job_id).where(FleetUpdateHost.host == db1.id).execute()
    bus.publish(FleetUpdateChanged(started.id))
    moved = tab.next()
    UpdateAttempt.update(phase="selftest").execute()
    bus.publish(UpdateChanged(made.job_id, db1.id))
    again = tab.next()

    assert {"#fleet-update-head", "#fleet-update-hosts", "#fleet-update-progress", "#lamps", "#pager"} <= set(
        targets(first)
    )
    assert "db1 is being updated." in " ".join(part(moved, "#fleet-update-head").get_text().split())
    assert "#lamps" not in targets(moved)
    assert f"#update-host-{db1.id}" in targets(again)
    assert f"#update-host-{web1.id}" in targets(again) or "#fleet-update-hosts" not in targets(again)
    assert "Testing itself" in part(again, f"#update-host-{db1.id}").get_text()


def test_a_live_row_is_the_row_of_the_page(
    app: Flask, charlie: Browser, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    view = FleetUpdateView(app, Query(started.id), role="viewer")
    view.everything(cast.NOW)
    rows = [one for one in view.everything(cast.NOW) if one.target.startswith("#update-host-")]

    page = charlie.get(f"{PATH}/{started.id}")

    assert len(rows) == 2
    for one in rows:
        assert str(page.find(one.target)) == str(BeautifulSoup(one.html, "html.parser").tr)


def test_a_tab_renders_only_the_rows_of_its_page(app: Flask, release: Release) -> None:
    ids = add_many(120)
    made = update_rows.fleet("running", cast.NOW, [(one, "waiting", 1) for one in ids])
    view = FleetUpdateView(app, Query(made.id, page=2), role="admin")
    view.everything(cast.NOW)

    shown = [one.target for one in view.everything(cast.NOW) if one.target.startswith("#update-host-")]

    assert len(shown) == 50


def test_a_fleet_update_is_read_once_for_all_tabs_until_something_happens(
    bus: EventBus, started: FleetUpdate, pair: tuple[EnrolledHost, EnrolledHost]
) -> None:
    fleets = Fleets(bus)
    first = fleets.get(started, cast.NOW)

    assert fleets.get(started, cast.NOW) is first
    for event in (FleetUpdateChanged(started.id), UpdateChanged("job", pair[0].id)):
        bus.publish(event)
        again = fleets.get(started, cast.NOW)
        assert again is not first
        first = again


def test_hosts_that_wait_alike_are_each_named_for_themselves(charlie: Browser, release: Release) -> None:
    ids = add_many(4)
    made = update_rows.fleet(
        "running", cast.NOW, [(one, "updating" if n == 0 else "waiting", 1) for n, one in enumerate(ids)]
    )

    page = charlie.get(f"{PATH}/{made.id}")

    for n in (1, 2, 3):
        assert f"host-000{n} waits for a free slot: host-0000 is being updated" in page.text(f"#update-host-{ids[n]}")


def test_what_happens_elsewhere_is_not_looked_at(app: Flask, started: FleetUpdate) -> None:
    view = FleetUpdateView(app, Query(started.id), role="viewer")
    view.everything(cast.NOW)

    assert view.changed([FleetUpdateChanged("another"), UpdateChanged("job", "stranger")], cast.NOW) == []
    assert not view.is_behind


def test_many_changes_are_shown_at_most_once_a_second(
    app: Flask, started: FleetUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_update_view, "SUMMARY_SECONDS", 3600.0)
    view = FleetUpdateView(app, Query(started.id), role="viewer")
    view.everything(cast.NOW)

    assert view.changed([FleetUpdateChanged(started.id)] * 5, cast.NOW) == []
    assert view.is_behind


def test_the_live_page_offers_a_viewer_nothing_to_press(
    app: Flask, bus: EventBus, started: FleetUpdate
) -> None:  # fmt: skip
    fail_first(bus, started)

    viewer, admin = (
        "".join(one.html for one in FleetUpdateView(app, Query(started.id), role=role).everything(cast.NOW))
        for role in ("viewer", "admin")
    )

    assert "<form" not in viewer and "data-dialog" not in viewer
    assert "data-dialog" in admin


def test_long_and_strange_names_are_harmless_on_every_page(
    alice: Browser, bus: EventBus, pair: tuple[EnrolledHost, EnrolledHost], started: FleetUpdate
) -> None:
    Host.update(name="<b>\u202e" + "x" * 200).where(Host.id == pair[1].id).execute()
    fail_first(bus, started)

    for path in (PATH, f"{PATH}/{started.id}", f"{PATH}/{started.id}/events", f"{PATH}/{started.id}/skip"):
        page = alice.get(path)
        assert page.status == 200
        assert "\u202e" not in page.text()
        assert "<b>\\u202e" not in str(page.soup) or "&lt;b&gt;" in str(page.soup)


def test_without_scripts_the_page_says_that_it_does_not_move(charlie: Browser, started: FleetUpdate) -> None:
    page = charlie.get(f"{PATH}/{started.id}")

    assert page.find(f'noscript a[href="{PATH}/{started.id}"]')
    assert page.find("#members form")["method"] == "get"
