"""The account finds each way in which a result could get lost or counted twice."""

import sqlite3

import pytest

from bench import seed
from soak.truth import Journal, KnownJob, compare

OUTCOME, LINES = "succeeded", 3


@pytest.fixture
def place(tmp_path):
    """A database in which one job of one host has ended as the host says, and what the host knows of it."""
    [host] = seed.seed(tmp_path / "data", hosts=1, job_state="running")
    file = tmp_path / "data" / "restic-manager.db"
    job = KnownJob(host.job_id, host.host_id, OUTCOME, LINES, started=True, lines_kept=LINES, finished=True)
    change(file, "UPDATE jobs SET state = 'finished', outcome = ?, finished_at = created_at", OUTCOME)
    change(file, "INSERT INTO backup_days (host_id, day, succeeded) VALUES (?, '2026-01-01', 1)", host.host_id)
    for number in range(1, LINES + 1):
        change(
            file, "INSERT INTO job_log_lines VALUES (?, ?, '2026-01-01', 'out', ?)", job.job_id, number,
            job.text(number),
        )  # fmt: skip
    return file, job


def change(file, statement, *values):
    with sqlite3.connect(file) as database:
        database.execute(statement, values)


def test_what_is_as_it_was_reported_is_neither_lost_nor_doubled(place):
    file, job = place

    account = compare(file, [job])

    assert (account.reported, account.lines, account.lost, account.doubled) == (1, LINES, [], [])


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM jobs",
        "UPDATE jobs SET outcome = 'lost'",
        "UPDATE jobs SET state = 'running', outcome = NULL, finished_at = NULL",
        "DELETE FROM job_log_lines WHERE n = 2",
        "UPDATE job_log_lines SET text = 'another' WHERE n = 3",
    ],
)
def test_each_loss_is_found(place, loss):
    file, job = place
    change(file, loss)

    assert compare(file, [job]).lost


@pytest.mark.parametrize(
    "double",
    [
        "UPDATE backup_days SET succeeded = 2",
        "INSERT INTO job_log_lines SELECT job_id, 4, at, stream, text FROM job_log_lines WHERE n = 3",
        "INSERT INTO jobs (id, host_id, kind, state, outcome, created_at, expires_at, finished_at, due_at, schedule_id)"
        " SELECT 'x' || n, host_id, 'backup', 'finished', 'succeeded', created_at, expires_at, created_at, '2026', 's'"
        " FROM jobs, (SELECT 1 AS n UNION SELECT 2)",
    ],
)
def test_each_double_is_found(place, double):
    file, job = place
    change(file, double)

    assert compare(file, [job]).doubled


def test_lines_that_were_kept_and_not_acknowledged_are_no_loss(place):
    file, job = place
    job.lines_kept = 1

    account = compare(file, [job])

    assert not account.lost and not account.doubled


def test_a_journal_goes_on_after_a_kill_in_the_middle_of_a_line(tmp_path):
    file = tmp_path / "journal"
    journal = Journal(file)
    journal.note(what="job", job_id="a", host_id="h", outcome=OUTCOME, lines=9)
    journal.note(what="started", job_id="a")
    journal.note(what="lines", job_id="a", to=5)
    journal.close()
    with file.open("ab") as cut:
        cut.write(b'{"what": "finis')

    again = Journal(file)
    again.note(what="release", host_id="h", release={"agent_seq": 2})
    again.close()

    found = Journal(file)
    assert found.jobs == {"a": KnownJob("a", "h", OUTCOME, 9, started=True, lines_kept=5)}
    assert found.releases == {"h": {"agent_seq": 2}}
    found.close()
