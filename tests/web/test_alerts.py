"""Incidents on pages: what needs somebody first; operators acknowledge, snooze and resolve; counted in the bar."""

from datetime import timedelta

import pytest
from flask import Flask

from rm.events import AlertsChanged, EventBus
from rm.services import alerts, incidents
from rm.store.models import Alert, Incident
from rm.web.alert_query import Query
from rm.web.alert_view import AlertView, IncidentView
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser

HOUR = timedelta(hours=1)


def raised(bus: EventBus, **values: object) -> Alert:
    told: dict[str, object] = {
        "kind": "certificate_or_key_problem", "condition": "host:1:credential", "message": "Two agents <b>use</b> it.",
        "now": cast.NOW,
    }  # fmt: skip
    found = alerts.raise_alert(bus, **(told | values))  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.fixture
def alert(bus: EventBus, web1: EnrolledHost) -> Alert:
    return raised(bus, host_id=web1.id)


def shared(bus: EventBus, count: int) -> str:
    """An incident of so many alerts; its id."""
    made = [raised(bus, kind="backup_failed", condition=f"group:{number}", cause="c:1") for number in range(count)]
    return str(made[0].incident_id)


def test_an_incident_is_under_needs_you_on_its_page_and_in_the_bar(charlie: Browser, alert: Alert) -> None:
    fleet, page = charlie.get("/"), charlie.get("/alerts")
    own = charlie.get(f"/alerts/{alert.incident_id}")

    assert fleet.has(f"#needs #need-incident-{alert.incident_id}")
    assert fleet.text("#alert-badge").startswith("1")
    assert page.has(f"#incident-{alert.incident_id}.incident--failed")
    assert not page.has("main b b") and not own.has("main b b")
    assert "Two agents <b>use</b> it." in page.text(f"#incident-{alert.incident_id}")
    assert "Certificate or key problem: web1" in own.text("h1")
    assert "cloned machine" in own.text("#incident-head")
    assert page.text("#alerts-sentence h1") == "1 incident needs somebody."


