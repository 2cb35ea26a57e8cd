"""Tokens that are only for hosts with certain tags: through no route do they see or touch another host."""

import json

import pytest

from rm.api import operations
from rm.domain.permissions import PUBLIC, declared
from rm.services import alerts, hosts, repository_hosts, templates
from rm.services.source_group_forms import SourceGroupForm
from rm.services.template_forms import TemplateForm
from rm.shared.ids import new_ulid
from rm.store.models import Alert, Host, Incident, Job, MaintenancePolicy, Schedule, Snapshot
from tests import cast, snapshots

CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def fleet(bus, vault, web1, db1):
    """web1 is tagged web, db1 is tagged db; each has a repository, a group, a schedule, a job, a snapshot, an alert."""
    found = {}
    for host, tag in ((web1, "web"), (db1, "db")):
        hosts.set_tags(bus, host_id=host.id, tags=(tag,), actor=cast.ALICE, now=cast.NOW)
        group_id = cast.give_repository(bus, vault, host)
        repository_id = cast.host_row(host).repository_id
        job = Job.create(
            id=new_ulid(), host=host.id, kind="backup", state="queued", created_at=cast.NOW, expires_at=cast.NOW,
            source_group="files",
        )  # fmt: skip
        schedule = Schedule.create(
            id=new_ulid(), host=host.id, name="nightly", cron="0 3 * * *", created_at=cast.NOW, changed_at=cast.NOW
        )
        snapshot_id = host.name.encode().hex().ljust(64, "0")
        Snapshot.create(
            repository=repository_id, id=snapshot_id, time=cast.NOW, hostname=host.name, username="root",
            paths=["/srv"], tags=[], listing_id="1",
        )  # fmt: skip
        alert = alerts.raise_alert(
            bus, kind="certificate_or_key_problem", condition=f"host:{host.id}", message="x", now=cast.NOW,
            host_id=host.id,
        )  # fmt: skip
        found[host.name] = {
            "host_id": host.id, "group_id": group_id, "repository_id": repository_id, "job_id": job.id,
            "schedule_id": schedule.id, "snapshot_id": snapshot_id, "alert_id": alert.id, "kind": "check",
            "incident_id": str(alert.incident_id),
        }  # fmt: skip
    return found


