"""/api/v1: the same services as the pages, in JSON."""

import pytest

from rm.shared.ids import new_ulid
from rm.store.models import Host, Job
from tests import cast

REPOSITORY = {"name": "offsite", "location": "rest:https://b.example/web1", "password": "repo-secret", "username": "u"}


@pytest.fixture
def group(bus, vault, web1):
    return cast.give_repository(bus, vault, web1)


def test_hosts_are_listed_without_secrets(alice, web1, group):
    answer = alice.get("/api/v1/hosts")

    [host] = answer.json["items"]
    assert (host["id"], host["name"], host["status"]) == (web1.id, "web1", "offline")
    assert "repo-secret" not in answer.text
    assert answer.json["next"] is None


def test_pages_of_hosts_follow_each_other(alice, web1, db1):
    first = alice.get("/api/v1/hosts?limit=1").json
    second = alice.get(f"/api/v1/hosts?limit=1&offset={first['next']}").json

    assert [first["items"][0]["name"], second["items"][0]["name"]] == ["db1", "web1"]
    assert second["next"] is None


@pytest.mark.parametrize("query", ["limit=0x5", "limit=-1", "limit=100000", "offset=a", f"limit={'9' * 5000}"])
def test_a_page_that_cannot_be_is_refused(alice, query):
    assert alice.get(f"/api/v1/hosts?{query}").status_code == 422


def test_what_a_host_sends_cannot_reach_the_database_as_sql(alice, web1):
    assert alice.get("/api/v1/hosts?q='; DROP TABLE hosts; --&tag=' OR 1=1").json["items"] == []
    assert Host.select().count() == 1


def test_a_backup_is_ordered_and_looked_at(bob, web1, group):
    order = bob.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "backup", "source_group_id": group})

    job = bob.get(f"/api/v1/jobs/{order.json['job_id']}").json
    assert order.status_code == 202
    assert (job["kind"], job["state"], job["outcome"], job["requested_by"]) == ("backup", "queued", None, "bob")
    assert bob.get(f"/api/v1/hosts/{web1.id}/jobs").json["items"] == [job]


def test_a_job_is_cancelled_once(bob, web1, group):
    job_id = bob.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "init"}).json["job_id"]

    first = bob.post(f"/api/v1/jobs/{job_id}/cancel")
    second = bob.post(f"/api/v1/jobs/{job_id}/cancel")

    assert (first.status_code, first.json["outcome"]) == (202, "cancelled")
    assert (second.status_code, second.json["error"]["code"]) == (409, "job_over")


def test_a_viewer_may_look_and_not_touch(charlie, web1, group):
    assert charlie.get(f"/api/v1/hosts/{web1.id}").status_code == 200
    answer = charlie.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "init"})

    assert (answer.status_code, answer.json["error"]["code"]) == (403, "forbidden")
    assert Job.select().count() == 0


def test_an_operator_may_not_change_repositories_or_remove_hosts(bob, web1):
    assert bob.put(f"/api/v1/hosts/{web1.id}/repository", json=REPOSITORY).status_code == 403
    assert bob.delete(f"/api/v1/hosts/{web1.id}").status_code == 403
    assert bob.post(f"/api/v1/hosts/{web1.id}/revoke").status_code == 403


def test_nobody_gets_in_without_a_session(client, web1):
    answer = client.get("/api/v1/hosts")

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorised")


def test_a_change_from_another_site_is_refused(bob, web1, group):
    answer = bob.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "init"}, headers={"Sec-Fetch-Site": "cross-site"})

    assert (answer.status_code, answer.json["error"]["code"]) == (403, "cross_origin")
    assert Job.select().count() == 0


@pytest.mark.parametrize("path", ["/api/v1/hosts/nothing", "/api/v1/jobs/nothing", "/api/v1/nothing"])
def test_what_is_not_there_is_not_found_in_json(alice, path):
    answer = alice.get(path)

    assert answer.status_code == 404
    assert set(answer.json["error"]) == {"code", "message", "help"}


@pytest.mark.parametrize("body", [None, [], "text", {"kind": 5}, {"kind": "backup"}, {"kind": "format"}])
def test_an_order_that_makes_no_sense_is_refused(bob, web1, group, body):
    assert bob.post(f"/api/v1/hosts/{web1.id}/jobs", json=body).status_code == 422


