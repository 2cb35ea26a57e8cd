"""Reports wait on disk until they are answered; log lines give way first, results never."""

import json
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent import clock
from agent.outbox import Outbox
from rm.shared import ids, protocol
from rm.shared.protocol import JobFinished, JobLog, JobStarted, LogLine, SnapshotsReport
from tests.agent.conftest import ROOT


def batch(job_id: str, first: int, count: int = 20, text: str = "x" * 100) -> JobLog:
    lines = [LogLine(n=n, at=clock.now(), stream="out", text=text) for n in range(first, first + count)]
    return JobLog(job_id=job_id, lines=lines)


def lines_of(outbox: Outbox) -> list[LogLine]:
    found = [protocol.decode(r.frame, protocol.FROM_AGENT) for r in outbox.pending(after=0, limit=100_000)]
    return [line for m in found if m.type == "job.log" for line in m.payload.lines]


def kinds(outbox: Outbox) -> list[str]:
    return [r.type for r in outbox.pending(after=0, limit=100_000)]


def full(outbox: Outbox) -> None:
    """Let SQLite refuse to grow, as on a full disk."""
    pages = outbox._file._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._file._db.execute(f"PRAGMA max_page_count = {pages}")


def roomy(outbox: Outbox) -> None:
    outbox._file._db.execute("PRAGMA max_page_count = 1000000")


def test_reports_keep_their_order_and_their_ids_over_a_restart(tmp_path: Path) -> None:
    job_id = ids.new_ulid()
    first = Outbox(tmp_path / "outbox.db")
    sent = [first.add(JobStarted(job_id=job_id)), first.add(JobFinished(job_id=job_id, outcome="succeeded"))]
    first.close()

    second = Outbox(tmp_path / "outbox.db")

    assert [r.id for r in second.pending(after=0, limit=10)] == sent
    assert second.load()[0] == 2


