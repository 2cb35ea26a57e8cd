"""Alerts on pages: open first, acknowledged and resolved by operators, counted in the bar."""

import pytest
from flask import Flask

from rm.events import AlertsChanged, EventBus
from rm.services import alerts
from rm.store.models import Alert
from rm.web.alert_view import AlertView
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser


@pytest.fixture
def alert(bus: EventBus, web1: EnrolledHost) -> Alert:
    return alerts.raise_alert(
        bus,
        kind="certificate_or_key_problem",
        condition=f"host:{web1.id}:credential",
        host_id=web1.id,
        message="Two agents <b>use</b> it.",
        now=cast.NOW,
    )


def test_an_alert_is_under_needs_you_on_its_page_and_in_the_bar(charlie: Browser, alert: Alert) -> None:
    fleet, page = charlie.get("/"), charlie.get("/alerts")

    assert fleet.has(f"#needs #need-alert-{alert.id}")
    assert fleet.text("#alert-badge").startswith("1")
    assert page.has(f"#alert-{alert.id}.incident--failed")
    assert not page.has("main b b")
    assert "Two agents <b>use</b> it." in page.text(f"#alert-{alert.id}")


def test_an_operator_acknowledges_and_it_stays_open(bob: Browser, alert: Alert) -> None:
    done = bob.post(f"/alerts/{alert.id}/acknowledge")

    assert done.response.headers["Location"] == "/alerts"
    assert not bob.get("/").has(f"#need-alert-{alert.id}")
    page = bob.get("/alerts")
    assert "Acknowledged by bob" in page.text(f"#alert-{alert.id}")
    assert page.text("#alert-badge") == ""
    assert [form["action"] for form in page.soup.select(f"#alert-{alert.id} form")] == [f"/alerts/{alert.id}/resolve"]


def test_a_resolved_alert_goes_behind_the_open_ones(bob: Browser, bus: EventBus, alert: Alert) -> None:
    bob.post(f"/alerts/{alert.id}/resolve")
    other = alerts.raise_alert(bus, kind="backup_late", condition="x", message="Late.", now=cast.NOW)

    page = bob.get("/alerts")

    assert [one["id"] for one in page.soup.select("article")] == [f"alert-{other.id}", f"alert-{alert.id}"]
    assert "Resolved by bob" in page.text(f"#alert-{alert.id}")


def test_a_viewer_may_look_and_not_touch(charlie: Browser, alert: Alert) -> None:
    assert not charlie.get("/alerts").has("article form")
    assert charlie.post(f"/alerts/{alert.id}/resolve").status == 403
    assert Alert.get().state == "raised"


def test_without_alerts_the_page_says_what_it_is_for(charlie: Browser) -> None:
    assert "No alerts" in charlie.get("/alerts").text(".empty")


def test_an_open_page_shows_a_new_alert_by_itself(app: Flask, bus: EventBus, alert: Alert) -> None:
    view = AlertView(app, role="viewer", page=1)
    view.everything(cast.NOW)
    alerts.raise_alert(bus, kind="backup_late", condition="x", message="Late.", now=cast.NOW)

    listed, badge = view.changed([AlertsChanged("any")], cast.NOW)

    assert "Late." in listed.html
    assert "2" in badge.html
