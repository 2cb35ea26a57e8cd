"""The repository page's maintenance and growth, the plan's forms, and the preview of a retention."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from rm.events import EventBus
from rm.store import maintenance as store
from rm.store.models import (
    Host,
    Job,
    MaintenancePolicy,
    Repository,
    RepositoryDay,
    Snapshot,
    SnapshotListing,
    SourceGroup,
)
from rm.store.vault import Vault
from tests import cast
from tests.cast import NOW, EnrolledHost
from tests.web.conftest import Browser

PRUNE = {
    "is_enabled": "yes", "every_hours": "24", "window_from": "22:00", "window_to": "06:00",
    "timezone": "Europe/Berlin", "box_minutes": "90",
}  # fmt: skip


@pytest.fixture
def place(bus: EventBus, vault: Vault, web1: EnrolledHost) -> str:
    cast.give_repository(bus, vault, web1)
    Host.update(connected_at=NOW, last_seen_at=NOW, restic_version="0.14.0", features=["forget"]).execute()
    Repository.update(restic_repository_id="ab" * 32, total_bytes=3 * 2**30, snapshot_count=3).execute()
    return str(Repository.get().id)


def snapshots(host: EnrolledHost, days: int, *, tag: str = "files", hostname: str = "web1") -> None:
    """One snapshot a day, the newest of today."""
    repository_id = cast.host_row(host).repository_id
    for back in range(days):
        Snapshot.create(
            repository=repository_id, id=f"{back:02x}{hostname[0]}{tag[0]}" * 16, time=NOW - timedelta(days=back),
            hostname=hostname, tags=[tag], data_added=1000, listing_id="1", utc_offset_minutes=60,
        )  # fmt: skip
    listed(host, NOW)


def listed(host: EnrolledHost, at: datetime) -> None:
    SnapshotListing.insert(
        repository=cast.host_row(host).repository_id, listing_id="1", taken_at=at, host_id=host.id, total=3
    ).on_conflict_replace().execute()


def group_of(host: EnrolledHost) -> Any:
    return SourceGroup.get(SourceGroup.host == host.id)


# ---- the card ----


def test_the_page_says_of_each_kind_when_how_long_and_what_comes_next(charlie: Browser, place: str) -> None:
    page = charlie.get(f"/repositories/{place}")

    assert "every week; at most 4 hours" in page.text("#maintenance-prune")
    assert "due 30 Nov 2026" in page.text("#maintenance-prune")
    assert "part 1 of 12 of the data is next" in page.text("#maintenance-check")
    assert "everything is kept" in page.text("#maintenance-forget")
    assert not page.has("#maintenance-prune button")


def test_what_waits_for_its_window_says_so(charlie: Browser, place: str) -> None:
    MaintenancePolicy.update(
        window_from="22:00", window_to="06:00", last_started_at=NOW - timedelta(days=9),
        last_ended_at=NOW - timedelta(days=9), last_outcome="succeeded",
    ).execute()  # fmt: skip

    text = charlie.get(f"/repositories/{place}").text("#maintenance-prune")

    assert "between 22:00 and 06:00 (UTC)" in text
    assert "waits for its window at 22:00 (UTC), 23 Nov 2026, 22:00" in text


def test_a_bad_end_and_its_reason_stand_beside_it(charlie: Browser, place: str) -> None:
    MaintenancePolicy.update(
        last_ended_at=NOW, last_started_at=NOW, last_outcome="time_box", last_message="Its time was over."
    ).execute()

    text = charlie.get(f"/repositories/{place}").text("#maintenance-prune")

    assert "ended by its time box" in text
    assert "Its time was over." in text
    assert "tried again" in text


def test_append_only_without_a_credential_says_what_is_missing(bob: Browser, place: str) -> None:
    Repository.update(is_append_only=True).execute()

    page = bob.get(f"/repositories/{place}")

    assert "needs a maintenance credential" in page.text("#maintenance-prune")
    assert not page.has("#maintenance-prune button")
    assert page.has("#maintenance-check button")


def test_the_lease_names_its_holder_and_who_waits(charlie: Browser, place: str, web1: EnrolledHost) -> None:
    started = {"created_at": NOW, "expires_at": NOW, "repository": place, "host": web1.id, "dispatched_at": NOW}
    Job.create(id="1" * 26, kind="prune", state="running", started_at=NOW, **started)
    Job.create(
        id="2" * 26, kind="backup", source_group="etc", state="running", progress={"phase": "waiting"}, **started
    )
    Job.create(id="3" * 26, kind="check", state="queued", **started | {"dispatched_at": None})

    text = charlie.get(f"/repositories/{place}").text("#repository-lease")

    assert "Prune on web1 has it alone, since 23 Nov 2026, 12:00" in text
    assert "Waiting Backup of etc on web1 , since" in text
    assert "Check on web1 , since" in text


def test_damage_is_the_pages_verdict(charlie: Browser, place: str) -> None:
    Repository.update(check_ok=False, checked_at=NOW).execute()

    page = charlie.get(f"/repositories/{place}")

    assert "The last check found damage." in page.text("#repository-verdict")
    assert "damage found" in page.text("#repository-facts")


# ---- growth ----


def test_the_size_over_time_is_drawn_told_and_tabled(charlie: Browser, place: str) -> None:
    for back, size in ((200, 1), (20, 2), (5, 3)):
        day = (NOW - timedelta(days=back)).strftime("%Y-%m-%d")
        RepositoryDay.create(repository=place, day=day, total_bytes=size * 2**30, snapshot_count=size)

    month = charlie.get(f"/repositories/{place}").find("#repository-growth")
    year = charlie.get(f"/repositories/{place}?days=365").find("#repository-growth")

    assert month.svg["aria-label"] == "The repository grew from 2.0 GiB to 3.0 GiB between 3 Nov 2026 and 18 Nov 2026."
    assert year.svg["aria-label"].startswith("The repository grew from 1.0 GiB to 3.0 GiB between 7 May 2026")
    assert [len(found.select("tbody tr")) for found in (month, year)] == [2, 3]
    assert month.select_one("[aria-current]").text == "30 days"
    assert year.select_one("[aria-current]").text == "1 year"
    assert "3.0 GiB in 3 snapshots" in " ".join(month.get_text(" ").split())


@pytest.mark.parametrize("days", ["", "7", "nonsense", "-30", "9" * 50, "³⁰"])
def test_a_range_that_makes_no_sense_is_a_month(charlie: Browser, place: str, days: str) -> None:
    page = charlie.get(f"/repositories/{place}", query_string={"days": days})

    assert page.text("#repository-growth [aria-current]") == "30 days"
    assert "No size is known for this time." in page.text("#repository-growth")


# ---- the plan ----


def test_an_administrator_changes_the_plan(alice: Browser, place: str) -> None:
    form = alice.get(f"/repositories/{place}/maintenance-plan")
    answer = alice.post(f"/repositories/{place}/maintenance-plan/prune", PRUNE)

    kept = store.get(place, "prune")
    assert form.find("#prune-every_hours")["value"] == "168"
    assert answer.response.headers["Location"] == f"/repositories/{place}"
    assert (kept.every_hours, kept.window_from, kept.timezone, kept.box_minutes) == (24, "22:00", "Europe/Berlin", 90)


def test_a_wrong_plan_comes_back_with_what_was_typed_and_what_is_wrong(alice: Browser, place: str) -> None:
    wrong = PRUNE | {"every_hours": "many", "timezone": "Mars"}
    page = alice.post(f"/repositories/{place}/maintenance-plan/prune", wrong)
    wrong_zone = alice.post(f"/repositories/{place}/maintenance-plan/prune", PRUNE | {"timezone": "Mars"})

    assert (page.status, page.text("#prune-every_hours-error")) == (422, "Write a whole number.")
    assert page.find("#prune-timezone")["value"] == "Mars"
    assert page.find("#check-timezone")["value"] == "UTC"
    assert "Europe/Berlin" in wrong_zone.text("#prune-timezone-error")
    assert store.get(place, "prune").every_hours == 168


def test_a_kind_that_is_switched_off_stays_off(alice: Browser, place: str) -> None:
    alice.post(
        f"/repositories/{place}/maintenance-plan/prune",
        {name: value for name, value in PRUNE.items() if name != "is_enabled"},
    )

    assert "off" in alice.get(f"/repositories/{place}").text("#maintenance-prune td[data-label=Next]")


def test_an_operator_may_run_it_now_but_not_change_the_plan(bob: Browser, charlie: Browser, place: str) -> None:
    ordered = bob.post(f"/repositories/{place}/maintenance-plan/check/run")

    job = Job.get(Job.kind == "check")
    assert ordered.response.headers["Location"] == f"/jobs/{job.id}"
    assert (job.requested_by, job.parameters["subset"]) == ("bob", "1/12")
    assert bob.get(f"/repositories/{place}/maintenance-plan").status == 403
    assert bob.post(f"/repositories/{place}/maintenance-plan/check", PRUNE).status == 403
    assert charlie.post(f"/repositories/{place}/maintenance-plan/check/run").status == 403


@pytest.mark.parametrize("kind", ["backup", "unlock", "nonsense"])
def test_other_kinds_have_no_plan(alice: Browser, place: str, kind: str) -> None:
    assert alice.post(f"/repositories/{place}/maintenance-plan/{kind}/run").status == 404
    assert alice.post(f"/repositories/{place}/maintenance-plan/{kind}", PRUNE).status == 404


# ---- the preview ----


def test_the_preview_says_what_would_stay_and_go_and_why(bob: Browser, place: str, web1: EnrolledHost) -> None:
    snapshots(web1, 10)
    snapshots(web1, 5, tag="other")

    page = bob.get(f"/hosts/{web1.id}/sources/{group_of(web1).id}/preview?keep_last=7")

    rows = [" ".join(row.get_text(" ").split()) for row in page.soup.select("#retention-preview tbody tr")]
    assert "Of 10 snapshots, 7 would stay and 3 would go" in page.text("#retention-preview")
    assert len(rows) == 10
    assert "stays last snapshot" in rows[0]
    assert "goes" in rows[9]
    assert not page.has("#retention-preview .flash")


def test_more_than_half_going_asks_for_the_groups_name(bob: Browser, place: str, web1: EnrolledHost) -> None:
    snapshots(web1, 10)

    page = bob.get(f"/hosts/{web1.id}/sources/{group_of(web1).id}/preview?keep_last=4")

    assert "This would remove 6 of 10 snapshots. Type files exactly" in page.text("#retention-preview .flash")


def test_the_preview_inside_the_form_is_only_the_part(bob: Browser, place: str, web1: EnrolledHost) -> None:
    snapshots(web1, 3)
    path = f"/hosts/{web1.id}/sources/{group_of(web1).id}/preview?keep_daily=2&keep_within="

    part = bob.get(path, headers={"HX-Request-Type": "partial"})

    assert part.has("#retention-preview")
    assert not part.has("html")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("keep_daily=-1", "keep_daily is a whole number"),
        ("keep_daily=many", "keep_daily is a whole number"),
        ("keep_within=soon", "keep_within is a time such as 30d"),
        ("keep_daily=0", "This would keep nothing"),
    ],
)  # fmt: skip
def test_a_retention_that_cannot_be_is_told_in_its_place(
    bob: Browser, place: str, web1: EnrolledHost, query: str, said: str
) -> None:
    page = bob.get(f"/hosts/{web1.id}/sources/{group_of(web1).id}/preview?{query}")

    assert said in page.text("#retention-preview .flash")


def test_an_old_list_says_so_and_offers_another(bob: Browser, place: str, web1: EnrolledHost) -> None:
    path = f"/hosts/{web1.id}/sources/{group_of(web1).id}/preview?keep_last=2"
    assert "not listed yet" in bob.get(path).text("#retention-preview")
    snapshots(web1, 3)
    assert "newer snapshots" not in bob.get(path).text("#retention-preview")
    Host.update(last_good_at=NOW, last_good_began_at=NOW + timedelta(seconds=1)).execute()

    page = bob.get(path)

    assert "There may be newer snapshots than this list knows" in page.text("#retention-preview")
    assert page.find("#list-again")["action"] == f"/hosts/{web1.id}/jobs"


def test_a_group_is_previewed_on_its_own_host_only(
    bob: Browser, charlie: Browser, place: str, web1: EnrolledHost, db1: EnrolledHost
) -> None:
    group_id = group_of(web1).id

    assert bob.get(f"/hosts/{db1.id}/sources/{group_id}/preview").status == 404
    assert charlie.get(f"/hosts/{web1.id}/sources/{group_id}/preview").status == 403