def test_the_fleets_sentence_is_made_of_incidents(charlie: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    cast.nightly(bus, web1)
    cast.backed_up(bus, web1.id, cast.NOW)
    raised(bus, kind="prune_failed", condition="repository:1")
    warned = charlie.get("/")
    raised(bus, kind="check_failed", condition="repository:1")
    failed = charlie.get("/")

    assert warned.text("#verdict h1") == "The only host is protected, but look: Prune failed"
    assert warned.find("#verdict")["class"] == ["verdict", "verdict--warning"]
    assert failed.text("#verdict h1").endswith("but look: Check failed , Prune failed")
    assert failed.find("#verdict")["class"] == ["verdict", "verdict--failed"]


def test_an_operator_acknowledges_and_it_stays_open(bob: Browser, alert: Alert) -> None:
    done = bob.post(f"/alerts/{alert.incident_id}/acknowledge")

    assert done.response.headers["Location"] == "/alerts"
    assert not bob.get("/").has(f"#need-incident-{alert.incident_id}")
    page = bob.get("/alerts")
    at = f"#incident-{alert.incident_id}"
    assert "Acknowledged by bob" in page.text(at)
    assert page.text("#alert-badge") == ""
    verbs = [form["action"].rpartition("/")[2] for form in page.soup.select(f"{at} form")]
    assert verbs == ["snooze", "resolve"]


def test_an_operator_snoozes_and_wakes_it(bob: Browser, alert: Alert) -> None:
    path = f"/alerts/{alert.incident_id}"
    bob.post(f"{path}/snooze", {"for": "8h"})
    asleep = bob.get("/alerts?state=snoozed")
    needs = bob.get("/").has(f"#need-incident-{alert.incident_id}")
    done = bob.post(f"{path}/wake", {"then": "incident"})

    assert "Snoozed by bob until" in asleep.text(f"#incident-{alert.incident_id}")
    assert not needs
    assert done.response.headers["Location"] == path
    assert bob.get("/").has(f"#need-incident-{alert.incident_id}")


def test_a_snooze_until_a_chosen_time_is_checked_beside_its_field(bob: Browser, alert: Alert) -> None:
    path = f"/alerts/{alert.incident_id}/snooze"
    refused = bob.post(path, {"until": "2020-01-01T00:00", "then": "incident"})
    nonsense = bob.post(path, {"until": "tomorrow", "for": "x"})
    done = bob.post(path, {"until": "2026-11-24T08:30", "then": "incident"})

    assert (refused.status, nonsense.status, done.status) == (422, 422, 303)
    assert "From 5 minutes" in refused.text() and "Choose a time" in refused.text("#until-error")
    assert refused.find("#until")["value"] == "2020-01-01T00:00"
    assert Incident.get().snoozed_until == cast.NOW + timedelta(hours=20, minutes=30)


def test_one_alert_of_an_incident_is_handled_by_itself(bob: Browser, bus: EventBus) -> None:
    incident_id = shared(bus, 2)
    first, second = Alert.select().order_by(Alert.id)
    bob.post(f"/alerts/{incident_id}/alerts/{first.id}/acknowledge")
    half = Incident.get().state
    bob.post(f"/alerts/{incident_id}/alerts/{first.id}/resolve")
    bob.post(f"/alerts/{incident_id}/alerts/{second.id}/snooze", {"for": "1h"})
    asleep = Incident.get().snoozed_until
    bob.post(f"/alerts/{incident_id}/alerts/{second.id}/wake")

    assert (half, Incident.get().open_count) == ("raised", 1)
    assert asleep == cast.NOW + HOUR
    assert Incident.get().snoozed_until is None


def test_an_alert_of_another_incident_is_not_reached_through_this_one(
    bob: Browser, bus: EventBus, alert: Alert
) -> None:
    incident_id = shared(bus, 1)

    assert bob.post(f"/alerts/{incident_id}/alerts/{alert.id}/resolve").status == 404
    assert Alert.get_by_id(alert.id).state == "raised"


def test_a_resolved_incident_leaves_the_open_ones(bob: Browser, bus: EventBus, alert: Alert) -> None:
    bob.post(f"/alerts/{alert.incident_id}/resolve")
    other = raised(bus, kind="backup_late", condition="x", message="Late.")

    page, resolved = bob.get("/alerts"), bob.get("/alerts?state=resolved")

    assert [one["id"] for one in page.soup.select("#alerts article")] == [f"incident-{other.incident_id}"]
    assert "Resolved by bob" in resolved.text(f"#incident-{alert.incident_id}")
    assert "Resolved by bob" in bob.get(f"/alerts/{alert.incident_id}").text("#incident-timeline")


def test_a_form_in_a_filtered_list_leads_back_to_it_and_nowhere_else(bob: Browser, alert: Alert) -> None:
    page = bob.get("/alerts?severity=critical&q=credential")
    there = bob.post(f"/alerts/{alert.incident_id}/acknowledge", {"shown": "severity=critical&q=x&next=//evil.test"})

    assert page.soup.select("#alerts input[name=shown]") == []
    assert there.response.headers["Location"] == "/alerts?severity=critical&q=x"


def test_the_list_is_filtered_by_what_is_chosen(charlie: Browser, bus: EventBus, alert: Alert) -> None:
    raised(bus, kind="backup_late", condition="x", message="Late.")

    def shown(query: str) -> int:
        return len(charlie.get(f"/alerts?{query}").soup.select("#alerts article"))

    assert [shown(q) for q in ("", "severity=critical", "kind=backup_late", "q=web1", "q=nothing", "host=x")] == [
        2, 1, 1, 1, 0, 0,
    ]  # fmt: skip
    assert "No incident matches" in charlie.get("/alerts?q=nothing").text(".empty")


def test_thousands_of_alerts_of_one_incident_are_paged(charlie: Browser, bus: EventBus) -> None:
    incident_id = shared(bus, 120)
    first, last = charlie.get(f"/alerts/{incident_id}"), charlie.get(f"/alerts/{incident_id}?page=3&events=2")

    assert len(first.soup.select("#incident-alerts article")) == 50
    assert len(last.soup.select("#incident-alerts article")) == 20
    assert len(last.soup.select("#incident-timeline li")) == 50
    assert "Of 20 more the list of alerts says" in last.text("#incident-timeline")
    assert last.find("#incident-alerts a[rel=prev]")["href"] == f"/alerts/{incident_id}?events=2&page=2"
    assert not last.has("#incident-alerts a[rel=next]")


def test_a_viewer_may_look_and_not_touch(charlie: Browser, alert: Alert) -> None:
    assert not charlie.get("/alerts").has("article form")
    assert not charlie.get(f"/alerts/{alert.incident_id}").has("main form")
    for verb in ("resolve", "snooze", "wake", "acknowledge"):
        assert charlie.post(f"/alerts/{alert.incident_id}/{verb}").status == 403
    assert Alert.get().state == "raised"


def test_without_incidents_the_page_says_what_it_is_for(charlie: Browser) -> None:
    assert "No incidents" in charlie.get("/alerts").text(".empty")
    assert charlie.get("/alerts/unknown").status == 404


def test_a_hosts_page_shows_what_is_open_about_it(charlie: Browser, web1: EnrolledHost, alert: Alert) -> None:
    card = charlie.get(f"/hosts/{web1.id}").find("#host-alerts")

    assert not card.has_attr("hidden")
    assert card.select_one("article a")["href"] == f"/alerts/{alert.incident_id}"


def test_an_open_page_shows_a_new_incident_by_itself(app: Flask, bus: EventBus, alert: Alert) -> None:
    view = AlertView(app, role="viewer", query=Query())
    view.everything(cast.NOW)
    raised(bus, kind="backup_late", condition="x", message="Late.")

    sentence, _, listed, badge = view.changed([AlertsChanged("any")], cast.NOW)

    assert "Late." in listed.html
    assert "2" in badge.html and "2 incidents need somebody" in sentence.html


def test_an_open_page_of_an_incident_shows_what_joins_it(app: Flask, bus: EventBus) -> None:
    incident_id = shared(bus, 1)
    view = IncidentView(app, incident_id, role="operator", page=1, events=1)
    view.everything(cast.NOW)
    raised(bus, kind="backup_failed", condition="group:new", message="The newest.", cause="c:1")
    incidents.acknowledge(bus, incident_id=incident_id, actor=cast.BOB, now=cast.NOW)

    head, members, timeline, _ = view.changed([AlertsChanged("any")], cast.NOW)

    assert "The newest." in members.html and "Joined" in timeline.html and "Acknowledged" in head.html


def test_the_tab_of_open_incidents_counts_all_that_it_lists(bob: Browser, bus: EventBus, alert: Alert) -> None:
    raised(bus, kind="prune_failed", condition="repository:1")
    alerts.acknowledge(bus, alert_id=alert.id, actor=cast.ALICE, now=cast.NOW)

    page = bob.get("/alerts")

    assert page.text("#alerts-tabs [aria-current]") == "Open 2"
    assert len(page.soup.select("#alerts article")) == 2
    assert page.text("#alert-badge").startswith("1")


def test_a_long_message_is_cut_in_lists_and_can_be_opened_on_its_page(
    bob: Browser, bus: EventBus, web1: EnrolledHost
) -> None:  # fmt: skip
    told = "no space left on " + "/srv/very-long" * 300
    found = raised(bus, host_id=web1.id, message=told)

    shown = str(Alert.get_by_id(found.id).message)
    own = bob.get(f"/alerts/{found.incident_id}")

    assert len(bob.get("/alerts").text(f"#incident-{found.incident_id}")) < 1000
    assert len(bob.get("/").text(f"#need-incident-{found.incident_id}")) < 1000
    assert own.text("#incident-alerts details.long > bdi") == shown
