"""/metrics: who may read it, and what it says."""

import dataclasses
import ipaddress
import threading
from datetime import timedelta

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from rm.api.metrics import exporter, lines
from rm.domain.figures import FIGURES, PREFIX, PROCESS_PREFIXES
from rm.domain.limits import SCRAPE_PER_ADDRESS
from rm.services import alerts, hosts, job_reports, jobs, metrics_access, updates
from rm.shared.ids import new_ulid
from rm.shared.protocol import JobFinished, JobStarted
from rm.store.database import changes, db
from rm.store.models import (
    Channel,
    Delivery,
    Host,
    Job,
    Repository,
    ServerBackup,
    SourceGroup,
)
from tests.cast import ALICE, BOB, NOW, backed_up, give_repository, judge, nightly
from tests.updating import MINUTE, SECOND, at_target, ends, give_release, reports, says_hello, takes_orders

HOUR = timedelta(hours=1)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def open_to(parts):
    """open_to(token=…, cidr=…) sets who may read the metrics; each scrape reads anew."""
    parts.scrapes.fresh_seconds = 0

    def open_to(token="", cidr=()):
        networks = tuple(ipaddress.ip_network(one) for one in cidr)
        parts.settings = dataclasses.replace(parts.settings, metrics_token=token, metrics_trusted_cidr=networks)

    return open_to


def read(client, token=None, **headers):
    return client.get("/metrics", headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}))


def families(client):
    return list(text_string_to_metric_families(read(client, "s3cret").text))


def figures(client):
    """{(name, *label values in the order of their names): value}"""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families(client)
        for sample in family.samples
    }


# ---- who may read ----


def test_there_are_no_metrics_until_somebody_may_read_them(client, alice):
    assert (read(client).status_code, read(alice).status_code) == (404, 404)


@pytest.mark.parametrize(
    ("token", "cidr", "given", "status"),
    [
        ("s3cret", (), "s3cret", 200),
        ("s3cret", (), "s3cre", 401),
        ("s3cret", (), "ünïcode", 401),
        ("s3cret", (), None, 401),
        ("", ("127.0.0.0/8",), None, 200),
        ("", ("192.0.2.0/24",), None, 403),
        ("s3cret", ("127.0.0.0/8",), "s3cret", 200),
        ("s3cret", ("127.0.0.0/8",), None, 401),
        ("s3cret", ("192.0.2.0/24",), "s3cret", 403),
    ],
)
def test_token_and_network_are_asked_for_as_they_are_set(client, open_to, token, cidr, given, status):
    open_to(token, cidr)

    headers = {"Authorization": f"Bearer {given}".encode().decode("latin-1")} if given else {}

    assert client.get("/metrics", headers=headers).status_code == status


def test_a_token_made_at_run_time_opens_at_once_and_ends_at_once(client, open_to):
    first = metrics_access.make_token(actor=ALICE, now=NOW)
    assert read(client, first).status_code == 200

    second = metrics_access.make_token(actor=ALICE, now=NOW)
    assert (read(client, first).status_code, read(client, second).status_code) == (401, 200)

    metrics_access.end_token(actor=ALICE, now=NOW)
    assert read(client, second).status_code == 404


def test_the_fixed_token_and_the_made_one_are_both_good(client, open_to):
    open_to("s3cret")
    made = metrics_access.make_token(actor=ALICE, now=NOW)

    assert [read(client, token).status_code for token in ("s3cret", made, "neither")] == [200, 200, 401]


def test_a_made_token_is_asked_for_besides_the_network(client, open_to):
    open_to(cidr=("127.0.0.0/8",))
    made = metrics_access.make_token(actor=ALICE, now=NOW)

    assert [read(client, token).status_code for token in (None, made)] == [401, 200]


def test_guessing_tokens_ends_with_429_and_a_request_without_one_is_no_guess(client, open_to):
    open_to("s3cret")
    for _ in range(SCRAPE_PER_ADDRESS.count + 1):
        assert read(client).status_code == 401
    for _ in range(SCRAPE_PER_ADDRESS.count):
        assert read(client, "guess").status_code == 401

    assert read(client, "guess").status_code == 429


# ---- what it says ----


