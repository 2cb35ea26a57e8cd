"""Groups, schedules, templates and skipped runs for programs."""

from datetime import timedelta

import pytest

from rm.services import skipped_runs
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import RunsSkipped
from rm.store.models import AuditEntry, Host, HostTag, Schedule, SourceGroup
from tests import cast
from tests.cast import NOW

NIGHTLY = {"name": "nightly", "cron": "15 3 * * *", "jitter_seconds": 600}
SYSTEM = {"name": "system", "includes": ["/etc"], "retention": {"keep_daily": 7}}
TEMPLATE = {"name": "Linux", "groups": [SYSTEM], "schedules": [NIGHTLY | {"groups": ["system"]}]}


@pytest.fixture
def group(bus, vault, web1):
    return cast.give_repository(bus, vault, web1)


@pytest.fixture
def groups_path(web1):
    return f"/api/v1/hosts/{web1.id}/source-groups"


@pytest.fixture
def schedules_path(web1):
    return f"/api/v1/hosts/{web1.id}/schedules"


# ---- source groups ----


def test_a_group_is_made_looked_at_changed_and_removed(bob, groups_path):
    made = bob.post(groups_path, json=SYSTEM | {"mode": "intermittent", "exclude_caches": True, "upload_kib": 512})
    path = f"{groups_path}/{made.json['id']}"
    changed = bob.put(path, json={"retention": {}, "tags": ["base"]})

    assert (made.status_code, made.json["retention"], made.json["upload_kib"]) == (201, {"keep_daily": 7}, 512)
    assert changed.json == bob.get(path).json
    assert (changed.json["includes"], changed.json["retention"], changed.json["mode"]) == (["/etc"], {}, "intermittent")
    assert bob.delete(path).status_code == 204
    assert bob.get(path).status_code == 404


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("name", {"name": 7}),
        ("includes", {"includes": "/etc"}),
        ("one_file_system", {"one_file_system": "yes"}),
        ("retries", {"retries": True}),
        ("retention", {"retention": [7]}),
        ("retention", {"retention": {"keep_daily": "seven"}}),
        ("mode", {"mode": "sometimes"}),
        ("stale_after_hours", {"stale_after_hours": 10**6}),
    ],
)
def test_what_is_wrong_with_a_group_is_named(bob, groups_path, field, body):
    answer = bob.post(groups_path, json=SYSTEM | body)

    assert answer.status_code == 422
    assert field in answer.json["error"]["fields"]


def test_only_an_administrator_sends_hooks_and_nobody_gets_their_text_back(alice, bob, web1, groups_path):
    Host.update(hooks_policy="server").where(Host.id == web1.id).execute()
    body = SYSTEM | {"pre_shell": "the-secret-command"}

    refused = bob.post(groups_path, json=body)
    made = alice.post(groups_path, json=body)

    assert (refused.status_code, made.status_code) == (403, 201)
    assert made.json["has_pre_shell"] is True
    assert "the-secret-command" not in made.text + alice.get(groups_path).text


# ---- schedules ----


def test_a_schedule_is_made_looked_at_changed_and_removed(bob, web1, group, schedules_path):
    Host.update(timezone="Europe/Berlin").where(Host.id == web1.id).execute()
    made = bob.post(schedules_path, json=NIGHTLY | {"groups": [group]})
    path = f"{schedules_path}/{made.json['id']}"
    changed = bob.put(path, json={"every_minutes": 360})

    assert made.status_code == 201
    assert (made.json["words"], made.json["timezone"]) == ("At 03:15 every day", "Europe/Berlin")
    assert made.json["next_runs"][0] == "2026-11-24T02:15:00.000000Z"
    assert len(made.json["next_runs"]) == 5
    assert (changed.json["cron"], changed.json["every_minutes"]) == (None, 360)
    assert changed.json["groups"] == [{"id": group, "name": "files"}]
    assert bob.get(schedules_path).json["items"] == [changed.json]
    assert bob.put(path, json={"is_enabled": False}).json["hints"] == ["It is switched off."]
    assert bob.delete(path).status_code == 204
    assert Schedule.select().count() == 0


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("cron", {"cron": "every night"}),
        ("cron", {"cron": "0 0 30 2 *"}),
        ("cron", {"every_minutes": 60}),
        ("every_minutes", {"every_minutes": "60"}),
        ("jitter_seconds", {"jitter_seconds": 10**9}),
        ("groups", {"groups": []}),
        ("groups", {"groups": [new_ulid()]}),
        ("is_enabled", {"is_enabled": 1}),
    ],
)
def test_what_is_wrong_with_a_schedule_is_named(bob, group, schedules_path, field, body):
    answer = bob.post(schedules_path, json=NIGHTLY | {"groups": [group]} | body)

    assert answer.status_code == 422
    assert field in answer.json["error"]["fields"]


def test_the_schedule_of_another_host_is_not_found(bob, db1, group, schedules_path):
    made = bob.post(schedules_path, json=NIGHTLY | {"groups": [group]}).json
    path = f"/api/v1/hosts/{db1.id}/schedules/{made['id']}"

    assert [bob.get(path).status_code, bob.put(path, json={}).status_code, bob.delete(path).status_code] == [404] * 3


def test_a_viewer_looks_and_changes_nothing(bob, charlie, group, schedules_path, groups_path):
    made = bob.post(schedules_path, json=NIGHTLY | {"groups": [group]}).json

    assert charlie.get(schedules_path).json["items"] == [made]
    denied = [
        charlie.post(schedules_path, json=NIGHTLY),
        charlie.put(f"{schedules_path}/{made['id']}", json={}),
        charlie.delete(f"{schedules_path}/{made['id']}"),
        charlie.delete(f"{groups_path}/{group}"),
    ]
    assert [answer.status_code for answer in denied] == [403] * 4
    assert SourceGroup.select().count() == Schedule.select().count() == 1


