"""Every text that an agent can send, filled with what would run in a careless page, query or template."""

import pytest

from rm.services import enrolments, jobs
from rm.shared import instants
from rm.shared.ids import new_ulid
from rm.shared.protocol import (
    BrowseResult,
    Heartbeat,
    JobFinished,
    JobLog,
    JobProgress,
    JobStarted,
    LogLine,
    RepositoryStats,
    ScheduleAck,
    Snapshot,
    SnapshotsReport,
)
from rm.store.database import db
from rm.store.models import Host, Job, Repository
from rm.web import fragments
from rm.web.fragments import Fragment
from tests import cast
from tests.cast import ALICE, BOB, NOW

AT = instants.to_text(NOW)
PAYLOADS = {
    "element": '"><script id="pwned">window.pwned=1</script>',
    "attribute": '" id="pwned" onmouseover="pwned()" x="',
    "image": "<img id=pwned src=x onerror=pwned()>",
    "htmx": '<hx-partial id="pwned" hx-target="body" hx-swap="innerHTML">gone</hx-partial>',
    "template": "{{7*191}}${7*191}#{7*191}<%= 7*191 %>{% for x in y %}",
    "sql": "'; DROP TABLE hosts; -- \" OR 1=1",
    "stream": "x\n\nevent: pwned\ndata: <b id=pwned>",
    "direction": "\u202e\u2066gpj.exe\u2069\u200f",
    "control": "\x1b[2J\x07\x08\r\x00bell",
    "half": "\ud83d half a character \udc80",
}


@pytest.fixture
def group(bus, vault, web1):
    return cast.give_repository(bus, vault, web1)


@pytest.fixture(params=PAYLOADS.values(), ids=PAYLOADS.keys())
def evil(request):
    return request.param


@pytest.fixture
def everything_sent(connect, bus, web1, group, evil):
    """A session in which each text of each message is the payload; returns the job it was about."""
    short = evil[:30]
    order = jobs.order(bus, host_id=web1.id, kind="backup", source_group_id=group, actor=BOB, now=NOW)
    ws = connect(
        web1,
        hostname=evil,
        agent_version=evil[:60],
        restic_version=evil[:60],
        guard_version=evil[:60],
        restic_features=[evil[:60]],
        os=short,
        os_name=evil,
        arch=short,
        init=short,
        boot_id=evil[:60],
        timezone=evil[:60],
        machine_id=evil,
        problems=[evil],
    )
    repository = Repository.get().id
    line = LogLine(n=1, at=AT, stream="err", text=evil)
    snapshot = Snapshot(id=evil[:60], time=AT, hostname=evil, username=evil, paths=[evil], tags=[evil])
    beat = Heartbeat(sent_at=AT, problems=[evil])
    for report in (
        beat,
        ScheduleAck(config_version=1, problem=evil),
        JobStarted(job_id=order.id, command=evil),
        JobProgress(job_id=order.id, percent=5, current_files=[evil]),
        JobLog(job_id=order.id, lines=[line]),
        RepositoryStats(repository_id=repository, restic_repository_id=evil[:60]),
        SnapshotsReport(repository_id=repository, listing_id=new_ulid(), taken_at=AT, total=1, items=[snapshot]),
        BrowseResult(request_id=new_ulid(), ok=True, message=evil),
        JobFinished(
            job_id=order.id,
            outcome="failed",
            reason=evil[:60],
            message=evil,
            summary={"snapshot_id": evil, evil: evil, "files_new": evil, "data_added": [evil]},
        ),
    ):
        ws.say(report)
    ws.wait_for("ack", id=ws.say(Heartbeat(sent_at=AT, problems=[evil])))
    assert ws.closed_with is None
    return order


def pages(host_id, job_id):
    return (
        "/",
        "/?q=gone",
        f"/hosts/{host_id}",
        f"/hosts/{host_id}/jobs",
        f"/hosts/{host_id}/snapshots",
        f"/hosts/{host_id}/settings",
        f"/jobs/{job_id}",
        "/audit",
        "/alerts",
        "/repositories",
        f"/repositories/{Repository.get().id}",
        "/pending-hosts",
    )


def test_every_page_shows_it_as_text(everything_sent, alice, web1):
    job = Job.get_by_id(everything_sent.id)
    assert job.state == "finished"

    for path in pages(web1.id, job.id):
        page = alice.get(path)

        assert page.status == 200, path
        assert not page.has("#pwned"), path
        assert not page.has("[onmouseover], [onerror], script:not([src])"), path
        assert "1337" not in page.text(), path
        assert "\x00" not in page.response.text, path


def test_the_database_stands_and_the_api_answers(everything_sent, alice, web1):
    assert Host.select().count() == 1
    assert db.execute_sql("PRAGMA integrity_check").fetchone() == ("ok",)
    for path in ("/api/v1/hosts", f"/api/v1/hosts/{web1.id}", f"/api/v1/jobs/{everything_sent.id}"):
        assert alice.get(path).status == 200


def test_a_downloaded_log_is_plain_text_with_a_line_a_line(everything_sent, alice):
    answer = alice.get(f"/jobs/{everything_sent.id}/log.txt").response

    assert answer.mimetype == "text/plain"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_live_news_stay_one_message(evil):
    text = fragments.message([Fragment(target="#x", html=f"<p>{evil}</p>".replace("\x00", ""))])

    assert text.count("\n\n") == 1
    assert all(line.startswith("data: ") for line in text.strip().split("\n"))


@pytest.mark.parametrize("field", ["hostname", "os", "arch", "agent_version", "machine_id"])
def test_an_applicant_with_such_a_name_is_shown_as_text_or_refused(client, bus, alice, evil, field):
    _, token = enrolments.mint_token(bus, actor=ALICE, now=NOW)
    body = {"hostname": "h", "os": "linux", "arch": "amd64", "agent_version": "1", "agent_seq": 1, "machine_id": "m"}

    answer = client.post("/agent/enroll", json=body | {"token": token, field: evil[:30]})

    assert answer.status_code in (201, 422)
    page = alice.get("/")
    assert page.status == 200
    assert not page.has("#pwned")


@pytest.mark.parametrize("path", ["/jobs/{}/log.txt", "/hosts/{}", "/agent/artifact/{}", "/static/{}", "/live/jobs/{}"])
@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%00", "....//....//etc/passwd"]
)
def test_no_address_leads_out_of_the_house(alice, path, name):
    answer = alice.get(path.format(name)).response

    assert answer.status_code in (400, 401, 404, 405)
    assert b"root:" not in answer.data