def test_the_last_success_of_each_group_is_told_and_0_where_there_is_none(client, open_to, bus, web1, db1):
    open_to("s3cret")
    nightly(bus, web1, since=NOW - 10 * HOUR)
    nightly(bus, db1, since=NOW - 100 * HOUR)
    backed_up(bus, web1.id, NOW - HOUR)
    judge(bus)

    found = figures(client)

    one, other = ("files", "web1", web1.id), ("files", "db1", db1.id)
    assert found[("restic_manager_backup_last_success_timestamp_seconds", *one)] == (NOW - HOUR).timestamp()
    assert found[("restic_manager_backup_last_success_timestamp_seconds", *other)] == 0
    assert (found[("restic_manager_backup_protected", *one)], found[("restic_manager_backup_protected", *other)]) == (
        1,
        0,
    )
    assert (found[("restic_manager_backup_late", *one)], found[("restic_manager_backup_late", *other)]) == (0, 1)
    assert found[("restic_manager_backup_status", *one, "ok")] == 1
    assert found[("restic_manager_backup_status", *other, "missed")] == 1
    assert found["restic_manager_source_groups", "ok"] == found["restic_manager_source_groups", "missed"] == 1
    assert found["restic_manager_protected_hosts",] == 1
    assert found[("restic_manager_backup_last_duration_seconds", *one)] == 0


def test_a_group_turns_late_by_time_alone(client, open_to, bus, clock, web1):
    open_to("s3cret")
    nightly(bus, web1)
    backed_up(bus, web1.id, NOW)
    name = ("restic_manager_backup_late", "files", "web1", web1.id)
    assert figures(client)[name] == 0

    clock.now = NOW + 100 * HOUR

    assert figures(client)[name] == 1


def test_when_the_next_run_is_due_is_told_if_the_agent_says_so(client, open_to, bus, web1):
    open_to("s3cret")
    group = nightly(bus, web1)
    name = ("restic_manager_backup_next_due_timestamp_seconds", "files", "web1", web1.id)
    assert name not in figures(client)

    db.execute_sql("UPDATE group_verdicts SET next_at = '2026-11-24T03:15:00.000000Z' WHERE group_id = ?", (group,))

    assert figures(client)[name] == (NOW + timedelta(hours=15, minutes=15)).timestamp()


def test_hosts_are_counted_by_status_and_revoked_ones_have_no_series(client, open_to, bus, web1, db1):
    open_to("s3cret")
    nightly(bus, web1)
    nightly(bus, db1)
    hosts.revoke_credential(bus, host_id=db1.id, actor=ALICE, now=NOW)

    found = figures(client)

    name = "restic_manager_hosts"
    counts = {word: found[name, word] for word in ("online", "offline", "waiting", "revoked")}
    assert counts == {"online": 1, "offline": 0, "waiting": 0, "revoked": 1}
    assert found["restic_manager_host_connected", "web1", web1.id] == 1
    assert [key for key in found if db1.id in key] == []


def test_a_host_that_fell_silent_is_not_connected(client, open_to, bus, clock, web1):
    open_to("s3cret")
    nightly(bus, web1)

    clock.now = NOW + 2 * MINUTE

    assert figures(client)["restic_manager_host_connected", "web1", web1.id] == 0
    assert figures(client)["restic_manager_host_last_seen_timestamp_seconds", "web1", web1.id] == NOW.timestamp()


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_what_a_host_calls_itself_cannot_break_out_of_its_label(client, open_to, bus, web1, accept):
    open_to("s3cret")
    name = 'a"} 1\nrestic_manager_forged{x="\\'
    Host.update(name=name, agent_version='1"\n\\', os='l"x', arch="a\nb").where(Host.id == web1.id).execute()
    SourceGroup.create(id=new_ulid(), host=web1.id, name=name, includes=["/"], created_at=NOW, changed_at=NOW)

    answer = read(client, "s3cret", Accept=accept)
    parse = openmetrics_families if accept else text_string_to_metric_families
    samples = [sample for family in parse(answer.text) for sample in family.samples]

    assert {sample.labels["host"] for sample in samples if "host" in sample.labels} == {name}
    assert {sample.labels["group"] for sample in samples if "group" in sample.labels} == {name}
    assert "forged" not in " ".join(sample.name for sample in samples)


def test_lines_written_at_once_are_those_that_prometheus_client_writes(client, open_to, bus, web1):
    host = 'we"b\n\\1'
    quick = lines.Lines("host_connected")
    quick.add(lines.labelled(host_id=web1.id, host=host), 1)
    slow = lines.gauge("host_connected")
    slow.add_metric((host, web1.id), 1)

    assert (
        b"".join(quick.written()).decode().splitlines()[:2]
        == lines.encoded(slow, generate_latest)[0].decode().splitlines()[:2]
    )
    assert [family.samples for family in text_string_to_metric_families(b"".join(quick.written()).decode())] == [
        family.samples for family in text_string_to_metric_families(lines.encoded(slow, generate_latest)[0].decode())
    ]


