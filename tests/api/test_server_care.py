"""/api/v1 for what the server is set to, its people, channels, incidents, backups and audit log."""

import pytest

from rm.services import alerts
from rm.shared.ids import new_ulid
from rm.store.models import AuditEntry, Delivery, User
from tests import cast


@pytest.fixture
def incident(bus, web1):
    found = alerts.raise_alert(
        bus, kind="certificate_or_key_problem", condition="key", message="two agents", now=cast.NOW, host_id=web1.id
    )
    return str(found.incident_id)


def test_incidents_are_listed_with_their_alerts_and_timeline(charlie, incident, web1):
    [found] = charlie.get("/api/v1/incidents?state=open").json["items"]
    path = f"/api/v1/incidents/{incident}"

    assert (found["id"], found["state"], found["open_count"]) == (incident, "raised", 1)
    assert charlie.get(path).json == found
    assert [one["host_id"] for one in charlie.get(f"{path}/alerts").json["items"]] == [web1.id]
    assert [one["kind"] for one in charlie.get(f"{path}/events").json["items"]] == ["raised"]


def test_an_incident_is_snoozed_woken_acknowledged_and_resolved(bob, charlie, incident):
    path = f"/api/v1/incidents/{incident}"

    snoozed = bob.post(f"{path}/snooze", json={"for": "1h"}).json
    until = bob.post(f"{path}/snooze", json={"until": "2026-11-24T12:00:00Z"}).json
    woken = bob.post(f"{path}/wake").json
    states = [bob.post(f"{path}/{what}").json["state"] for what in ("acknowledge", "resolve")]

    assert (snoozed["snoozed_until"], until["snoozed_until"], woken["snoozed_until"]) == (
        "2026-11-23T13:00:00.000000Z", "2026-11-24T12:00:00.000000Z", None,
    )  # fmt: skip
    assert states == ["acknowledged", "resolved"]
    assert charlie.post(f"{path}/wake").status_code == 403
    assert bob.post(f"{path}/snooze", json={"until": "tomorrow"}).status_code == 422


def test_one_alert_is_snoozed_by_itself(bob, incident):
    [alert] = bob.get(f"/api/v1/incidents/{incident}/alerts").json["items"]

    snoozed = bob.post(f"/api/v1/alerts/{alert['id']}/snooze", json={"for": "1d"}).json

    assert snoozed["snoozed_until"] == "2026-11-24T12:00:00.000000Z"
    assert bob.get(f"/api/v1/alerts/{alert['id']}").json == snoozed
    assert bob.post(f"/api/v1/alerts/{alert['id']}/wake").json["snoozed_until"] is None


def test_people_are_added_changed_disabled_and_removed(alice, bob):
    made = alice.post("/api/v1/users", json={"username": "dora", "role": "viewer"})
    path = f"/api/v1/users/{made.json['id']}"

    assert made.status_code == 201
    assert made.json["link"].startswith("http://localhost/choose-password?token=")
    assert alice.put(path, json={"role": "operator"}).json["role"] == "operator"
    assert alice.post(f"{path}/disable").json["is_enabled"] is False
    assert alice.post(f"{path}/enable").json["is_enabled"] is True
    assert alice.post(f"{path}/link").status_code == 201
    assert alice.delete(f"{path}/link").status_code == 204
    assert alice.get(path).json["link_expires_at"] is None
    assert alice.delete(path).status_code == 204
    assert len(alice.get("/api/v1/users").json["items"]) == 3
    assert bob.get("/api/v1/users").status_code == 403


def test_the_last_administrator_stays(alice):
    answer = alice.put("/api/v1/users/alice", json={"role": "viewer", "typed_name": "alice"})

    assert answer.status_code == 409
    assert User.get_by_id("alice").role == "admin"


def test_settings_are_read_changed_in_part_and_audited(alice, bob):
    changed = alice.put("/api/v1/settings/general", json={"instance_name": "backups"}).json
    patience = alice.put("/api/v1/settings/alerts", json={"patience": {"agent_offline": "2 h"}}).json
    history = alice.put("/api/v1/settings/history-limits", json={"job_logs": 30}).json

    assert (changed["instance_name"], changed["session_hours"]) == ("backups", 12)
    assert patience["patience"]["agent_offline"] == "2 h"
    assert (history["job_logs"], history["jobs"]) == (30, 400)
    assert alice.put("/api/v1/settings/general", json={"session_hours": 0}).status_code == 422
    late = alice.put("/api/v1/settings/general", json={"late_factor": 3, "intermittent_days": 10}).json
    assert (late["late_factor"], late["intermittent_days"], late["instance_name"]) == (3, 10, "backups")
    for wrong in (1, 11, 1.234, True, "2", None):
        assert alice.put("/api/v1/settings/general", json={"late_factor": wrong}).status_code == 422
    assert alice.put("/api/v1/settings/general", data='{"late_factor": NaN}').status_code == 422
    assert alice.put("/api/v1/settings/disk-limits", json={"low_mib": 1}).status_code == 422
    assert bob.get("/api/v1/settings/general").status_code == 403
    assert AuditEntry.select().where(AuditEntry.action == "settings.changed").count() == 4


def test_a_channel_is_kept_changed_and_removed_without_its_secrets_coming_back(alice):
    body = {"name": "hook", "kind": "webhook", "url": "https://192.0.2.7/in?key=hush"}
    made = alice.post("/api/v1/channels", json=body)
    path = f"/api/v1/channels/{made.json.get('id')}"

    assert made.status_code == 201
    assert made.json["secret"]
    assert "hush" not in alice.get(path).text
    assert alice.put(path, json={"is_enabled": False}).json["is_enabled"] is False
    assert alice.get(path).json["name"] == "hook"
    assert alice.post(f"{path}/secret").json["secret"] != made.json["secret"]
    assert alice.get("/api/v1/deliveries").json == {"items": [], "next": None}
    assert alice.delete(path).status_code == 204


