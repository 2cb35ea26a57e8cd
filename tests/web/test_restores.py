"""The pages of a restore, from what is picked to the job that does it."""

from datetime import timedelta

import pytest

from rm.events import EventBus
from rm.runtime import Runtime
from rm.services import jobs, repository_hosts
from rm.shared.protocol import JobFinished, JobStarted
from rm.store.models import AuditEntry, Host, Job, RestorePick, Snapshot
from rm.store.vault import Vault
from tests import cast, snapshots
from tests.cast import EnrolledHost
from tests.snapshots import ID, SnapshotAgents
from tests.web.conftest import Browser, Page

DIRECTORY = "/var/lib/rm-agent/restore"


@pytest.fixture
def repository_id(bus: EventBus, vault: Vault, web1: EnrolledHost) -> str:
    cast.give_repository(bus, vault, web1)
    found = str(cast.host_row(web1).repository_id)
    snapshots.able(web1.id, restic_version="0.18.0")
    snapshots.add(found, host_id=web1.id)
    return found


@pytest.fixture
def agents(parts: Runtime, repository_id: str, web1: EnrolledHost) -> SnapshotAgents:
    Host.update(connected_at=cast.NOW, last_seen_at=cast.NOW).execute()
    parts.agents = SnapshotAgents(web1.id)
    return parts.agents


@pytest.fixture
def shared(bus: EventBus, repository_id: str, db1: EnrolledHost) -> EnrolledHost:
    repository_hosts.use_existing(bus, host_id=db1.id, repository_id=repository_id, actor=cast.ALICE, now=cast.NOW)
    snapshots.able(db1.id)
    return db1


@pytest.fixture
def base(agents: SnapshotAgents, web1: EnrolledHost) -> str:
    return f"/hosts/{web1.id}/snapshots/{ID}"


def pick(browser: Browser, base: str, *values: str, folder: str = "/etc") -> None:
    for value in values:
        browser.post(f"{base}/picks", {"in": folder, "pick": value, "shown": value})


def send(browser: Browser, review: Page, **more: str) -> Page:
    """Press the button under the review."""
    form = review.find("#order-form")
    values = {str(field["name"]): str(field["value"]) for field in form.select("input[type=hidden]")}
    return browser.post(str(form["action"]), values | more)


def test_a_restore_goes_from_picks_by_a_review_to_a_job(bob: Browser, base: str, web1: EnrolledHost) -> None:
    pick(bob, base, "fhosts", "dssl")
    where = bob.get(f"{base}/restore")
    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&target=")

    answer = send(bob, review)

    job = Job.get(Job.kind == "restore")
    assert where.find("input[name=on][checked]")["value"] == web1.id
    assert answer.response.headers["Location"] == f"/jobs/{job.id}"
    assert (job.host_id, job.state) == (web1.id, "queued")
    assert job.parameters == {
        "snapshot_id": ID, "paths": ["/etc/hosts", "/etc/ssl"], "target": "", "in_place": False
    }  # fmt: skip
    assert RestorePick.select().count() == 0


def test_the_review_shows_the_exact_command_and_how_to_do_without_this_server(
    bob: Browser, base: str, web1: EnrolledHost
) -> None:
    pick(bob, base, "fhosts", "dssl")

    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&target=monday")

    location = "restic -r rest:http://127.0.0.1:8000/repo"
    assert review.text("#restore-command") == (
        f"{location} restore {ID} --target {DIRECTORY}/monday --overwrite=never --sparse"
        " --include /etc/hosts --include /etc/ssl"
    )
    assert review.text("#dump-command-1") == f"{location} dump {ID[:8]} /etc/hosts > hosts"
    assert review.text("#dump-command-2") == f"{location} dump --archive tar {ID[:8]} /etc/ssl > ssl.tar"


def test_how_much_it_is_is_asked_of_the_host_and_shown_beside(bob: Browser, base: str, web1: EnrolledHost) -> None:
    pick(bob, base, "fhosts")
    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder")

    size = bob.get(str(review.find("#restore-size")["hx-get"]))

    assert size.text("#restore-size") == "4.0 KiB in 3 files"


def test_how_much_it_is_may_stay_unknown(bob: Browser, base: str, agents: SnapshotAgents, web1: EnrolledHost) -> None:
    agents.connected = set()

    page = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&all=yes&count=yes")

    assert page.text("#restore-size").startswith("not known: No host")


def test_nothing_picked_leads_back_and_everything_is_asked_for_by_name(
    bob: Browser, base: str, web1: EnrolledHost
) -> None:
    nothing = bob.get(f"{base}/restore")
    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&all=yes")
    send(bob, review)

    assert nothing.response.headers["Location"] == base
    assert "Everything in it" in review.text("dl.facts")
    assert Job.get(Job.kind == "restore").parameters["paths"] == []