def test_openmetrics_is_spoken_to_who_asks_for_it(client, open_to, bus, web1):
    open_to("s3cret")
    nightly(bus, web1)
    _ends(bus, web1, "succeeded", seconds=30)

    answer = read(client, "s3cret", Accept=OPENMETRICS)

    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n") and answer.text.count("# EOF") == 1
    names = {family.name for family in openmetrics_families(answer.text)}
    assert {"restic_manager_jobs", "restic_manager_job_duration_seconds", "restic_manager_host_info"} <= names


def test_every_figure_is_listed_and_every_listed_one_has_its_kind(client, open_to, bus, web1):
    open_to("s3cret")

    found = families(client)

    ours = [family for family in found if family.name.startswith(PREFIX)]
    listed = {figure.family: figure for figure in FIGURES.values()}
    assert [f.name for f in found if f not in ours and not f.name.startswith(PROCESS_PREFIXES)] == []
    assert [family.name for family in ours if family.name not in listed] == []
    assert [family.name for family in ours if family.type != listed[family.name].kind] == []
    assert [family.name for family in ours if family.documentation != listed[family.name].help] == []


def test_the_process_and_its_files_are_told(client, open_to, parts):
    open_to("s3cret")

    found = figures(client)

    assert found["process_resident_memory_bytes",] > 0 and found["process_open_fds",] > 0
    assert any(name[0] == "python_info" for name in found)
    assert found["restic_manager_database_size_bytes",] == parts.settings.database_file.stat().st_size
    assert found["restic_manager_data_directory_free_bytes",] > 0
    assert found["restic_manager_writer_waiting_lines",] == 0
    assert found["restic_manager_agents_connected",] == 0
    assert 0 <= found["restic_manager_event_loop_lag_seconds",] < 10
    assert found["restic_manager_metrics_read_timestamp_seconds",] == NOW.timestamp()
    assert [key for key in found if key[0] == "restic_manager_build_info"] == [("restic_manager_build_info", "0.1.0")]


# ---- counters ----


def _ends(bus, host, outcome, *, seconds=30, kind="backup"):
    """A job of this host, ordered, begun and ended as its agent tells."""
    job = Job.create(
        id=new_ulid(), host=host.id, kind=kind, state="queued", created_at=NOW, expires_at=NOW + HOUR,
        dispatched_at=NOW,
    )  # fmt: skip
    job_reports.started(bus, host_id=host.id, report=JobStarted(job_id=job.id), now=NOW)
    job_reports.finished(
        bus, host_id=host.id, report=JobFinished(job_id=job.id, outcome=outcome), now=NOW + seconds * SECOND
    )
    return job


def test_jobs_are_counted_by_kind_and_outcome_and_timed(client, open_to, bus, web1):
    open_to("s3cret")
    _ends(bus, web1, "succeeded", seconds=5)
    _ends(bus, web1, "failed", seconds=120)
    _ends(bus, web1, "cancelled", seconds=7)

    found = figures(client)

    counts = [found["restic_manager_jobs_total", "backup", one] for one in ("succeeded", "failed", "cancelled")]
    assert counts == [1, 1, 1]
    name = "restic_manager_job_duration_seconds"
    edges = ("10.0", "60.0", "300.0", "+Inf")
    assert [found[f"{name}_bucket", "backup", edge] for edge in edges] == [1, 1, 2, 2]
    assert found[f"{name}_count", "backup"] == 2
    assert found[f"{name}_sum", "backup"] == pytest.approx(125, abs=0.01)


def test_no_counter_goes_down_when_a_host_and_its_history_are_removed(client, open_to, bus, web1, db1):
    open_to("s3cret")
    give_release()
    says_hello(bus, web1)
    _ends(bus, web1, "succeeded")
    attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
    takes_orders(bus, web1)
    ends(bus, web1, attempt, "failed", phase="downloading", reason="disk_full")
    with changes():
        alerts.raise_alert(
            bus, kind="backup_failed", condition=f"host:{web1.id}", message="It failed.", host_id=web1.id, now=NOW
        )
    before = {key: value for key, value in figures(client).items() if key[0].endswith(("_total", "_count", "_bucket"))}
    before = {key: value for key, value in before.items() if key[0].startswith(PREFIX)}

    Host.delete().where(Host.id == web1.id).execute()

    after = figures(client)
    assert Job.select().count() == 0
    assert sum(value for key, value in before.items() if key[0] == "restic_manager_jobs_total") == 2
    assert {key: (value, after.get(key)) for key, value in before.items() if after.get(key) != value} == {}


