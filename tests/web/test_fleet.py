"""The fleet page of a big fleet: filters, pages, and what it costs."""

from datetime import timedelta

import pytest
from flask import Flask

from rm.events import HostChanged, HostSeen, JobChanged
from rm.runtime import Runtime
from rm.shared.ids import new_ulid
from rm.store import host_list
from rm.store.models import BackupDay, GroupVerdict, Host, HostTag, Job, Repository, SourceGroup
from rm.web import fleet_summary, fleet_view
from rm.web.fleet_summary import FleetSummary
from rm.web.fleet_view import FleetView, Query, SharedParts
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser, Page
from tests.web.statements import statements

MOST_BYTES = 60_000
DAYS = [(cast.NOW - timedelta(days=back)).strftime("%Y-%m-%d") for back in range(30)]


def add_hosts(count: int) -> list[str]:
    """So many ordinary hosts, of which each tenth is late and each seventh offline; returns their ids."""
    repository = Repository.create(
        id=new_ulid(), name="offsite-berlin", location="rest:https://backup.example.net/", password_sealed=b"-",
        total_bytes=10**12, created_at=cast.NOW, changed_at=cast.NOW,
    )  # fmt: skip
    rows, jobs = [], []
    for n in range(count):
        host_id, job_id = new_ulid(), new_ulid()
        good = cast.NOW - timedelta(hours=100 if n % 10 == 0 else 3)
        rows.append({
            "id": host_id, "name": f"web-{n:04}.example.net", "hostname": f"web-{n:04}", "os": "linux",
            "os_name": "Debian GNU/Linux 12 (bookworm)", "arch": "amd64", "agent_version": "0.1.0",
            "repository": repository.id, "enrolled_at": cast.NOW, "first_hello_at": cast.NOW,
            "connected_at": None if n % 7 == 0 else cast.NOW, "last_seen_at": cast.NOW, "last_good_at": good,
            "protected_until": good + timedelta(hours=26), "verdict_code": "manual",
            "last_backup_id": job_id, "last_address": f"192.0.2.{n % 250}",
        })  # fmt: skip
        jobs.append({
            "id": job_id, "host": host_id, "kind": "backup", "state": "finished", "outcome": "succeeded",
            "created_at": good, "expires_at": good, "started_at": good - timedelta(minutes=8), "finished_at": good,
        })  # fmt: skip
    ids = [str(row["id"]) for row in rows]
    Host.insert_many(rows).execute()
    Job.insert_many(jobs).execute()
    tags = [{"host": host_id, "tag": tag} for n, host_id in enumerate(ids) for tag in ("production", f"rack-{n % 3}")]
    HostTag.insert_many(tags).execute()
    groups = [
        {"id": new_ulid(), "host": host_id, "name": "system", "created_at": cast.NOW, "changed_at": cast.NOW}
        for host_id in ids
    ]
    SourceGroup.insert_many(groups).execute()
    GroupVerdict.insert_many([
        {
            "group": group["id"], "host": group["host"], "code": "manual", "text": "Backed up.", "since": good,
            "last_good_at": good, "late_at": good + timedelta(hours=26), "protected_until": good + timedelta(hours=26),
            "changed_at": cast.NOW,
        }
        for group, good in zip(groups, (row["last_good_at"] for row in rows), strict=True)
    ]).execute()  # fmt: skip
    for n, host_id in enumerate(ids):
        days = [{"host": host_id, "day": day, "succeeded": int(day != DAYS[n % 30])} for day in DAYS]
        BackupDay.insert_many(days).execute()
    return ids


def shown(page: Page) -> list[str]:
    return [str(row["id"]).removeprefix("host-") for row in page.soup.select("#hosts tbody tr")]


def test_the_number_of_queries_does_not_grow_with_the_fleet(alice: Browser) -> None:
    add_hosts(5)
    with statements() as few:
        alice.get("/")
    Host.update(name="a").execute()
    Repository.update(name="other").execute()
    add_hosts(55)

    with statements() as many:
        alice.get("/")

    assert len(many) == len(few)
    assert len(many) <= 35


def test_a_kept_summary_leaves_only_the_rows_to_be_read(app: Flask, alice: Browser) -> None:
    add_hosts(55)
    fleet_summary.shared(app).most_seconds = 60
    alice.get("/")

    with statements() as found:
        alice.get("/?page=2")

    assert len(found) <= 14


def test_a_page_of_fifty_hosts_stays_light(alice: Browser) -> None:
    add_hosts(120)

    page = alice.get("/?page=2")

    assert len(shown(page)) == 50
    assert len(page.response.data) <= MOST_BYTES


def test_each_host_is_on_exactly_one_page_even_when_names_repeat(alice: Browser) -> None:
    ids = add_hosts(110)
    Host.update(name="same").execute()

    pages = [shown(alice.get(f"/?page={number}")) for number in (1, 2, 3)]

    assert [len(page) for page in pages] == [50, 50, 10]
    assert sorted(host_id for page in pages for host_id in page) == sorted(ids)


