"""The fleet page and the pages of a host."""

from datetime import timedelta

import pytest

from rm.events import EventBus
from rm.services import hosts
from rm.store.models import AuditEntry, BackupDay, Host, Job, Snapshot, SnapshotListing
from rm.store.vault import Vault
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser

STRANGE_NAME = "web\n<b>1</b>\u202egnp.exe " + "x" * 200


def said_hello(host: EnrolledHost, **values: object) -> None:
    Host.update(
        first_hello_at=cast.NOW, connected_at=cast.NOW, last_seen_at=cast.NOW, restic_version="0.18.0", **values
    ).where(Host.id == host.id).execute()


def test_an_empty_fleet_teaches_the_first_step(alice: Browser) -> None:
    page = alice.get("/")

    assert page.text("#verdict h1") == "No hosts yet."
    assert page.find(".empty a")["href"] == "/hosts/add"


def test_who_may_not_add_hosts_is_told_whom_to_ask(charlie: Browser) -> None:
    page = charlie.get("/")

    assert not page.has("a[href='/hosts/add']")
    assert "operator" in page.text(".empty")


def test_the_fleet_page_names_what_is_not_protected_first(
    alice: Browser, bus: EventBus, web1: EnrolledHost, db1: EnrolledHost
) -> None:
    said_hello(web1)
    cast.backed_up(bus, web1.id, cast.NOW - timedelta(hours=2))

    page = alice.get("/")

    assert "1 of 2 hosts is protected. db1" in page.text("#verdict h1")
    assert page.text("#needs").startswith("Needs you 1")
    ids = [row["id"] for row in page.soup.select("#hosts tbody tr")]
    assert ids == [f"host-{db1.id}", f"host-{web1.id}"]


def test_a_row_shows_state_last_backup_and_thirty_days(alice: Browser, bus: EventBus, web1: EnrolledHost) -> None:
    said_hello(web1)
    cast.backed_up(bus, web1.id, cast.NOW)
    BackupDay.create(host=web1.id, day=cast.NOW.strftime("%Y-%m-%d"), succeeded=1)

    page = alice.get("/")

    row = f"#host-{web1.id}"
    assert page.text(f"{row} .status--ok").startswith("Protected")
    assert page.find(f"{row} .trace")["aria-label"] == "1 ok"
    assert [path["class"] for path in page.soup.select(f"{row} .trace path")] == [["trace__none"], ["trace__ok"]]


def test_search_and_filters_narrow_the_list(alice: Browser, web1: EnrolledHost, db1: EnrolledHost) -> None:
    assert [row["id"] for row in alice.get("/?q=db").soup.select("#hosts tbody tr")] == [f"host-{db1.id}"]
    assert "No host matches" in alice.get("/?q=nothing").text("#hosts")
    assert alice.get("/?status=online").text("#hosts").startswith("No host matches")


@pytest.mark.parametrize("query", ["page=0", "page=-3", "page=99999999999", "page=x", "status=odd", "tag=%00", "q=%25"])
def test_odd_queries_are_harmless(alice: Browser, web1: EnrolledHost, query: str) -> None:
    assert alice.get(f"/?{query}").status == 200


def test_a_long_fleet_is_shown_in_pages(alice: Browser, bus: EventBus) -> None:
    for number in range(51):
        cast.add_host(bus, f"host{number:02}")

    first, second = alice.get("/"), alice.get("/?page=2")

    assert len(first.soup.select("#hosts tbody tr")) == 50
    assert first.find("a[rel=next]")["href"] == "/?page=2"
    assert len(second.soup.select("#hosts tbody tr")) == 1


def test_a_strange_name_is_shown_harmlessly_everywhere(alice: Browser, web1: EnrolledHost) -> None:
    said_hello(web1, name=STRANGE_NAME, hostname=STRANGE_NAME, os_name="Evil\x1b[31m OS")

    for path in ("/", f"/hosts/{web1.id}", f"/hosts/{web1.id}/jobs", f"/hosts/{web1.id}/remove"):
        page = alice.get(path)
        assert page.status == 200
        assert not page.has("main b:-soup-contains-own('1')")
        assert not set("\u202e\x1b") & set(page.response.text)
        assert "web␊<b>1</b>\\u202egnp.exe" in page.soup.get_text()


def test_a_new_host_is_led_to_its_first_backup_step_by_step(
    alice: Browser, bus: EventBus, vault: Vault, web1: EnrolledHost
) -> None:
    said_hello(web1)

    before = alice.get(f"/hosts/{web1.id}")
    cast.give_repository(bus, vault, web1)
    after = alice.get(f"/hosts/{web1.id}")

    assert before.text("#steps [aria-current=step]") == "Repository"
    assert before.find("#steps a.button--primary")["href"] == f"/hosts/{web1.id}/repository"
    assert after.text("#steps [aria-current=step]") == "Created"
    assert after.find("#steps form input[name=kind]")["value"] == "init"