def test_a_repository_is_set_and_its_secrets_never_come_back(alice, web1):
    answer = alice.put(f"/api/v1/hosts/{web1.id}/repository", json=REPOSITORY)

    assert (answer.status_code, answer.json["name"]) == (200, "offsite")
    assert "repo-secret" not in answer.text


def test_trying_the_repository_of_a_host_that_is_away_says_so(bob, web1, group):
    answer = bob.post(f"/api/v1/hosts/{web1.id}/repository/test")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "host_offline")


def test_source_groups_are_made_and_listed(bob, web1):
    made = bob.post(f"/api/v1/hosts/{web1.id}/source-groups", json={"name": "etc", "includes": ["/etc"]})

    assert made.status_code == 201
    assert bob.get(f"/api/v1/hosts/{web1.id}/source-groups").json["items"] == [made.json]


def test_a_token_for_many_hosts_is_minted_with_its_line(bob):
    answer = bob.post("/api/v1/enrolment-tokens", json={"max_uses": 5, "tags": ["web"], "expires_in_seconds": 600})

    assert answer.status_code == 201
    assert answer.json["token"] in answer.json["install_command"]
    assert answer.json["expires_at"] == "2026-11-23T12:10:00.000000Z"


@pytest.mark.parametrize(
    "body", [{"max_uses": 0}, {"expires_in_seconds": 5}, {"expires_in_seconds": 2**60}, {"tags": 3}]
)
def test_a_token_with_senseless_bounds_is_refused(bob, body):
    assert bob.post("/api/v1/enrolment-tokens", json=body).status_code == 422


def test_a_host_is_revoked_and_removed(alice, web1):
    revoked = alice.post(f"/api/v1/hosts/{web1.id}/revoke")
    removed = alice.delete(f"/api/v1/hosts/{web1.id}")

    assert (revoked.json["status"], removed.status_code) == ("revoked", 204)
    assert alice.get(f"/api/v1/hosts/{web1.id}").status_code == 404


def test_health_needs_no_session_and_is_honest_about_what_does_not_run(client):
    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json["checks"] == {
        "database": "ok",
        "writer": "the writer does not run",
        "scheduler": "the scheduler does not run",
        "process": "ok",
    }


def test_ids_that_look_like_paths_are_only_ids(alice):
    assert alice.get("/api/v1/jobs/..%2f..%2fetc%2fpasswd/log.txt").status_code == 404
    assert alice.get(f"/api/v1/jobs/{new_ulid()}/log.txt").status_code == 404


def test_repositories_are_listed_without_their_secrets(alice, bus, vault, web1):
    cast.give_repository(bus, vault, web1)

    [item] = alice.get("/api/v1/repositories").json["items"]

    assert (item["host_ids"], item["is_append_only"], item["has_maintenance_credential"]) == ([web1.id], False, False)
    assert "secret" not in str(item)
    assert alice.get(f"/api/v1/repositories/{item['id']}").json == item


def test_a_maintenance_credential_is_set_and_a_check_of_a_part_is_ordered(alice, bob, bus, vault, web1):
    cast.give_repository(bus, vault, web1)
    path = f"/api/v1/repositories/{cast.host_row(web1).repository_id}"

    denied = bob.put(f"{path}/maintenance", json={"username": "keeper"})
    kept = alice.put(f"{path}/maintenance", json={"username": "keeper", "secret": "s", "is_append_only": True})
    ordered = bob.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "check", "subset": "1/10"})
    senseless = bob.post(f"/api/v1/hosts/{web1.id}/jobs", json={"kind": "check", "subset": "x"})

    assert (denied.status_code, kept.json["has_maintenance_credential"]) == (403, True)
    assert (ordered.status_code, senseless.status_code) == (202, 422)
    assert alice.put(f"{path}/maintenance", json={"is_append_only": "yes"}).status_code == 422


def test_there_is_nothing_to_accept_where_the_repository_is_the_known_one(alice, bus, vault, web1):
    cast.give_repository(bus, vault, web1)

    answer = alice.post(f"/api/v1/repositories/{cast.host_row(web1).repository_id}/accept", json={"typed_name": "x"})

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "nothing_to_accept")