def test_tiles_lead_to_the_hosts_that_they_count(alice: Browser) -> None:
    add_hosts(20)
    page = alice.get("/")
    tiles = {a.select_one(".readout__note").get_text(strip=True): str(a["href"]) for a in page.soup.select("a.readout")}

    assert tiles == {"2 not protected": "/?status=problems#fleet", "3 offline": "/?status=offline#fleet"}
    assert len(shown(alice.get("/?status=problems"))) == 2
    assert len(shown(alice.get("/?status=offline"))) == 3


@pytest.mark.parametrize(
    ("query", "count"),
    [("q=rack-1", 7), ("q=192.0.2.1", 11), ("q=0.1.0", 20), ("q=web-0007", 1), ("q=bookworm&tag=rack-0", 7),
     ("tag=rack-0&status=problems", 1), ("q=web&tag=rack-1&status=offline", 1)],
)  # fmt: skip
def test_search_tag_and_status_narrow_together(alice: Browser, query: str, count: int) -> None:
    add_hosts(20)

    page = alice.get(f"/?{query}")

    assert len(shown(page)) == count
    assert page.text("#pager").startswith(f"{count} host")


def test_a_filter_keeps_the_other_choices(alice: Browser) -> None:
    add_hosts(20)

    page = alice.get("/?q=web&tag=rack-1&status=offline")
    hrefs = {a.get_text(" ", strip=True).rsplit(" ", 1)[0]: str(a["href"]) for a in page.soup.select("a.tag--filter")}

    assert hrefs["Offline"] == "/?q=web&tag=rack-1"
    assert hrefs["rack-2"] == "/?q=web&tag=rack-2&status=offline"
    assert [a.get_text(" ", strip=True) for a in page.soup.select("a.tag--filter[aria-current]")] == [
        "Offline 3",
        "rack-1 7",
    ]


def test_revoked_hosts_come_last_and_count_neither_as_problems_nor_as_offline(
    alice: Browser, web1: EnrolledHost, db1: EnrolledHost
) -> None:
    Host.update(revoked_at=cast.NOW).where(Host.id == db1.id).execute()

    assert shown(alice.get("/")) == [web1.id, db1.id]
    assert shown(alice.get("/?status=offline")) == [web1.id]
    assert shown(alice.get("/?status=revoked")) == [db1.id]
    assert host_list.counts(now=cast.NOW) == {
        "all": 1, "protected": 0, "problems": 1, "online": 0, "offline": 1, "behind": 0, "revoked": 1
    }  # fmt: skip


def test_big_numbers_are_readable(alice: Browser) -> None:
    assert (
        "9,998 of 10,000 hosts are protected."
        in fleet_summary.health.fleet_verdict({"all": 10_000, "protected": 9_998}, ("a", "b")).text
    )


def test_a_row_is_rendered_once_until_something_happens_to_its_host_or_time_passes(
    app: Flask, parts: Runtime, alice: Browser
) -> None:
    first, *_ = add_hosts(3)
    app.extensions["rm_shared_parts"].row_seconds = 10
    before = alice.get("/").soup.select("tbody tr")
    Host.update(os_name="Another system").execute()

    assert alice.get("/").soup.select("tbody tr") == before
    parts.bus.publish(HostChanged(first))
    assert [row["id"] for row in alice.get("/").soup.select("tbody tr")] == [row["id"] for row in before]
    assert [row["id"] for row in alice.get("/").soup.select("tbody tr") if "Another system" in row.text] == [
        f"host-{first}"
    ]
    parts.clock.now += timedelta(seconds=10)
    assert alice.get("/").soup.text.count("Another system") == 3


def test_what_happens_to_hosts_elsewhere_renders_no_row(
    app: Flask, parts: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_view, "SUMMARY_SECONDS", 3600)
    ids = add_hosts(120)
    shared = SharedParts(app, parts.bus)
    view = FleetView(app, shared, Query())
    view.everything(cast.NOW)
    with statements() as found:
        assert len(shared.rows(view._ids, cast.NOW)) == 50
    assert found == []
    elsewhere = next(host_id for host_id in ids if host_id not in view._ids)

    for event in (HostSeen(elsewhere), HostSeen(view._ids[0])):
        parts.bus.publish(event)
        assert view.changed([event], cast.NOW) == []
        assert not view.is_behind
    assert view.changed([JobChanged("job", elsewhere)], cast.NOW) == []


def test_the_summary_is_read_again_only_after_something_happened(
    app: Flask, parts: Runtime, web1: EnrolledHost
) -> None:
    summary = FleetSummary(parts.bus, least_seconds=0, most_seconds=60)
    first = summary.values(cast.NOW)

    parts.bus.publish(HostSeen(web1.id))
    assert summary.values(cast.NOW) is first
    assert summary.lamps(cast.NOW) is first["lamps"]
    parts.bus.publish(HostChanged(web1.id))

    assert summary.values(cast.NOW) is not first


def test_a_row_says_when_the_host_itself_will_run_next(alice, web1):
    Host.update(next_run_at=cast.NOW.replace(hour=20)).where(Host.id == web1.id).execute()

    [time] = alice.get("/").find(f"#host-{web1.id}").select("small time")

    assert time["datetime"].startswith("2026-11-23T20:00")