def test_a_viewer_sees_no_buttons_that_they_may_not_press(
    charlie: Browser, bus: EventBus, vault: Vault, web1: EnrolledHost
) -> None:
    cast.give_repository(bus, vault, web1)

    page = charlie.get(f"/hosts/{web1.id}")

    assert page.soup.select("main form") == []
    assert page.soup.select("main a.button--danger") == []


def test_a_host_without_restic_says_how_to_get_it(alice: Browser, web1: EnrolledHost) -> None:
    said_hello(web1)
    Host.update(restic_version=None).where(Host.id == web1.id).execute()

    assert "install it" in alice.get(f"/hosts/{web1.id}").text("#host-verdict")


def test_a_host_that_is_gone_is_a_clear_404(alice: Browser) -> None:
    page = alice.get("/hosts/01J00000000000000000000000")

    assert page.status == 404
    assert "no such host" in page.text("#error")


def test_of_a_host_with_very_many_tags_the_first_are_shown_and_the_others_counted(bob: Browser, bus, web1) -> None:
    hosts.change(
        bus, host_id=web1.id, tags=tuple(f"t{number:03}" for number in range(20)), actor=cast.BOB, now=cast.NOW
    )

    head = bob.get(f"/hosts/{web1.id}").find("#host-head")

    assert len(head.select(".tag")) == 12
    assert head.select_one("a[href$='/settings']").get_text() == "and 8 more tags"


def test_name_tags_and_mode_are_saved(bob: Browser, web1: EnrolledHost) -> None:
    answer = bob.post(f"/hosts/{web1.id}/settings", {"name": "shop", "tags": "a, b", "mode": "intermittent"})
    page = bob.get(answer.response.headers["Location"])

    assert page.text("#flash") == "Saved."
    assert page.find("#tags")["value"] == "a, b"
    assert page.find("input[name=mode][checked]")["value"] == "intermittent"
    assert bob.get(f"/hosts/{web1.id}/settings").text("#flash") == ""


def test_a_wrong_name_is_said_beside_its_field_and_kept(bob: Browser, web1: EnrolledHost) -> None:
    answer = bob.post(f"/hosts/{web1.id}/settings", {"name": " ", "tags": "x,y", "mode": "always_on"})

    assert answer.status == 422
    assert answer.has("#name-error")
    assert answer.find("#tags")["value"] == "x,y"


def test_revoking_asks_first_and_then_tells(alice: Browser, web1: EnrolledHost) -> None:
    question = alice.get(f"/hosts/{web1.id}/revoke")
    answer = alice.post(str(question.find("main form")["action"]))

    assert alice.get(answer.response.headers["Location"]).text("#flash").startswith("The credential is revoked")
    assert cast.host_row(web1).revoked_at == cast.NOW


def test_removing_needs_the_name_typed(alice: Browser, web1: EnrolledHost) -> None:
    wrong = alice.post(f"/hosts/{web1.id}/remove", {"typed_name": "web2"})
    kept = Host.select().where(Host.id == web1.id).count()
    right = alice.post(f"/hosts/{web1.id}/remove", {"typed_name": "web1"})

    assert wrong.status == 422
    assert wrong.has("#confirm-name-error")
    assert kept == 1
    assert right.response.headers["Location"] == "/"
    assert Host.select().where(Host.id == web1.id).count() == 0
    assert AuditEntry.select().where(AuditEntry.action == "host.removed").count() == 1


def test_snapshots_are_listed_with_the_command_that_restores_them(
    alice: Browser, bus: EventBus, vault: Vault, web1: EnrolledHost
) -> None:
    cast.give_repository(bus, vault, web1)
    repository_id = cast.host_row(web1).repository_id
    Snapshot.create(
        repository=repository_id, id="ab" * 32, time=cast.NOW, hostname="web1", paths=["/etc"], tags=["files"],
        listing_id="1",
    )  # fmt: skip
    SnapshotListing.create(repository=repository_id, listing_id="1", taken_at=cast.NOW, host_id=web1.id, total=1)

    page = alice.get(f"/hosts/{web1.id}/snapshots")

    assert page.text("#snapshots tbody th") == "abababab"
    assert "restore abababab" in page.text("#restore-command")


def test_older_jobs_are_a_link_away(alice: Browser, web1: EnrolledHost) -> None:
    for number in range(31):
        Job.create(
            id=f"01J000000000000000000000{number:02}", host=web1.id, kind="snapshots", state="queued",
            created_at=cast.NOW, expires_at=cast.NOW,
        )  # fmt: skip

    first = alice.get(f"/hosts/{web1.id}/jobs")
    rest = alice.get(str(first.find("a[rel=next]")["href"]))

    assert len(first.soup.select("#jobs tbody tr")) == 30
    assert [row["id"] for row in rest.soup.select("#jobs tbody tr")] == ["job-01J00000000000000000000000"]