def test_an_answered_report_is_gone_for_good(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    kept, answered = (outbox.add(JobStarted(job_id=ids.new_ulid())) for _ in range(2))

    outbox.done(answered)
    outbox.done(answered)
    outbox.close()

    assert [r.id for r in Outbox(tmp_path / "outbox.db").pending(after=0, limit=10)] == [kept]


def listing(repository_id: str, *, parts: int = 1) -> list[SnapshotsReport]:
    listing_id = ids.new_ulid()
    return [
        SnapshotsReport(
            repository_id=repository_id, listing_id=listing_id, taken_at=clock.now(), total=0, part=number,
            is_last=number == parts - 1,
        )
        for number in range(parts)
    ]  # fmt: skip


def test_a_list_of_snapshots_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    other = listing("other")
    outbox.add_all(other)
    for _ in range(30):
        outbox.add(JobStarted(job_id=ids.new_ulid()))
        outbox.add_all(newest := listing("r", parts=3))

    found = [protocol.decode(r.frame, protocol.FROM_AGENT) for r in outbox.pending(after=0, limit=1000)]
    lists = [(m.payload.listing_id, m.payload.part) for m in found if m.type == "snapshots.report"]
    assert lists == [(one.listing_id, one.part) for one in (*other, *newest)]
    assert outbox.load() == (34, sum(len(r.frame.encode()) for r in outbox.pending(after=0, limit=1000)))
    outbox.close()
    assert Outbox(tmp_path / "outbox.db").load()[0] == 34


def test_a_list_that_a_full_disk_refuses_takes_the_place_of_the_one_before_when_there_is_room(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.add_all(listing("r"))
    outbox._file._reserve.unlink()
    full(outbox)
    outbox.add_all([batch(ids.new_ulid(), 1, count=500), *listing("r")])
    outbox.add_all(newest := listing("r"))
    roomy(outbox)
    outbox.retry()

    lists = [r.frame for r in outbox.pending(after=0, limit=1000) if r.type == "snapshots.report"]
    assert len(lists) == 1 and newest[0].listing_id in lists[0]


def test_over_the_bound_the_oldest_log_lines_drop_and_one_mark_says_how_many(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_reports=10)
    job_id = ids.new_ulid()
    outbox.add(JobStarted(job_id=job_id))

    for number in range(20):
        outbox.add(batch(job_id, number * 20 + 1))
    outbox.add(JobFinished(job_id=job_id, outcome="succeeded"))

    found = lines_of(outbox)
    assert outbox.load()[0] == 10
    assert (kinds(outbox)[0], kinds(outbox)[-1]) == ("job.started", "job.finished")
    assert (found[0].stream, found[0].n) == ("cut", 1)
    assert found[0].text.startswith(f"{found[1].n - 1} lines were dropped here")
    assert [line.n for line in found[1:]] == list(range(found[1].n, 401))


def test_results_are_kept_even_when_they_alone_exceed_the_bound(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_reports=5)

    for _ in range(12):
        outbox.add(JobFinished(job_id=ids.new_ulid(), outcome="succeeded"))

    assert kinds(outbox) == ["job.finished"] * 12


def test_the_bound_counts_bytes_too(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes=50_000)
    job_id = ids.new_ulid()

    for number in range(100):
        outbox.add(batch(job_id, number * 20 + 1))

    assert outbox.load()[1] <= 50_000
    assert lines_of(outbox)[0].stream == "cut"


def test_on_a_full_disk_log_lines_give_way_and_results_are_kept(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    job_id = ids.new_ulid()
    for number in range(50):
        outbox.add(batch(job_id, number * 20 + 1))
    full(outbox)

    finished = [outbox.add(JobFinished(job_id=ids.new_ulid(), outcome="failed", message="m" * 2000)) for _ in range(60)]

    waiting = [r.id for r in outbox.pending(after=0, limit=100_000)]
    assert [key for key in waiting if key in finished] == finished
    assert lines_of(outbox)[0].stream == "cut"


def test_a_disk_that_stays_full_is_a_problem_and_reports_wait_in_memory(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    full(outbox)

    sent = [outbox.add(JobFinished(job_id=ids.new_ulid(), outcome="failed", message="m" * 2000)) for _ in range(30)]

    assert [r.id for r in outbox.pending(after=0, limit=100)] == sent
    assert "kept in memory" in outbox.problems()[0]
    assert not outbox.is_saved()
    outbox.done(sent[-1])
    roomy(outbox)
    outbox.retry()
    assert (outbox.problems(), outbox.is_saved()) == ([], True)
    outbox.close()
    assert [r.id for r in Outbox(tmp_path / "outbox.db").pending(after=0, limit=100)] == sent[:-1]


def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.outbox.HELD_LOG_BYTES", 30_000)
    outbox = Outbox(tmp_path / "outbox.db")
    full(outbox)
    job_id = ids.new_ulid()
    outbox.add(JobFinished(job_id=ids.new_ulid(), outcome="failed", message="m" * 2000))

    for number in range(60):
        outbox.add(batch(job_id, number * 20 + 1))

    found = lines_of(outbox)
    cuts = [line for line in found if line.stream == "cut"]
    assert sum(int(line.text.split()[0]) for line in cuts) + len(found) - len(cuts) == 1200
    assert outbox.load()[1] < 100_000
    assert "job.finished" in kinds(outbox)


def test_a_real_write_limit_of_the_system_loses_no_result(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from agent.outbox import Outbox
from rm.shared import ids
from rm.shared.protocol import JobFinished
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
outbox = Outbox(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
sent = [outbox.add(JobFinished(job_id=ids.new_ulid(), outcome="failed", message="m" * 2000)) for _ in range(300)]
assert [r.id for r in outbox.pending(after=0, limit=1000)] == sent
assert outbox.problems() and not outbox.is_saved()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
outbox.retry()
assert outbox.is_saved() and not outbox.problems(), outbox.problems()
print(len(outbox.pending(after=0, limit=1000)))
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "outbox.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout.strip()) == (0, "300"), done.stderr


def test_a_damaged_file_is_moved_aside_and_said_so(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"this is not a database, " * 1000)

    outbox = Outbox(tmp_path / "outbox.db")
    outbox.add(JobStarted(job_id=ids.new_ulid()))

    [aside] = tmp_path.glob("outbox.db.corrupt-*")
    assert aside.read_bytes().startswith(b"this is not a database")
    assert aside.name in outbox.problems()[0]
    assert outbox.was_reset


def test_lines_and_the_place_they_end_at_are_stored_together(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    job_id = ids.new_ulid()
    outbox.add(batch(job_id, 1), bookmark=(job_id, "[21, 500, 0]"))

    db = sqlite3.connect(tmp_path / "outbox.db")

    assert db.execute("SELECT count(*) FROM report").fetchone() == (1,)
    assert json.loads(outbox.bookmark(job_id) or "") == [21, 500, 0]
    outbox.forget_bookmark(job_id)
    assert outbox.bookmark(job_id) is None
