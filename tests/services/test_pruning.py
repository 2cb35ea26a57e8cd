"""Old history goes piece by piece; what pages and verdicts speak of stays."""

from datetime import datetime, timedelta

import pytest

from rm.domain import pruning as rules
from rm.errors import Invalid
from rm.services import audit, pruning
from rm.shared.ids import new_ulid
from rm.store import pruning as stored
from rm.store.database import db
from rm.store.models import (
    Alert,
    AuditEntry,
    BackupDay,
    EnrolmentToken,
    GroupVerdict,
    Host,
    Job,
    JobLogLine,
    JobSample,
    Session,
    SkippedRun,
)
from tests import cast
from tests.cast import ALICE, NOW

DAY = timedelta(days=1)


def ended(host, days_ago: float, *, lines: int = 0, kind: str = "check", outcome: str = "succeeded") -> str:
    at = NOW - days_ago * DAY
    job = Job.create(
        id=new_ulid(int(at.timestamp() * 1000)), host=host.id, kind=kind, state="finished", outcome=outcome,
        source_group="files", created_at=at, expires_at=at, started_at=at, finished_at=at,
    )  # fmt: skip
    for n in range(1, lines + 1):
        JobLogLine.create(job=job.id, n=n, at=at, stream="out", text="line")
        JobSample.create(job=job.id, elapsed_seconds=n, bytes_done=n)
    return str(job.id)


def run(**more):
    return pruning.run(now=more.pop("now", NOW), pause=lambda _: None, **more)


@pytest.fixture
def few(monkeypatch):
    """Only the newest job of each host is kept for its page."""
    monkeypatch.setattr(rules, "KEEP_JOBS_PER_HOST", 1)


def test_logs_go_first_and_jobs_stay_longer(web1) -> None:
    old, young = ended(web1, 100, lines=1000), ended(web1, 80, lines=3)

    gone = run()

    assert gone["job_logs"] == 2000
    assert {line.job_id for line in JobLogLine.select()} == {young}
    assert {sample.job_id for sample in JobSample.select()} == {young}
    assert {job.id for job in Job.select()} == {old, young}


def test_a_job_whose_log_was_removed_says_so(web1) -> None:
    from rm.web import job_view

    old, young = Job.get_by_id(ended(web1, 100)), Job.get_by_id(ended(web1, 1))
    assert [job_view.log_values(job, NOW)["days"] for job in (old, young)] == [90, 0]


def test_old_jobs_go_but_not_the_newest_of_their_host(web1, db1, monkeypatch) -> None:
    monkeypatch.setattr(rules, "KEEP_JOBS_PER_HOST", 3)
    jobs = [ended(web1, days) for days in (900, 800, 700, 600, 500)]
    other = ended(db1, 900)

    run()

    assert {job.id for job in Job.select()} == {*jobs[2:], other}


def test_the_last_backup_and_the_last_good_one_of_each_group_stay(bus, web1, few) -> None:
    good = cast.backed_up(bus, web1.id, NOW - 600 * DAY)
    cast.backed_up(bus, web1.id, NOW - 599 * DAY, outcome="failed")
    last = cast.backed_up(bus, web1.id, NOW - 598 * DAY, outcome="failed")
    ended(web1, 1)
    verdict = GroupVerdict.get()

    run()

    kept = {job.id for job in Job.select()}
    assert {good, last} <= kept
    assert len(kept) == 3
    assert (verdict.last_job_id, Host.get_by_id(web1.id).last_backup_id) == (last, last)
    cast.judge(bus, web1.id)
    assert GroupVerdict.get().last_good_at == NOW - 600 * DAY


def test_open_jobs_and_young_ones_are_never_touched(bus, vault, web1, few) -> None:
    Job.create(
        id=new_ulid(1), host=web1.id, kind="backup", state="queued", created_at=NOW - 900 * DAY, expires_at=NOW,
    )  # fmt: skip
    young = [ended(web1, days) for days in (399, 398)]

    run()

    assert Job.select().count() == 3
    assert young


