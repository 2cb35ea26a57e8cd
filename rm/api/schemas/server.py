"""What concerns the server itself: incidents, channels, people, settings, backups, the audit log."""

from rm.api.shapes import (
    COMPONENTS,
    FLAG,
    ID,
    INSTANT,
    NUMBER,
    TEXT,
    WHOLE,
    described,
    listed,
    mapping,
    nothing_or,
    one_of,
    record,
    text,
    whole,
)

AT = nothing_or(INSTANT)
WORD = nothing_or(TEXT)
ROLE = one_of("viewer", "operator", "admin")

COMPONENTS["Incident"] = record(
    "*",
    id=ID, title=TEXT, message=TEXT, kind=TEXT, severity=one_of("warning", "critical"),
    state=one_of("raised", "acknowledged", "resolved"), host_id=nothing_or(ID), repository_id=nothing_or(ID),
    alert_count=WHOLE, open_count=WHOLE, opened_at=INSTANT, last_seen_at=INSTANT, acknowledged_at=AT,
    acknowledged_by=WORD, snoozed_until=AT, snoozed_by=WORD, resolved_at=AT, resolved_by=WORD, note=TEXT,
)  # fmt: skip
COMPONENTS["IncidentEvent"] = record(
    "*", id=WHOLE, at=INSTANT, kind=TEXT, alert_id=nothing_or(ID), actor=WORD, text=TEXT
)
COMPONENTS["Snooze"] = record(
    for_=described(one_of("", "1h", "8h", "1d", "7d"), "For so long;"),
    until=described(text(40), "or until this instant."),
)
_CHANNEL = {
    "name": TEXT, "is_enabled": FLAG, "min_severity": TEXT,
    "kinds": described(listed(TEXT, most=100), "Kinds of alerts; empty: all."),
    "tags": described(listed(TEXT, most=100), "Only of hosts with one of these; empty: all."),
    "tells_acknowledged": FLAG, "tells_resolved": FLAG,
}  # fmt: skip
_URL = described(TEXT, "An Apprise URL, or where the webhook posts to. Never given back.")
COMPONENTS["Channel"] = record(
    "*", id=ID, kind=TEXT, url_shown=described(TEXT, "Without what is secret in it."), **_CHANNEL, created_at=INSTANT,
    changed_at=INSTANT, last_ok_at=AT, failing_since=AT, failures=WHOLE,
)  # fmt: skip
COMPONENTS["ChannelMade"] = record(
    "id", secret=described(WORD, "A webhook's; shown this once."), **COMPONENTS["Channel"]["properties"]
)
COMPONENTS["ChannelForm"] = record(**_CHANNEL, url=_URL, said="What is not named stays as it is.")
COMPONENTS["NewChannel"] = record("name url", **_CHANNEL, url=_URL, kind=one_of("apprise", "webhook"))
COMPONENTS["Delivery"] = record(
    "*", id=ID, channel_id=ID, incident_id=nothing_or(ID), event=TEXT, state=TEXT, tries=WHOLE, reason=TEXT,
    created_at=INSTANT, next_try_at=AT, ended_at=AT,
)  # fmt: skip
COMPONENTS["SignOfLife"] = record(
    "*", url_shown=WORD, minutes=WHOLE, last_at=AT, last_ok=nothing_or(FLAG), last_reason=TEXT
)
COMPONENTS["SignOfLifeForm"] = record(url=TEXT, minutes=WHOLE)
COMPONENTS["User"] = record(
    "*", id=ID, username=TEXT, role=ROLE, is_enabled=FLAG, has_password=FLAG, has_second_factor=FLAG,
    is_from_provider=FLAG, link_expires_at=AT, created_at=INSTANT, created_by=WORD, last_login_at=AT,
)  # fmt: skip
COMPONENTS["UserInvited"] = record(
    "id link", link=described(TEXT, "Shown this once."), **COMPONENTS["User"]["properties"]
)
COMPONENTS["NewUser"] = record("username role", username=TEXT, role=ROLE)
COMPONENTS["UserRole"] = record("role", role=ROLE, typed_name=TEXT)
COMPONENTS["MaybeTypedName"] = record(typed_name=TEXT)
_GENERAL = {
    "instance_name": TEXT, "session_hours": WHOLE, "group_mode": TEXT, "retention": TEXT, "schedule_at": TEXT,
    "late_factor": described(NUMBER | {"minimum": 1.1, "maximum": 10}, "Late after so many times the interval."),
    "intermittent_days": described(whole(1, 90), "Intermittent groups are not late sooner."),
}  # fmt: skip
COMPONENTS["GeneralSettings"] = record("*", **_GENERAL)
COMPONENTS["GeneralChange"] = record(**_GENERAL)
_RULES = {
    "patience": described(mapping(TEXT), 'By kind, for example {"agent_offline": "15 min"}.'),
    "hold": described(mapping(TEXT), "By kind: how long the end waits before it is told."),
    "by_tag": listed(record("*", tag=TEXT, kind=TEXT, patience=TEXT), most=200),
}
COMPONENTS["AlertRules"] = record("*", **_RULES)
COMPONENTS["AlertRulesChange"] = record(**_RULES)
_DISK = {"low_mib": WHOLE, "critical_mib": WHOLE}
COMPONENTS["DiskLimits"] = record("*", **_DISK)
COMPONENTS["DiskLimitsChange"] = record(**_DISK)
COMPONENTS["HistoryLimits"] = mapping(WHOLE)
_PLAN = {"every_hours": WHOLE, "keep": WHOLE, "directory": TEXT}
COMPONENTS["BackupPlan"] = record("*", **_PLAN)
COMPONENTS["BackupPlanChange"] = record(**_PLAN)
COMPONENTS["ServerBackup"] = record(
    "*", id=ID, name=TEXT, state=one_of("running", "good", "failed"), started_at=INSTANT, ended_at=AT,
    size_bytes=nothing_or(WHOLE), sha256=WORD, message=TEXT, requested_by=WORD,
)  # fmt: skip
COMPONENTS["AuditEntry"] = record(
    "*", id=WHOLE, at=INSTANT, actor=record("*", kind=TEXT, id=WORD, name=TEXT, address=WORD), action=TEXT,
    target=record("*", kind=WORD, id=WORD, name=WORD), payload={},
)  # fmt: skip
