"""The job page, its log, and what can be done with a job."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from rm.events import EventBus
from rm.services import jobs as service
from rm.store.models import Host, Job, JobLogLine, JobSample
from rm.store.vault import Vault
from rm.web.job_view import JobView
from tests import cast
from tests.cast import EnrolledHost
from tests.web.conftest import Browser

PROGRESS = {
    "percent": 62.3, "files_done": 41208, "files_total": 66030, "bytes_done": 2**30, "bytes_total": 2 * 2**30,
    "bytes_per_second": 2**20, "seconds_elapsed": 60, "seconds_left": 724, "current_files": ["/srv/a\nb"],
    "error_count": 0,
}  # fmt: skip


@pytest.fixture
def job(bus: EventBus, vault: Vault, web1: EnrolledHost) -> Job:
    """A queued backup of web1."""
    group_id = cast.give_repository(bus, vault, web1)
    return service.order(bus, host_id=web1.id, kind="backup", source_group_id=group_id, actor=cast.BOB, now=cast.NOW)


def change(job: Job, **values: Any) -> None:
    Job.update(**values).where(Job.id == job.id).execute()


def start(job: Job, **values: Any) -> None:
    Host.update(connected_at=cast.NOW, last_seen_at=cast.NOW, first_hello_at=cast.NOW).execute()
    change(job, state="running", started_at=cast.NOW, dispatched_at=cast.NOW, **values)


def end(job: Job, outcome: str, **values: Any) -> None:
    change(
        job, state="finished", outcome=outcome, started_at=cast.NOW,
        finished_at=cast.NOW + timedelta(seconds=90), **values,
    )  # fmt: skip


def log_line(job: Job, n: int, text: str = "a line", stream: str = "out") -> None:
    JobLogLine.create(job=job.id, n=n, at=cast.NOW, stream=stream, text=text)


def test_ordering_leads_to_the_job_page(bob: Browser, bus: EventBus, vault: Vault, web1: EnrolledHost) -> None:
    group_id = cast.give_repository(bus, vault, web1)

    answer = bob.post(f"/hosts/{web1.id}/jobs", {"kind": "backup", "source_group_id": group_id})

    assert answer.response.headers["Location"] == f"/jobs/{Job.get().id}"


def test_ordering_twice_leads_to_the_same_job(bob: Browser, job: Job) -> None:
    again = bob.post(f"/hosts/{job.host_id}/jobs", {"kind": "snapshots"})
    twice = bob.post(f"/hosts/{job.host_id}/jobs", {"kind": "snapshots"})

    assert again.response.headers["Location"] == twice.response.headers["Location"]


def test_a_host_without_repository_says_what_is_missing(bob: Browser, web1: EnrolledHost) -> None:
    answer = bob.post(f"/hosts/{web1.id}/jobs", {"kind": "init"})

    assert answer.status == 409
    assert "no repository" in answer.text("#error")


def test_a_queued_job_says_what_it_waits_for_and_until_when(bob: Browser, job: Job) -> None:
    page = bob.get(f"/jobs/{job.id}")

    assert page.text("#job-head .status--badge") == "Queued"
    assert [term.get_text() for term in page.soup.select(".stateline dt")] == [
        "State", "Since", "Deadline", "What happens next",
    ]  # fmt: skip
    assert "Starts as soon as web1 connects" in page.text(".stateline")
    assert page.find("#job-progress").has_attr("hidden")


def test_a_running_job_shows_progress_figures_and_the_current_file(bob: Browser, job: Job) -> None:
    start(job, progress=PROGRESS)
    for second in range(5):
        JobSample.create(job=job.id, elapsed_seconds=second, bytes_done=second * second * 2**20)

    page = bob.get(f"/jobs/{job.id}")

    assert page.text("#gauge-title") == "62 % of 2.0 GiB"
    assert page.find("#job-progress progress")["value"] == "62.3"
    assert "about 12 min 4 s left" in page.text("#job-progress")
    assert "41,208 of 66,030 files" in page.text("#job-progress")
    assert page.text(".current-file bdi") == "/srv/a␊b"
    assert str(page.find(".spark__line")["d"]).startswith("M")


def test_unknown_progress_is_shown_as_unknown(bob: Browser, job: Job) -> None:
    start(job, progress=PROGRESS | {"percent": None, "seconds_left": None, "bytes_total": 0})

    page = bob.get(f"/jobs/{job.id}")

    assert not page.find("#job-progress progress").has_attr("value")
    assert "not known yet" in page.text("#job-progress")


def test_a_job_that_waits_for_a_lock_says_for_whose(bob: Browser, job: Job) -> None:
    start(job, progress={"phase": "waiting", "waits_for": "the exclusive lock 5f2a91c0 of db1, process 4711"})

    page = bob.get(f"/jobs/{job.id}")

    assert page.text("#job-head .status--badge") == "Waits"
    assert "Waits for the exclusive lock 5f2a91c0 of db1, process 4711." in page.text(".stateline")
    assert not page.has("#job-progress progress")
    assert "waits for the exclusive lock 5f2a91c0 of db1" in bob.get(f"/hosts/{job.host_id}").text("#jobs")


def test_a_hook_at_work_is_named(bob: Browser, job: Job) -> None:
    start(job, progress={"phase": "pre_hook", "waits_for": ""})

    assert "The hook before the backup runs" in bob.get(f"/jobs/{job.id}").text(".stateline")


def test_a_run_of_a_schedule_says_when_it_was_due_and_why_it_is_late(bob: Browser, job: Job) -> None:
    late = "ran late because the host was asleep since 2026-11-22 22:10"
    start(job, schedule_id="nightly", due_at=cast.NOW - timedelta(hours=9), why_late=late, attempt=2)

    head = bob.get(f"/jobs/{job.id}").text("#job-head .page__meta")

    assert "by its schedule, due" in head
    assert "try 2" in head
    assert late in head


def test_a_job_whose_host_went_silent_says_that_it_goes_on(bob: Browser, job: Job) -> None:
    start(job, progress=PROGRESS)
    Host.update(connected_at=None).execute()

    page = bob.get(f"/jobs/{job.id}")

    assert "the job goes on there without it" in page.text(".stateline")
    assert page.has(".stateline time[data-relative=left]")


@pytest.mark.parametrize(
    ("outcome", "reason", "message", "expected"),
    [
        ("succeeded", "", "", "Backed up 2.0 GiB; 1.0 MiB of it was new."),
        ("warnings", "some_files_unreadable", "3 files could not be read.", "3 files could not be read."),
        ("failed", "wrong_password", "The password is wrong.", "The password is wrong."),
        ("failed", "no_such_reason", "", "The job failed."),
        ("cancelled", "cancelled", "", "Cancelled by bob."),
        ("lost", "silent", "", "Nobody knows how this job ended."),
    ],
)
def test_the_end_is_one_sentence_with_what_to_do(
    bob: Browser, job: Job, outcome: str, reason: str, message: str, expected: str
) -> None:
    summary = {"total_bytes_processed": 2**31, "data_added": 2**20} if outcome == "succeeded" else {}
    end(job, outcome, reason=reason, message=message, summary=summary, cancel_requested_by="bob")

    page = bob.get(f"/jobs/{job.id}")

    assert page.text("#job-state .verdict__text") == expected
    assert page.has("#job-head form[action$='/again']")


def test_a_wrong_password_leads_to_the_repository_form(bob: Browser, job: Job) -> None:
    end(job, "failed", reason="wrong_password")

    assert bob.get(f"/jobs/{job.id}").find("#job-state a.button")["href"] == f"/repositories/{job.repository_id}/edit"


@pytest.mark.parametrize("summary", [{"data_added": "much"}, {"snapshot_id": 7}, {"files_new": True}, {"x": None}])
def test_a_summary_that_makes_no_sense_breaks_nothing(bob: Browser, job: Job, summary: dict[str, Any]) -> None:
    end(job, "succeeded", summary=summary)

    assert bob.get(f"/jobs/{job.id}").status == 200
    assert bob.get(f"/hosts/{job.host_id}").status == 200


def test_cancelling_a_running_job_is_a_question_then_a_wish(bob: Browser, job: Job) -> None:
    start(job)
    question = bob.get(f"/jobs/{job.id}/cancel")

    answer = bob.post(str(question.find("main form")["action"]))
    page = bob.get(answer.response.headers["Location"])

    assert page.text("#job-head .status--badge") == "Cancelling"
    assert "Asked by bob." in page.text(".stateline")
    assert not page.has("#job-head a.button--danger")


def test_a_job_that_is_over_cannot_be_cancelled(bob: Browser, job: Job) -> None:
    end(job, "succeeded")

    assert bob.get(f"/jobs/{job.id}/cancel").status == 303
    assert bob.post(f"/jobs/{job.id}/cancel").status == 409


def test_running_it_again_orders_the_same(bob: Browser, job: Job) -> None:
    end(job, "failed")

    answer = bob.post(f"/jobs/{job.id}/again")

    again = Job.select().where(Job.state == "queued").get()
    assert answer.response.headers["Location"] == f"/jobs/{again.id}"
    assert again.source_group == job.source_group


def test_running_a_removed_group_again_is_explained(bob: Browser, job: Job) -> None:
    end(job, "failed")
    change(job, source_group="long gone")

    answer = bob.post(f"/jobs/{job.id}/again")

    assert answer.status == 409
    assert "long gone" in answer.text("#error")


def test_the_log_is_shown_by_stream_and_harmlessly(bob: Browser, job: Job) -> None:
    log_line(job, 1, "<script>alert(1)</script>\x1b[31m")
    log_line(job, 2, "Fatal: locked", "err")

    page = bob.get(f"/jobs/{job.id}")

    lines = page.soup.select("#job-log-lines .log__line span")
    assert lines[0].get_text() == "<script>alert(1)</script>␛[31m"
    assert page.text(".log__line--failed span") == "Fatal: locked"
    assert not page.has("#job-log script")


def test_a_long_log_is_shown_from_its_end_and_downloaded_whole(bob: Browser, job: Job) -> None:
    JobLogLine.insert_many(
        [{"job": job.id, "n": n, "at": cast.NOW, "stream": "out", "text": f"line {n}\nx"} for n in range(1, 2502)]
    ).execute()

    page = bob.get(f"/jobs/{job.id}")
    text = bob.client.get(f"/jobs/{job.id}/log.txt")

    assert len(page.soup.select("#job-log-lines .log__line")) == 1000
    assert "Earlier lines" in page.text("#job-log-lines")
    assert text.mimetype == "text/plain"
    assert len(text.text.splitlines()) == 2501
    assert text.text.splitlines()[0].endswith("line 1\\nx")


def test_an_empty_log_says_so(bob: Browser, job: Job) -> None:
    assert "Lines appear here" in bob.get(f"/jobs/{job.id}").text("#job-log")
    end(job, "cancelled")
    assert "wrote no log" in bob.get(f"/jobs/{job.id}").text("#job-log")


def test_a_viewer_may_watch_but_not_touch(charlie: Browser, job: Job) -> None:
    start(job, progress=PROGRESS)

    page = charlie.get(f"/jobs/{job.id}")

    assert page.has("#job-progress progress")
    assert page.soup.select("main form, main .button--danger") == []


# ---- whose log names files in snapshots ----


NAMED = "/srv/secret-wedding.txt"


@pytest.fixture(params=["restore", "diff"])
def naming(request: pytest.FixtureRequest, job: Job) -> Job:
    """An ended job that says which files are in a snapshot wherever it can."""
    change(
        job, kind=request.param, parameters={"snapshot_id": "a" * 64, "paths": [NAMED]},
        command=f"restic restore aaaa --include={NAMED}", progress=PROGRESS | {"current_files": [NAMED]},
    )  # fmt: skip
    log_line(job, 1, f"M {NAMED}")
    end(job, "failed", message=f"{NAMED} is missing.", reason="restore_incomplete")
    return Job.get_by_id(job.id)


def test_a_viewer_reads_nowhere_which_files_a_restore_or_comparison_names(
    charlie: Browser, naming: Job, app: Flask
) -> None:
    page = charlie.get(f"/jobs/{naming.id}")
    refused = charlie.get(f"/jobs/{naming.id}/log.txt").response
    api = [charlie.client.get(f"/api/v1/jobs/{naming.id}{part}") for part in ("", "/log", "/log.txt")]
    lists = [charlie.get(f"/hosts/{naming.host_id}{part}") for part in ("", "/jobs")]
    with app.app_context():
        sent = JobView(app, naming.id, role="viewer", after_n=0).everything(cast.NOW)

    texts = [page.response.text, refused.text, *(one.text for one in api), *(one.response.text for one in lists)]
    texts += [str(one) for one in sent]
    assert [NAMED in text or "secret-wedding" in text for text in texts] == [False] * len(texts)
    assert (refused.status_code, [one.status_code for one in api]) == (403, [200, 403, 403])
    assert "name files in snapshots" in page.find("#job-log").text


def test_an_operator_reads_them(bob: Browser, naming: Job, app: Flask) -> None:
    with app.app_context():
        sent = JobView(app, naming.id, role="operator", after_n=0).everything(cast.NOW)

    assert NAMED in bob.get(f"/jobs/{naming.id}").find("#job-log").text
    assert NAMED in bob.get(f"/jobs/{naming.id}/log.txt").response.text
    assert NAMED in bob.client.get(f"/api/v1/jobs/{naming.id}/log.txt").text
    assert any(NAMED in str(one) for one in sent)


def test_a_viewer_reads_the_log_of_a_backup(charlie: Browser, job: Job) -> None:
    log_line(job, 1, "the backup's own line")

    assert "the backup's own line" in charlie.get(f"/jobs/{job.id}").find("#job-log").text
    assert charlie.get(f"/jobs/{job.id}/log.txt").response.status_code == 200