def test_a_round_that_is_over_goes_on_where_it_was(web1, few) -> None:
    for days in range(500, 530):
        ended(web1, days, lines=2)
    progress = pruning.Progress()

    assert sum(run(progress=progress, seconds=-1).values()) == 0
    run(progress=progress)

    assert Job.select().count() == 1
    assert JobLogLine.select().count() == 0


def test_each_piece_is_small_and_a_transaction_of_its_own(web1, monkeypatch) -> None:
    ended(web1, 100, lines=1000)
    sizes, before = [], stored._delete

    def counted(statement, values):
        assert db.transaction_depth() == 1
        sizes.append(before(statement, values))
        return sizes[-1]

    monkeypatch.setattr(stored, "_delete", counted)
    run()

    assert max(sizes) == pruning.LINES


def test_everything_else_has_its_time(bus, web1) -> None:
    def skipped(at: datetime) -> None:
        SkippedRun.create(
            id=new_ulid(int(at.timestamp() * 1000)), host=web1.id, source_group="files", schedule_id="s", due_from=at,
            due_to=at, count=1, reason="asleep", at=at,
        )  # fmt: skip

    def alert(at: datetime, state: str) -> None:
        Alert.create(
            id=new_ulid(), kind="check_failed", severity="critical", state=state, condition=state, message="x",
            first_seen_at=at, last_seen_at=at, resolved_at=at if state == "resolved" else None,
        )  # fmt: skip

    for days in (181, 179):
        skipped(NOW - days * DAY)
    for days, state in ((900, "resolved"), (901, "raised")):
        alert(NOW - days * DAY, state)
    for day in ("2020-01-01", "2026-11-01"):
        BackupDay.create(host=web1.id, day=day)
    for days in (1, -1):
        Session.create(
            token_hash=str(days), user="alice", address="", created_at=NOW, expires_at=NOW + days * DAY
        )  # fmt: skip
    used = EnrolmentToken.select().count()
    EnrolmentToken.create(
        id="unused", token_hash="u", created_by="alice", created_at=NOW - 90 * DAY, expires_at=NOW - 89 * DAY
    )

    run()

    assert [row.due_to for row in SkippedRun.select()] == [NOW - 179 * DAY]
    assert [row.state for row in Alert.select()] == ["raised"]
    assert [row.day for row in BackupDay.select()] == ["2026-11-01"]
    assert [row.token_hash for row in Session.select()] == ["1"]
    assert EnrolmentToken.select().count() == used, "one that let a host in stays"


def test_audit_entries_are_never_among_what_is_removed(web1) -> None:
    audit.record(ALICE, "host.renamed", now=NOW - 5000 * DAY, kind="host", name="web1")
    before = AuditEntry.select().count()

    run()

    assert AuditEntry.select().count() == before
    assert "audit" not in {*rules.BY_NAME, *dict(stored.EXPIRED)}


def test_limits_have_effect_with_the_next_round_and_are_recorded(bus, web1) -> None:
    ended(web1, 50, lines=1)
    run()
    assert JobLogLine.select().count() == 1

    pruning.save_limits(bus, wanted=pruning.limits() | {"job_logs": 40}, actor=ALICE, now=NOW)
    run()

    assert JobLogLine.select().count() == 0
    entry = AuditEntry.get(AuditEntry.action == "settings.changed")
    assert (entry.payload["before"]["job_logs"], entry.payload["after"]["job_logs"]) == (90, 40)
    with pytest.raises(Invalid):
        pruning.save_limits(bus, wanted={"jobs": 3}, actor=ALICE, now=NOW)


def test_two_rounds_never_run_beside_each_other(web1) -> None:
    progress = pruning.Progress()
    with progress.lock:
        assert run(progress=progress) == {}