def test_a_person_with_many_tokens_makes_the_server_call_out_no_more_often(program):
    clients = [program("admin") for _ in range(3)]
    for client in clients[:2]:
        for _ in range(10):
            client.post("/api/v1/deliveries/x/retry")

    answers = [clients[2].post(path).status_code for path in (
        "/api/v1/deliveries/x/retry", "/api/v1/sign-of-life/ping", "/api/v1/settings/general/check-base-url",
    )]  # fmt: skip

    assert answers == [429, 429, 429]


def test_deliveries_are_found_by_each_state_that_they_can_have(alice):
    made = alice.post("/api/v1/channels", json={"name": "hook", "kind": "webhook", "url": "https://192.0.2.7/in"}).json
    states = ("queued", "sent", "given_up", "dropped")
    for state in states:
        Delivery.create(
            id=new_ulid(), channel=made["id"], event="test", payload={}, state=state, tries=1, created_at=cast.NOW,
            next_try_at=cast.NOW if state == "queued" else None,
            ended_at=None if state == "queued" else cast.NOW,
        )  # fmt: skip

    found = {state: alice.get(f"/api/v1/deliveries?state={state}").json["items"] for state in states}

    assert {state: [one["state"] for one in items] for state, items in found.items()} == {s: [s] for s in states}


def test_a_backup_plan_is_read_and_changed(alice):
    assert alice.put("/api/v1/server-backups/plan", json={"keep": 3}).json["keep"] == 3
    assert alice.get("/api/v1/server-backups").json["items"] == []


def test_the_audit_log_is_read_in_pages_and_filtered(alice, bob, charlie, web1):
    first = bob.get("/api/v1/audit?limit=1").json
    second = bob.get(f"/api/v1/audit?limit=1&before={first['next']}").json

    assert first["items"][0]["id"] == second["items"][0]["id"] + 1
    assert {one["action"] for one in bob.get("/api/v1/audit?action=host.enrolled").json["items"]} == {"host.enrolled"}
    assert bob.get("/api/v1/audit?since=yesterday").status_code == 422
    assert charlie.get("/api/v1/audit").status_code == 403


def test_a_token_for_metrics_is_made_and_ended(alice):
    made = alice.post("/api/v1/settings/metrics-token")

    assert made.status_code == 201
    assert made.json["token"]
    assert alice.delete("/api/v1/settings/metrics-token").status_code == 204


def test_announcing_is_switched(alice, bob):
    assert alice.put("/api/v1/announcing", json={"is_enabled": False}).json == {"is_enabled": False}
    assert bob.get("/api/v1/announcing").json == {"is_enabled": False}
    assert bob.put("/api/v1/announcing", json={"is_enabled": True}).status_code == 403


def test_a_host_is_changed_all_of_it_or_nothing(bob, web1):
    path = f"/api/v1/hosts/{web1.id}"

    refused = bob.put(path, json={"name": "x", "mode": "intermittent", "tags": ["a,b" * 30]})
    unchanged = bob.get(path).json
    changed = bob.put(path, json={"name": "web-one", "mode": "intermittent", "tags": ["web"]}).json

    assert (refused.status_code, unchanged["name"]) == (422, "web1")
    assert (changed["name"], changed["mode"], changed["tags"]) == ("web-one", "intermittent", ["web"])


def test_repositories_are_made_given_to_hosts_changed_and_taken_away(alice, web1):
    form = {"name": "offsite", "location": "rest:https://b.example/x", "password": "hush-hush"}
    made = alice.post("/api/v1/repositories", json=form)
    path = f"/api/v1/repositories/{made.json['id']}"

    given = alice.post(f"{path}/hosts", json={"host_id": web1.id}).json
    renamed = alice.put(path, json={"name": "offsite-2"}).json
    moved = alice.put(path, json={"location": "rest:https://c.example/x"})

    assert (made.status_code, made.json["host_ids"], given["host_ids"]) == (201, [], [web1.id])
    assert (renamed["name"], renamed["location"]) == ("offsite-2", "rest:https://b.example/x")
    assert list(moved.json["error"]["fields"]) == ["typed_name"]
    assert alice.delete(f"{path}/hosts/{web1.id}").status_code == 204
    assert alice.get(path).json["host_ids"] == []


def test_a_host_is_enrolled_again_with_a_token_of_its_own(alice, bob, web1):
    answer = alice.post(f"/api/v1/hosts/{web1.id}/re-enrol")

    assert answer.status_code == 201
    assert answer.json["token"] in answer.json["install_command"]
    assert bob.post(f"/api/v1/hosts/{web1.id}/re-enrol").status_code == 403
    assert bob.get(f"/api/v1/enrolment-tokens/{answer.json['id']}").json["is_open"] is True


def test_a_log_is_followed_in_pages_and_a_job_is_ordered_again(bob, bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    job_id = bob.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "init"}).json["job_id"]
    bob.post(f"/api/v1/jobs/{job_id}/cancel")

    again = bob.post(f"/api/v1/jobs/{job_id}/again")

    assert bob.get(f"/api/v1/jobs/{job_id}/log?limit=10").json == {"items": [], "next": None}
    assert (again.status_code, again.json["job_id"] != job_id) == (202, True)