def test_a_folder_brings_what_is_in_it_so_that_is_not_named_twice(bob: Browser, base: str, web1: EnrolledHost) -> None:
    pick(bob, base, "fhosts")
    pick(bob, base, "detc", folder="/")

    send(bob, bob.get(f"{base}/restore/review?on={web1.id}&place=folder"))

    assert Job.get(Job.kind == "restore").parameters["paths"] == ["/etc"]


def test_a_selection_that_changed_after_the_review_is_shown_again_and_not_restored(
    bob: Browser, base: str, web1: EnrolledHost
) -> None:
    pick(bob, base, "fhosts")
    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder")
    pick(bob, base, "dssl")

    answer = send(bob, review)

    assert answer.status == 422
    assert "Look at it once more" in answer.text("[role=alert]")
    assert Job.select().where(Job.kind == "restore").count() == 0


def test_in_place_wants_a_host_that_allows_it_an_administrator_and_its_name(
    alice: Browser, bob: Browser, base: str, web1: EnrolledHost
) -> None:
    path = f"{base}/restore/review?on={web1.id}&place=in_place&all=yes"
    refused_by_host = alice.get(path)
    snapshots.able(web1.id, allows_restore_in_place=True)
    refused_to_bob = bob.get(path)
    review = alice.get(path)
    unnamed = send(alice, review, typed_name="web2")
    named = send(alice, unnamed, typed_name="web1")

    assert (refused_by_host.status, refused_to_bob.status, unnamed.status) == (409, 403, 422)
    assert "does not allow restores in place" in refused_by_host.text("[role=alert]")
    assert unnamed.has("#typed_name-error")
    job = Job.get(Job.kind == "restore")
    assert named.response.headers["Location"] == f"/jobs/{job.id}"
    assert job.parameters["in_place"] is True
    assert "--target / --overwrite=always" in review.text("#restore-command") or "--target /" in review.text(
        "#restore-command"
    )


def test_in_place_is_not_offered_to_who_may_not_or_where_no_host_allows_it(
    alice: Browser, bob: Browser, base: str, web1: EnrolledHost
) -> None:
    pick(bob, base, "fhosts")
    pick(alice, base, "fhosts")
    closed = alice.get(f"{base}/restore")
    snapshots.able(web1.id, allows_restore_in_place=True)

    assert not closed.has("input[value=in_place]")
    assert not bob.get(f"{base}/restore").has("input[value=in_place]")
    assert alice.get(f"{base}/restore").has("input[value=in_place]")


@pytest.mark.parametrize("target", ["/etc", "/var/lib/rm-agent/restore", "../up", "/var/lib/rm-agent/restore/../x"])
def test_a_target_outside_of_the_restore_directory_is_refused_beside_its_field(
    bob: Browser, base: str, web1: EnrolledHost, target: str
) -> None:
    answer = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&all=yes&target={target}")

    assert answer.status == 422
    assert answer.has("#target-error")


def test_another_host_of_the_repository_can_be_the_target_and_one_of_another_cannot(
    bob: Browser, bus: EventBus, vault: Vault, base: str, shared: EnrolledHost
) -> None:
    other = cast.add_host(bus, "mail1")
    cast.give_repository(bus, vault, other)
    snapshots.able(other.id)
    where = bob.get(f"{base}/restore?all=yes")

    foreign = bob.get(f"{base}/restore/review?on={other.id}&place=folder&all=yes")
    review = bob.get(f"{base}/restore/review?on={shared.id}&place=folder&all=yes")
    send(bob, review)

    assert {box["value"] for box in where.soup.select("input[name=on]")} >= {shared.id}
    assert other.id not in {box["value"] for box in where.soup.select("input[name=on]")}
    assert foreign.status == 404
    assert "The snapshot is of web1" in review.text("ul.list")
    assert Job.get(Job.kind == "restore").host_id == shared.id


def test_a_host_that_is_away_gets_its_restore_when_it_is_back_or_not_at_all(
    bob: Browser, agents: SnapshotAgents, base: str, web1: EnrolledHost
) -> None:
    agents.connected = set()
    Host.update(connected_at=None).execute()

    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&all=yes")
    page = bob.get(send(bob, review).response.headers["Location"])

    assert "given up after 24 hours" in review.text("ul.list")
    assert review.text("#order-form button") == "Queue the restore"
    assert "Starts as soon as web1 connects" in page.text("#job-state")
    assert Job.get(Job.kind == "restore").expires_at == cast.NOW + timedelta(hours=24)


def test_an_agent_that_cannot_restore_is_shown_and_not_chosen(bob: Browser, base: str, web1: EnrolledHost) -> None:
    snapshots.able(web1.id, features=["browse"])

    where = bob.get(f"{base}/restore?all=yes")
    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&all=yes")

    assert where.has("input[name=on][disabled]")
    assert "update it first" in where.text("#where-form")
    assert review.status == 409
    assert "Update the agent first." in review.text("[role=alert]")