def api_routes(app):
    """(method, rule, operation, permission) of every route of the API."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1/"):
            view = app.view_functions[rule.endpoint]
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield method, rule, operations.declared(view), declared(view)


def address(app, rule, values):
    return app.url_map.bind("localhost").build(
        rule.endpoint, {name: values.get(name, "x") for name in rule.arguments}, method=None
    )


def test_no_route_lets_a_token_see_or_touch_a_host_outside_its_scope(app, program, fleet):
    client, foreign = program("admin", "web"), fleet["db1"]
    before = _everything()
    wrong = []
    for method, rule, operation, permission in api_routes(app):
        if permission == PUBLIC or operation.is_for_people:
            continue
        answer = client.open(address(app, rule, foreign), method=method, json={} if method in CHANGING else None)
        told = {value for name, value in foreign.items() if name != "kind"} & set(_words(answer))
        is_refused = answer.status_code in (403, 404)
        names_a_thing = bool(rule.arguments & set(foreign))
        if told or (names_a_thing and not is_refused):
            wrong.append((method, rule.rule, answer.status_code, told))

    assert wrong == []
    assert _everything() == before


def test_the_same_routes_answer_a_token_that_is_for_that_host(app, program, fleet):
    """So that the test before does not pass because nothing works."""
    client, own = program("viewer", "web"), fleet["web1"]
    wrong = []
    for method, rule, operation, permission in api_routes(app):
        if method == "GET" and operation.scope == operations.BY_PATH and rule.arguments and permission == "fleet.view":
            answer = client.get(address(app, rule, own))
            if answer.status_code != 200:
                wrong.append((rule.rule, answer.status_code, answer.text[:200]))

    assert wrong == []


def test_lists_hold_only_what_is_in_the_scope(program, fleet):
    client, own = program("viewer", "web"), fleet["web1"]

    assert [one["id"] for one in client.get("/api/v1/hosts").json["items"]] == [own["host_id"]]
    assert client.get("/api/v1/hosts").json["total"] == 1
    assert client.get("/api/v1/hosts?tag=db").json["items"] == []
    assert client.get("/api/v1/hosts?q=db1").json["items"] == []
    assert [one["id"] for one in client.get("/api/v1/repositories").json["items"]] == [own["repository_id"]]
    assert [one["id"] for one in client.get("/api/v1/alerts").json["items"]] == [own["alert_id"]]


@pytest.mark.parametrize(
    "path",
    ["/api/v1/audit", "/api/v1/fleet-updates", "/api/v1/pending-hosts", "/api/v1/enrolment-tokens/x"],
)
def test_what_concerns_the_whole_fleet_is_refused(program, fleet, path):
    answer = program("admin", "web").get(path)

    assert (answer.status_code, answer.json["error"]["code"]) == (403, "out_of_scope")


def test_incidents_are_told_as_far_as_the_hosts_of_the_token_go(bus, program, fleet):
    own, foreign = fleet["web1"], fleet["db1"]
    Host.update(name="secret-db").where(Host.id == foreign["host_id"]).execute()
    shared = _shared_incident(bus, own, foreign)
    client, path = program("operator", "web"), f"/api/v1/incidents/{shared}"

    listed = client.get("/api/v1/incidents?kind=backup_failed")
    shown, inside, events = client.get(path), client.get(f"{path}/alerts"), client.get(f"{path}/events")
    whole = program("viewer").get(path).json

    assert [one["id"] for one in listed.json["items"]] == [shared]
    assert (shown.json["alert_count"], shown.json["open_count"], whole["alert_count"]) == (1, 1, 2)
    assert [one["host_id"] for one in inside.json["items"]] == [own["host_id"]]
    assert {one["alert_id"] for one in events.json["items"]} - {None} == {inside.json["items"][0]["id"]}
    assert "secret-db" in json.dumps(whole)
    assert ["secret-db" in one.text or foreign["host_id"] in one.text for one in (listed, shown, inside, events)] == (
        [False] * 4
    )


@pytest.mark.parametrize("query", ["q=secret-db", "tag=db", "host_id={host_id}", "q=silent-since"])
def test_no_filter_of_incidents_tells_what_is_outside_the_scope(bus, program, fleet, query):
    own, foreign = fleet["web1"], fleet["db1"]
    Host.update(name="secret-db").where(Host.id == foreign["host_id"]).execute()
    _shared_incident(bus, own, foreign)
    path = f"/api/v1/incidents?{query.format(**foreign)}"

    assert program("viewer", "web").get(path).json["items"] == []
    assert program("viewer").get(path).json["items"] != []


def test_an_incident_with_hosts_of_others_is_looked_at_and_not_handled(bus, program, fleet):
    own, foreign = fleet["web1"], fleet["db1"]
    shared = _shared_incident(bus, own, foreign)
    client = program("operator", "web")

    refused = client.post(f"/api/v1/incidents/{shared}/acknowledge")
    handled = client.post(f"/api/v1/incidents/{own['incident_id']}/acknowledge")

    assert (refused.status_code, refused.json["error"]["code"]) == (403, "out_of_scope")
    assert "each of its alerts" in refused.json["error"]["help"]
    assert (handled.status_code, handled.json["state"]) == (200, "acknowledged")
    assert Incident.get_by_id(shared).state == "raised"


@pytest.mark.parametrize("kind", ["snapshots", "check", "forget", "prune", "unlock"])
def test_a_log_that_may_name_snapshots_of_others_is_kept_back(bus, program, fleet, kind):
    own = fleet["web1"]
    Job.update(kind=kind, repository=own["repository_id"]).where(Job.id == own["job_id"]).execute()
    paths = [f"/api/v1/jobs/{own['job_id']}/{name}" for name in ("log", "log.txt")]
    client = program("operator", "web")

    alone = [client.get(path).status_code for path in paths]
    _share(bus, fleet)
    shared = [client.get(path) for path in paths]

    assert alone == [200, 200]
    assert [(one.status_code, one.json["error"]["code"]) for one in shared] == [(403, "out_of_scope")] * 2
    assert [program("viewer").get(path).status_code for path in paths] == [200, 200]


def test_names_of_foreign_things_in_a_body_are_refused(bus, vault, program, fleet):
    client, own, foreign = program("admin", "web"), fleet["web1"], fleet["db1"]
    form = TemplateForm(name="t", groups=[SourceGroupForm(name="etc", includes=["/etc"])])
    template = templates.save(bus, template_id=None, form=form, actor=cast.ALICE, now=cast.NOW)
    chosen = f"/api/v1/templates/{template.id}/preview"
    at_own = f"/api/v1/hosts/{own['host_id']}"

    answers = [
        client.post(chosen, json={"host_ids": [own["host_id"], foreign["host_id"]]}),
        client.post(chosen, json={"tag": "db"}),
        client.post(f"{at_own}/restores", json={"snapshot_id": foreign["snapshot_id"], "everything": True}),
        client.post(f"{at_own}/diffs", json={"snapshot_a": own["snapshot_id"], "snapshot_b": foreign["snapshot_id"]}),
        client.post(f"/api/v1/repositories/{own['repository_id']}/hosts", json={"host_id": foreign["host_id"]}),
        client.post(f"{at_own}/jobs", json={"kind": "backup", "source_group_id": foreign["group_id"]}),
        client.put(f"{at_own}/schedules/{own['schedule_id']}", json={"groups": [foreign["group_id"]]}),
        client.get(f"{at_own}/source-groups/{foreign['group_id']}"),
        client.get(f"{at_own}/schedules/{foreign['schedule_id']}"),
        client.get(f"{at_own}/snapshots/{foreign['snapshot_id']}/entries"),
    ]

    assert [answer.status_code for answer in answers] == [404, 403, 404, 404, 404, 404, 422, 404, 404, 404]


def test_snapshots_of_others_in_a_shared_repository_stay_theirs(bus, program, fleet):
    own, foreign = fleet["web1"], fleet["db1"]
    repository_hosts.use_existing(
        bus, host_id=foreign["host_id"], repository_id=own["repository_id"], actor=cast.ALICE, now=cast.NOW
    )
    Snapshot.update(repository=own["repository_id"]).where(Snapshot.id == foreign["snapshot_id"]).execute()
    Host.update(features=["restore"]).execute()
    client, path = program("operator", "web"), f"/api/v1/hosts/{own['host_id']}/restores"

    theirs = client.post(path, json={"snapshot_id": foreign["snapshot_id"], "everything": True})
    mine = client.post(path, json={"snapshot_id": own["snapshot_id"], "everything": True})

    assert (theirs.status_code, mine.status_code) == (404, 202)


def test_a_shared_repository_is_looked_at_and_not_changed(bus, program, fleet):
    own, foreign = fleet["web1"], fleet["db1"]
    repository_hosts.use_existing(
        bus, host_id=foreign["host_id"], repository_id=own["repository_id"], actor=cast.ALICE, now=cast.NOW
    )
    client, path = program("admin", "web"), f"/api/v1/repositories/{own['repository_id']}"

    seen = client.get(path)
    answers = [
        client.put(path, json={"name": "mine"}), client.put(f"{path}/maintenance", json={}),
        client.post(f"{path}/maintenance/check/run"),
        client.put(f"/api/v1/hosts/{own['host_id']}/repository", json={"name": "a", "location": "rest:http://x/"}),
    ]  # fmt: skip

    assert seen.json["host_ids"] == [own["host_id"]]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 403]


@pytest.mark.parametrize("kind", ["init", "unlock", "prune"])
def test_a_job_that_changes_a_repository_is_refused_where_others_use_it_too(bus, program, fleet, kind):
    own = fleet["web1"]
    client, path = program("operator", "web"), f"/api/v1/hosts/{own['host_id']}/jobs"
    first = client.post(path, json={"kind": kind})
    job_id = first.json["job_id"]
    Job.update(state="finished", outcome="succeeded", finished_at=cast.NOW).where(Job.id == job_id).execute()
    _share(bus, fleet)

    answers = [client.post(path, json={"kind": kind}), client.post(f"/api/v1/jobs/{job_id}/again")]

    assert first.status_code == 202
    assert [(one.status_code, one.json["error"]["code"]) for one in answers] == [(403, "out_of_scope")] * 2
    assert client.post(path, json={"kind": "snapshots"}).status_code == 202


def test_what_is_told_of_a_shared_repository_names_no_host_of_others(bus, program, fleet):
    own, foreign = fleet["web1"], fleet["db1"]
    _share(bus, fleet)
    Host.update(name="secret-db").where(Host.id == foreign["host_id"]).execute()
    Host.update(connected_at=cast.NOW, first_hello_at=cast.NOW).where(Host.id == foreign["host_id"]).execute()
    words = "waits for the prune of secret-db, which is next"
    Job.update(waits_for=words, repository=own["repository_id"]).where(Job.id == own["job_id"]).execute()
    prune = dict(host=foreign["host_id"], kind="prune", state="queued", repository=own["repository_id"])
    last = Job.create(id=new_ulid(), created_at=cast.NOW, expires_at=cast.NOW, **prune)
    MaintenancePolicy.update(last_job_id=last.id, last_message="secret-db gave way").execute()
    paths = [f"/api/v1/repositories/{own['repository_id']}/maintenance", f"/api/v1/jobs/{own['job_id']}"]

    told = [[client.get(path).text for path in paths] for client in (program("viewer", "web"), program("viewer"))]

    assert ["secret-db" in text or last.id in text for text in told[0]] == [False, False]
    assert ["secret-db" in text for text in told[1]] == [True, True]
    assert "its turn" in told[0][1]


def test_a_host_that_has_not_said_its_name_shows_nobody_elses_snapshots(bus, program, fleet):
    own = fleet["web1"]
    _share(bus, fleet)
    Host.update(hostname="").where(Host.id == own["host_id"]).execute()

    answer = program("viewer", "web").get(f"/api/v1/hosts/{own['host_id']}/snapshots")

    assert (answer.status_code, answer.json["items"], answer.json["total"]) == (200, [], 0)


def test_no_host_outside_the_scope_is_asked_for_what_a_snapshot_holds(bus, parts, program, fleet):
    own, foreign = fleet["web1"], fleet["db1"]
    _share(bus, fleet)
    for name in (own["host_id"], foreign["host_id"]):
        snapshots.able(name)
    parts.agents = snapshots.SnapshotAgents(foreign["host_id"])
    client = program("operator", "web")
    ways = [f"/api/v1/hosts/{own['host_id']}", f"/api/v1/repositories/{own['repository_id']}"]

    answers = [client.get(f"{way}/snapshots/{own['snapshot_id']}/entries") for way in ways]
    answers.append(client.get(f"{ways[0]}/snapshots/{own['snapshot_id']}/search?text=hosts"))

    assert [(one.status_code, one.json["error"]["code"]) for one in answers] == [(409, "nobody_answers")] * 3


def test_new_hosts_and_new_tags_stay_in_the_scope(program, fleet):
    client, path = program("admin", "web"), f"/api/v1/hosts/{fleet['web1']['host_id']}"

    answers = [
        client.post("/api/v1/enrolment-tokens", json={}),
        client.post("/api/v1/enrolment-tokens", json={"tags": ["db"]}),
        client.post("/api/v1/enrolment-tokens", json={"tags": ["web", "eu"]}), client.put(path, json={"tags": ["db"]}),
        client.put(path, json={"tags": ["web", "eu"]}), client.put(path, json={"name": "web-one"}),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [403, 403, 201, 403, 200, 200]


def test_a_route_that_declares_no_scope_is_refused_to_a_token_with_tags(app, program, fleet):
    """A view that forgets is closed, not open."""
    assert operations.Operation(answers={}).scope == operations.WHOLE


def _shared_incident(bus, own, foreign):
    """Backups of both hosts failed of one cause, db1's first: its words speak for the incident."""
    for one, name in ((foreign, "secret-db"), (own, "web1")):
        found = alerts.raise_alert(
            bus, kind="backup_failed", condition=f"group:{one['group_id']}", cause="shared:x", now=cast.NOW,
            host_id=one["host_id"],
            message=f"{name} was last heard of; {'silent-since' if one is foreign else 'quiet'}.",
        )  # fmt: skip
    return found.incident_id


def _share(bus, fleet):
    """Let db1 use web1's repository too, with its snapshot in it."""
    own, foreign = fleet["web1"], fleet["db1"]
    repository_hosts.use_existing(
        bus, host_id=foreign["host_id"], repository_id=own["repository_id"], actor=cast.ALICE, now=cast.NOW
    )
    Snapshot.update(repository=own["repository_id"]).where(Snapshot.id == foreign["snapshot_id"]).execute()


def _everything():
    return json.dumps(
        [list(model.select().order_by(model.id).dicts()) for model in (Host, Job, Alert, Schedule)], default=str
    )


def _words(answer):
    """Every text in a JSON answer."""

    def walk(value):
        if isinstance(value, dict):
            for one in value.values():
                yield from walk(one)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one)
        elif isinstance(value, str):
            yield value

    return list(walk(answer.json)) if answer.is_json else answer.text.split()