def test_a_lost_job_that_is_heard_of_later_counts_again_and_takes_nothing_away(client, open_to, bus, web1):
    open_to("s3cret")
    job = _ends(bus, web1, "lost")

    job_reports.finished(bus, host_id=web1.id, report=JobFinished(job_id=job.id, outcome="succeeded"), now=NOW + HOUR)

    found = figures(client)
    assert [found["restic_manager_jobs_total", "backup", one] for one in ("lost", "succeeded")] == [1, 1]


def test_a_repeated_report_counts_once(client, open_to, bus, web1):
    open_to("s3cret")
    job = _ends(bus, web1, "succeeded")

    job_reports.finished(bus, host_id=web1.id, report=JobFinished(job_id=job.id, outcome="succeeded"), now=NOW + HOUR)

    assert figures(client)["restic_manager_jobs_total", "backup", "succeeded"] == 1


def test_jobs_that_have_not_ended_are_told(client, open_to, bus, vault, web1):
    open_to("s3cret")
    give_repository(bus, vault, web1)
    jobs.order(bus, host_id=web1.id, kind="snapshots", actor=BOB, now=NOW)

    assert figures(client)["restic_manager_jobs_open", "snapshots", "queued"] == 1


def test_figures_of_updates_are_read_from_the_database(client, open_to, bus, web1, db1):
    open_to("s3cret")
    release = give_release()
    for host, outcome in ((web1, "committed"), (db1, "")):
        says_hello(bus, host)
        attempt = updates.order(bus, host_id=host.id, actor=BOB, now=NOW)
        takes_orders(bus, host)
        reports(bus, host, attempt, "downloading", now=NOW + SECOND)
        reports(bus, host, attempt, "swapping", now=NOW + 5 * SECOND)
        if outcome:
            says_hello(bus, host, now=NOW + 9 * SECOND, **at_target(release))
            ends(bus, host, attempt, outcome, now=NOW + MINUTE)
    updates.sweep(bus, now=NOW + 2 * MINUTE)

    before = figures(client)
    says_hello(bus, db1, now=NOW + 3 * MINUTE, **at_target(release))
    after = figures(client)

    name = "restic_manager_update_attempts_total"
    assert before[name, "update", "committed", "succeeded"] == 1
    assert before[name, "update", "no_hello", "failed"] == 1
    assert before["restic_manager_update_provisional_verdicts_total",] == 1
    assert before["restic_manager_update_corrections_total",] == 0
    assert before["restic_manager_agents", "1", "0.1.0"] == 1
    assert before["restic_manager_hosts_behind",] == 1
    assert before["restic_manager_update_phase_seconds", "downloading", "0.5"] == 4
    assert after[name, "update", "no_hello", "failed"] == 1
    assert after[name, "update", "late_hello", "succeeded"] == 1
    assert after["restic_manager_update_corrections_total",] == 1
    assert after["restic_manager_update_provisional_verdicts_total",] == 1
    assert after["restic_manager_agents", "2", "0.2.0"] == 2


def test_a_host_that_makes_up_reasons_does_not_make_up_series(client, open_to, bus, web1):
    open_to("s3cret")
    give_release()
    says_hello(bus, web1)
    for n in range(120):
        attempt = updates.order(bus, host_id=web1.id, actor=BOB, now=NOW)
        takes_orders(bus, web1)
        ends(bus, web1, attempt, "failed", phase="downloading", reason=f"reason {n}")

    found = [name for name in figures(client) if name[0] == "restic_manager_update_attempts_total"]

    assert len(found) == 101
    assert figures(client)["restic_manager_update_attempts_total", "update", "other", "failed"] == 20


def test_versions_that_hosts_make_up_do_not_make_up_series_without_end(client, open_to):
    open_to("s3cret")
    for n in range(120):
        Host.create(
            id=new_ulid(), name=f"host{n}", hostname=f"host{n}", os="linux", arch="amd64", agent_version=f"9.{n}",
            enrolled_at=NOW,
        )  # fmt: skip

    found = {key: value for key, value in figures(client).items() if key[0] == "restic_manager_agents"}

    assert len(found) == 101
    assert found["restic_manager_agents", "other", "other"] == 20


# ---- repositories, alerts, notifications, the server's backups ----


def test_repositories_are_told_by_name(client, open_to):
    open_to("s3cret")
    Repository.create(
        id=new_ulid(), name='store "1"', location="rest:http://127.0.0.1/", password_sealed=b"-", total_bytes=5000,
        snapshot_count=7, checked_at=NOW, check_ok=True, created_at=NOW, changed_at=NOW,
    )  # fmt: skip

    found = figures(client)

    name = 'store "1"'
    assert found["restic_manager_repository_size_bytes", name] == 5000
    assert found["restic_manager_repository_snapshots", name] == 7
    assert found["restic_manager_repository_last_check_timestamp_seconds", name] == NOW.timestamp()
    assert found["restic_manager_repository_last_check_success", name] == 1
    assert found["restic_manager_repository_last_prune_timestamp_seconds", name] == 0