def test_a_host_says_what_is_wanted_and_what_its_agent_has(bob, web1, group, schedules_path):
    bob.post(schedules_path, json=NIGHTLY | {"groups": [group]})
    Host.update(
        schedule_applied=1, schedule_problem="the disk is full", features=["schedules"], hook_names=["dump"]
    ).where(Host.id == web1.id).execute()

    host = bob.get(f"/api/v1/hosts/{web1.id}").json

    wanted = cast.host_row(web1).schedule_version
    assert host["schedules"] == {
        "wanted": wanted, "applied": 1, "problem": "the disk is full", "is_supported": True,
    }  # fmt: skip
    assert host["hooks"] == {"names": ["dump"], "policy": "local"}
    assert [one["name"] for one in host["groups"]] == ["files"]


def test_runs_that_did_not_take_place_are_listed_with_the_reason(bus, charlie, web1):
    due = NOW - timedelta(hours=3)
    report = RunsSkipped(
        source_group="files", schedule_id="S1", due_from=instants.to_text(due), due_to=instants.to_text(due), count=3,
        reason="asleep", message="It slept since 03:00.",
    )  # fmt: skip
    skipped_runs.keep(bus, host_id=web1.id, report_id=new_ulid(), report=report, now=NOW)

    answer = charlie.get(f"/api/v1/hosts/{web1.id}/skipped-runs").json

    [found] = answer["items"]
    assert (found["count"], found["reason"], found["message"]) == (3, "asleep", "It slept since 03:00.")
    assert answer["next"] is None
    assert charlie.get("/api/v1/hosts/nobody/skipped-runs").status_code == 404


# ---- templates ----


def test_a_template_is_shown_before_it_is_applied(alice, bob, web1, group):
    HostTag.create(host=web1.id, tag="servers")
    made = alice.post("/api/v1/templates", json=TEMPLATE)
    path = f"/api/v1/templates/{made.json['id']}"

    shown = bob.post(f"{path}/preview", json={"tag": "servers"}).json
    applied = bob.post(f"{path}/apply", json={"tag": "servers", "version": shown["version"]}).json
    again = bob.post(f"{path}/apply", json={"host_ids": [web1.id], "version": shown["version"]}).json

    [host] = shown["hosts"]
    assert made.status_code == 201
    assert [(one["kind"], one["name"], one["what"]) for one in host["changes"]] == [
        ("group", "system", "added"), ("schedule", "nightly", "added"),
    ]  # fmt: skip
    assert host["left_alone"] == [{"kind": "group", "name": "files"}]
    assert [one["outcome"] for one in applied["hosts"] + again["hosts"]] == ["applied", "unchanged"]
    assert alice.get(path).json["hosts"] == [{"id": web1.id, "name": "web1", "drifts": False}]


def test_a_template_is_made_of_a_host_changed_and_removed(alice, bob, group, web1, schedules_path):
    bob.post(schedules_path, json=NIGHTLY | {"groups": [group]})
    made = alice.post("/api/v1/templates", json={"name": "Like web1", "from_host_id": web1.id}).json
    path = f"/api/v1/templates/{made['id']}"

    changed = alice.put(path, json={"schedules": []})

    assert [one["name"] for one in made["groups"]] == ["files"]
    assert made["schedules"][0]["groups"] == ["files"]
    assert (changed.json["version"], changed.json["schedules"], len(changed.json["groups"])) == (2, [], 1)
    assert alice.delete(path).status_code == 204
    assert alice.get("/api/v1/templates").json["items"] == []


def test_what_has_changed_since_it_was_looked_at_is_not_applied(alice, bob, web1):
    path = f"/api/v1/templates/{alice.post('/api/v1/templates', json=TEMPLATE).json['id']}"
    alice.put(path, json={"schedules": []})

    stale = bob.post(f"{path}/apply", json={"host_ids": [web1.id], "version": 1})
    blind = bob.post(f"{path}/apply", json={"host_ids": [web1.id]})

    assert (stale.status_code, stale.json["error"]["code"]) == (409, "template_changed")
    assert blind.status_code == 422
    assert SourceGroup.select().count() == 0


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("groups", {"groups": [7]}),
        ("groups", {"groups": [SYSTEM] * 51}),
        ("groups", {"groups": [SYSTEM | {"pre_shell": "x"}]}),
        ("schedules", {"schedules": [NIGHTLY | {"cron": "never", "groups": ["system"]}]}),
        ("name", {"name": ""}),
    ],
)
def test_what_is_wrong_with_a_template_is_named(alice, field, body):
    answer = alice.post("/api/v1/templates", json=TEMPLATE | body)

    assert answer.status_code == 422
    assert field in answer.json["error"]["fields"]


def test_operators_apply_templates_and_only_administrators_change_them(alice, bob, charlie, web1):
    path = f"/api/v1/templates/{alice.post('/api/v1/templates', json=TEMPLATE).json['id']}"
    before = AuditEntry.select().count()

    denied = [
        bob.post("/api/v1/templates", json=TEMPLATE),
        bob.put(path, json={}),
        bob.delete(path),
        charlie.post(f"{path}/preview", json={"host_ids": [web1.id]}),
        charlie.post(f"{path}/apply", json={"host_ids": [web1.id], "version": 1}),
    ]

    assert [answer.status_code for answer in denied] == [403] * 5
    assert AuditEntry.select().count() == before
    assert SourceGroup.select().count() == 0
