"""What /metrics says, and how it writes it."""

from datetime import timedelta

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from rm.api.metrics import lines
from rm.domain.figures import FIGURES, PREFIX, PROCESS_PREFIXES
from rm.services import alerts, hosts
from rm.shared.ids import new_ulid
from rm.store.database import changes, db
from rm.store.models import (
    Channel,
    Delivery,
    Host,
    Repository,
    ServerBackup,
    SourceGroup,
)
from tests.api.scraping import HOUR, _ends, families, figures, read
from tests.cast import ALICE, NOW, backed_up, judge, nightly
from tests.updating import MINUTE

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


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