def test_notifications_are_counted_for_good_and_what_waits_is_told(client, open_to):
    open_to("s3cret")
    channel = Channel.create(
        id=new_ulid(), name="mail", kind="apprise", url_sealed=b"-", url_shown="mailto://", created_at=NOW,
        changed_at=NOW, failing_since=NOW,
    )  # fmt: skip
    for state in ("sent", "sent", "given_up", "queued"):
        delivery = Delivery.create(id=new_ulid(), channel=channel.id, event="raised", payload={}, created_at=NOW)
        Delivery.update(state=state).where(Delivery.id == delivery.id).execute()
    Delivery.delete().where(Delivery.state == "sent").execute()

    found = figures(client)

    assert found["restic_manager_deliveries_total", "sent"] == 2
    assert found["restic_manager_deliveries_total", "given_up"] == 1
    assert found["restic_manager_deliveries_queued",] == 1
    assert found["restic_manager_delivery_oldest_queued_timestamp_seconds",] == NOW.timestamp()
    assert found["restic_manager_channel_failing", "mail"] == 1


def test_what_is_open_is_told_by_kind_and_severity(client, open_to, bus, web1):
    open_to("s3cret")
    with changes():
        alerts.raise_alert(
            bus, kind="backup_failed", condition=f"host:{web1.id}", message="It failed.", host_id=web1.id, now=NOW
        )

    found = figures(client)

    assert found["restic_manager_alerts_open", "backup_failed", "critical", "raised"] == 1
    assert found["restic_manager_alerts_total", "backup_failed", "critical"] == 1


def test_the_servers_own_backups_are_told(client, open_to):
    open_to("s3cret")
    assert figures(client)["restic_manager_server_backup_last_success_timestamp_seconds",] == 0
    ServerBackup.create(id=new_ulid(), file="a", started_at=NOW - HOUR, ended_at=NOW - HOUR, size_bytes=9, is_ok=True)
    assert figures(client)["restic_manager_server_backup_failed",] == 0
    ServerBackup.create(id=new_ulid(), file="b", started_at=NOW, ended_at=NOW, is_ok=False)

    found = figures(client)

    assert found["restic_manager_server_backup_last_success_timestamp_seconds",] == (NOW - HOUR).timestamp()
    assert found["restic_manager_server_backup_last_size_bytes",] == 9
    assert found["restic_manager_server_backup_failed",] == 1


# ---- what it costs ----


def test_scrapes_in_the_same_moment_share_one_reading(client, open_to, parts, monkeypatch):
    open_to("s3cret")
    parts.scrapes.fresh_seconds = 600
    rendered = []
    real = exporter.render
    monkeypatch.setattr(exporter, "render", lambda *args, **values: rendered.append(1) or real(*args, **values))

    answers = [read(client, "s3cret").text for _ in range(3)]

    assert len(rendered) == 1
    assert answers[0] == answers[1] == answers[2]


def test_a_scrape_that_comes_while_another_reads_waits_for_it(parts):
    entered, go_on, got = threading.Event(), threading.Event(), []

    def slow():
        entered.set()
        go_on.wait(60)
        return [b"figures"]

    one = threading.Thread(target=lambda: got.append(parts.scrapes.read("text", slow)))
    one.start()
    assert entered.wait(60)
    parts.scrapes.fresh_seconds = 600
    other = threading.Thread(target=lambda: got.append(parts.scrapes.read("text", lambda: [b"twice"])))
    other.start()
    go_on.set()
    one.join(60)
    other.join(60)

    assert [reading.parts for reading in got] == [(b"figures",), (b"figures",)]


def test_others_have_their_turn_between_slices_of_a_large_fleet(client, open_to, monkeypatch):
    open_to("s3cret")
    for n in range(200):
        Host.create(id=new_ulid(), name=f"h{n}", hostname="h", os="linux", arch="amd64", enrolled_at=NOW)
    pauses = []
    monkeypatch.setattr(exporter, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(exporter, "pause", lambda: pauses.append(1))
    monkeypatch.setattr("rm.api.metrics.fleet.LARGEST", 20)

    found = figures(client)

    assert sum(key[0] == "restic_manager_host_info" for key in found) == 200
    assert len(pauses) > 8
