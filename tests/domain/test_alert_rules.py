"""The rules of alerts: patience by kind and tag, causes, what is worse, snoozes, and spans as people write them."""

from datetime import datetime, timedelta, timezone

import pytest

from rm.domain import alert_rules
from rm.domain.alert_rules import AlertRules, TagRule
from rm.domain.alerts import KINDS

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LAPTOPS = AlertRules(
    patience={"backup_failed": 2 * HOUR},
    by_tag=(TagRule("laptop", "agent_offline", DAY), TagRule("critical", "agent_offline", 5 * MINUTE)),
)


@pytest.mark.parametrize(
    ("kind", "tags", "expected"),
    [
        ("agent_offline", (), 15 * MINUTE),
        ("agent_offline", ("web",), 15 * MINUTE),
        ("agent_offline", ("laptop",), DAY),
        ("agent_offline", ("laptop", "critical"), 5 * MINUTE),
        ("backup_failed", ("laptop",), 2 * HOUR),
        ("backup_missed", (), timedelta(0)),
    ],
)
def test_patience_is_that_of_the_kind_unless_a_tag_has_its_own(kind, tags, expected):
    assert LAPTOPS.patience_for(kind, tags) == expected


def test_no_rule_is_less_patient_with_a_silent_host_than_silence_can_be_known():
    hasty = AlertRules(patience={"agent_offline": timedelta(0)}, by_tag=(TagRule("x", "agent_offline", MINUTE),))

    assert hasty.patience_for("agent_offline") == hasty.patience_for("agent_offline", ("x",)) == 2 * MINUTE
    assert hasty.least_patience("agent_offline") == 2 * MINUTE
    assert LAPTOPS.least_patience("agent_offline") == 5 * MINUTE


@pytest.mark.parametrize(
    ("kind", "condition", "cause", "expected"),
    [
        ("backup_late", "group:1", "", "backup/group:1"),
        ("backup_missed", "group:1", "", "backup/group:1"),
        ("backup_failed", "group:1", "repository:9", "repository:9"),
        ("prune_failed", "repository:9", "", "prune_failed/repository:9"),
        ("check_failed", "repository:9", "", "check_failed/repository:9"),
    ],
)
def test_late_failed_and_missed_are_one_matter_and_other_kinds_are_one_each(kind, condition, cause, expected):
    assert alert_rules.cause_of(kind, condition, cause) == expected


@pytest.mark.parametrize(
    ("reason", "repository", "expected"),
    [
        ("unreachable", "9", "repository:9"),
        ("locked", "9", "repository:9"),
        ("wrong_password", "9", "repository:9"),
        ("disk_full", "9", ""),
        ("source_missing", "9", ""),
        ("unreachable", None, ""),
    ],
)
def test_only_what_is_a_matter_of_the_repository_is_put_down_to_it(reason, repository, expected):
    assert alert_rules.cause_of_failure(reason, repository) == expected


@pytest.mark.parametrize(
    ("kind", "severity", "age", "expected"),
    [
        ("backup_missed", "warning", MINUTE, True),
        ("backup_missed", "critical", DAY, False),
        ("backup_late", "critical", DAY, False),
        ("repository_unreachable", "critical", MINUTE, False),
        ("repository_unreachable", "critical", 2 * HOUR, True),
    ],
)
def test_worse_is_graver_or_a_whole_repository_long_after_one_host(kind, severity, age, expected):
    assert alert_rules.worsens(kind, severity=severity, opened_at=NOW - age, now=NOW) is expected


def test_the_repository_speaks_for_its_incident_and_a_late_backup_never_does_again():
    assert alert_rules.speaks("repository_unreachable", for_kind="backup_failed")
    assert alert_rules.speaks("backup_missed", for_kind="agent_offline")
    assert not alert_rules.speaks("backup_failed", for_kind="repository_unreachable")
    assert not alert_rules.speaks("backup_late", for_kind="backup_missed")


@pytest.mark.parametrize(
    ("choice", "chosen", "expected"),
    [
        ("1h", None, NOW + HOUR),
        ("7d", None, NOW + 7 * DAY),
        ("", NOW + 10 * MINUTE, NOW + 10 * MINUTE),
        ("", NOW + 4 * MINUTE, None),
        ("", NOW - DAY, None),
        ("", NOW + 91 * DAY, None),
        ("forever", None, None),
    ],
)
def test_a_snooze_ends_within_bounds(choice, chosen, expected):
    assert alert_rules.snooze_until(choice, chosen, NOW) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [((0, 10, 20, 30, 40), 0), ((0, 10, 20, 30), None), ((0, 10, 500, 600, 700), None)]
)
def test_hosts_fell_silent_together_when_five_did_within_two_minutes(seconds, expected):
    others = [NOW + timedelta(seconds=number) for number in seconds]

    found = alert_rules.silent_together(others[1], others)

    assert found == (None if expected is None else NOW + timedelta(seconds=expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15 min", 15 * MINUTE), ("15", 15 * MINUTE), ("24h", DAY), ("24 h", DAY), ("7 days", 7 * DAY), ("1 Day", DAY),
        ("0 min", timedelta(0)), ("", None), ("-5", None), ("soon", None), ("1.5 h", None), ("٣ h", None),
        ("999999", None),
    ],
)  # fmt: skip
def test_a_span_is_read_as_people_write_it(text, expected):
    assert alert_rules.span_of(text) == expected


@pytest.mark.parametrize("span", [timedelta(0), 15 * MINUTE, 90 * MINUTE, HOUR, DAY, 7 * DAY, 36 * HOUR])
def test_a_span_that_is_shown_means_the_same_when_it_is_saved(span):
    assert alert_rules.span_of(alert_rules.span_words(span)) == span


def test_each_kind_has_words_and_what_to_do():
    assert set(KINDS) >= {"backup_failed", "repository_unreachable", "channel_failing", "server_backup_failed"}
    assert all(kind.severity in ("warning", "critical") and kind.title and kind.advice for kind in KINDS.values())
