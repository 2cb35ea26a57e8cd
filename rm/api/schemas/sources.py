"""Source groups, schedules, and the runs that did not take place."""

from rm.api.shapes import (
    COMPONENTS,
    FLAG,
    ID,
    INSTANT,
    TEXT,
    WHOLE,
    described,
    listed,
    nothing_or,
    record,
    ref,
)

AT = nothing_or(INSTANT)
_LISTS = listed(TEXT, most=1000)
_RETENTION = {
    "type": "object", "description": 'Restic\'s keep rules, for example {"keep_daily": 7, "keep_within": "14d"}.',
}  # fmt: skip
_GROUP = {
    "name": TEXT, "includes": _LISTS, "excludes": _LISTS, "one_file_system": FLAG, "exclude_caches": FLAG,
    "tags": _LISTS, "mode": TEXT, "stale_after_hours": nothing_or(WHOLE), "retention": _RETENTION, "retries": WHOLE,
    "retry_minutes": WHOLE, "upload_kib": WHOLE, "download_kib": WHOLE,
}  # fmt: skip
_HOOKS = {
    "pre_hook": TEXT, "post_hook": TEXT, "hook_seconds": WHOLE, "pre_shell": TEXT, "post_shell": TEXT,
    "remove_pre_shell": FLAG, "remove_post_shell": FLAG,
}  # fmt: skip
_SCHEDULE = {
    "name": TEXT, "cron": described(TEXT, "Five fields; or every_minutes instead."), "every_minutes": WHOLE,
    "jitter_seconds": WHOLE, "is_enabled": FLAG, "groups": described(_LISTS, "The ids of the groups that it runs."),
}  # fmt: skip

COMPONENTS["SourceGroup"] = record(
    "id name includes has_pre_shell has_post_shell changed_at",
    id=ID, **_GROUP, pre_hook=nothing_or(TEXT), post_hook=nothing_or(TEXT), hook_seconds=nothing_or(WHOLE),
    has_pre_shell=FLAG, has_post_shell=FLAG, template_id=nothing_or(ID), template_version=nothing_or(WHOLE),
    changed_at=INSTANT,
)  # fmt: skip
COMPONENTS["SourceGroupForm"] = record(
    **_GROUP, **_HOOKS, typed_name=described(TEXT, "The group's name; a retention that removes much wants it."),
    said="What is not named has its default, or stays as it is.",
)  # fmt: skip
COMPONENTS["NewSourceGroup"] = COMPONENTS["SourceGroupForm"] | {"required": ["name", "includes"]}
COMPONENTS["RetentionQuestion"] = record(retention=_RETENTION)
COMPONENTS["RetentionPreview"] = record(
    "*", listed_at=AT, is_stale=FLAG, kept=listed(record("*", id=ID, reasons=listed(TEXT))),
    removed=listed(record("*", id=ID)), needs_typed_name=FLAG, why=TEXT,
)  # fmt: skip
COMPONENTS["Schedule"] = record(
    "*",
    id=ID, name=TEXT, cron=nothing_or(TEXT), every_minutes=nothing_or(WHOLE), jitter_seconds=WHOLE, is_enabled=FLAG,
    groups=listed(record("*", id=ID, name=TEXT)), words=TEXT, timezone=nothing_or(TEXT), next_runs=listed(INSTANT),
    hints=listed(TEXT), template_id=nothing_or(ID), changed_at=INSTANT,
)  # fmt: skip
COMPONENTS["ScheduleForm"] = record(**_SCHEDULE, said="What is not named has its default, or stays as it is.")
COMPONENTS["NewSchedule"] = COMPONENTS["ScheduleForm"] | {"required": ["name"]}
COMPONENTS["SkippedRun"] = record(
    "*", id={"type": ["string", "integer"]}, source_group=TEXT, schedule_id=nothing_or(ID), due_from=AT, due_to=AT,
    count=WHOLE, reason=TEXT, message=TEXT, job_id=nothing_or(ID), reported_at=AT,
)  # fmt: skip
COMPONENTS["GroupOfTemplate"] = record(**_GROUP)
COMPONENTS["ScheduleOfTemplate"] = record(**_SCHEDULE)
COMPONENTS["GroupList"] = record("items next", items=listed(ref("SourceGroup")), next={"type": "null"})