def test_a_snapshot_that_is_gone_meanwhile_cannot_be_ordered(bob: Browser, base: str, web1: EnrolledHost) -> None:
    review = bob.get(f"{base}/restore/review?on={web1.id}&place=folder&all=yes")
    Snapshot.delete().execute()

    assert send(bob, review).status == 404
    assert Job.select().where(Job.kind == "restore").count() == 0


def test_a_viewer_may_not_restore(charlie: Browser, base: str) -> None:
    for path in ("/restore", "/restore/review"):
        assert charlie.get(f"{base}{path}?all=yes").status == 403
    assert charlie.post(f"{base}/restore", {"all": "yes"}).status == 403
    assert charlie.post(f"{base}/picks", {"pick": "f/x"}).status == 403


def test_the_audit_says_who_restored_what_to_where(bob: Browser, base: str, web1: EnrolledHost) -> None:
    pick(bob, base, "fhosts")
    send(bob, bob.get(f"{base}/restore/review?on={web1.id}&place=folder"))

    entry = AuditEntry.get(AuditEntry.action == "restore.ordered")
    assert (entry.actor_name, entry.target_name, entry.payload["paths"]) == ("bob", "web1", ["/etc/hosts"])


def test_the_jobs_page_says_where_the_files_are_what_was_checked_and_what_next(
    bob: Browser, bus: EventBus, base: str, web1: EnrolledHost
) -> None:
    pick(bob, base, "fhosts")
    path = send(bob, bob.get(f"{base}/restore/review?on={web1.id}&place=folder")).response.headers["Location"]
    job = Job.get(Job.kind == "restore")
    target = f"{DIRECTORY}/{job.id}"
    jobs.next_orders(host_id=web1.id, now=cast.NOW, bus=bus)
    jobs.started(bus, host_id=web1.id, report=JobStarted(job_id=job.id, command="restic restore …"), now=cast.NOW)
    running = bob.get(path)
    summary = {
        "target": target, "restored_files": 1, "restored_bytes": 2048, "checked_files": 1, "checked_bytes": 2048,
        "mismatches": 0,
    }  # fmt: skip
    report = JobFinished(job_id=job.id, outcome="succeeded", exit_code=0, summary=summary)
    jobs.finished(bus, host_id=web1.id, report=report, now=cast.NOW)
    done = bob.get(path)

    assert "the sizes of the restored files are compared" in running.text("#job-state")
    assert done.text("#job-head h1 span") == f"Restore of 1 file or folder from {ID[:8]}"
    assert target in done.text("#job-restore")
    assert "the sizes of 1 file are those of the snapshot" in done.text("#job-restore")
    assert "Copy them to where they belong" in done.text("#job-restore")
    assert "Checked 2.0 KiB 1 file" in done.text("#job-progress")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [("snapshot_gone", "choose one that is still there"), ("target_full", "Free some space there"),
     ("target_not_empty", "Choose another folder"), ("restore_mismatch", "Restore these again")],
)  # fmt: skip
def test_a_restore_that_failed_says_what_to_do(
    bob: Browser, bus: EventBus, base: str, web1: EnrolledHost, reason: str, advice: str
) -> None:
    path = send(
        bob, bob.get(f"{base}/restore/review?on={web1.id}&place=folder&all=yes")
    ).response.headers["Location"]  # fmt: skip
    report = JobFinished(job_id=Job.get(Job.kind == "restore").id, outcome="failed", reason=reason, message="No.")
    jobs.finished(bus, host_id=web1.id, report=report, now=cast.NOW)

    assert advice in bob.get(path).text("#job-state")


def test_a_comparisons_page_has_the_figures_and_how_to_read_the_log(
    bob: Browser, bus: EventBus, base: str, web1: EnrolledHost
) -> None:
    answer = bob.client.post(
        f"/hosts/{web1.id}/diffs", data={"snapshot": [ID, snapshots.OLDER_ID]},
        headers={"Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    job = Job.get(Job.kind == "diff")
    summary = {"files_new": 3, "files_removed": 1, "files_changed": 2, "added_bytes": 4096, "removed_bytes": 0}
    report = JobFinished(job_id=job.id, outcome="succeeded", exit_code=0, summary=summary)
    jobs.finished(bus, host_id=web1.id, report=report, now=cast.NOW)

    page = bob.get(answer.headers["Location"])

    assert "3 files new, 1 removed, 2 changed." in page.text("#job-state")
    assert "New files 3 4.0 KiB only in the newer snapshot" in page.text("#job-progress")
    assert "+ is new, - is removed" in page.text("#job-restore")
