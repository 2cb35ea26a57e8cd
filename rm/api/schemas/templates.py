"""Templates, what they would change, and what became of applying them."""

from rm.api.shapes import (
    ANY,
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

_OBJECT = {"type": "object"}
_PARTS = {
    "id": ID, "name": TEXT, "description": TEXT, "version": WHOLE, "groups": listed(_OBJECT),
    "schedules": listed(_OBJECT), "changed_at": INSTANT,
}  # fmt: skip
_CHOICE = {
    "tag": described(TEXT, "All hosts with this tag,"),
    "tags": described(listed(TEXT, most=50), "or with one of these,"),
    "host_ids": described(listed(TEXT, most=1000), "or these,"),
    "differing": described(FLAG, "or those that differ from the template now."),
}  # fmt: skip

COMPONENTS["Template"] = record("*", **_PARTS)
COMPONENTS["TemplateWithHosts"] = record("*", **_PARTS, hosts=listed(record("*", id=ID, name=TEXT, drifts=FLAG)))
COMPONENTS["TemplateForm"] = record(
    said="What is not named stays as it is.",
    name=TEXT, description=TEXT, groups=listed(ref("SourceGroupForm"), most=100),
    schedules=listed(ref("ScheduleForm"), most=100),
    from_host_id=described(TEXT, "Only for a new one: take what this host has."),
)  # fmt: skip
COMPONENTS["NewTemplate"] = COMPONENTS["TemplateForm"] | {"required": ["name"]}
COMPONENTS["TemplateQuestion"] = record(**_CHOICE)
COMPONENTS["TemplateOrder"] = record(
    "version", version=described(WHOLE, "The version that the preview named."), **_CHOICE
)
COMPONENTS["TemplatePreview"] = record(
    "*", version=WHOLE,
    hosts=listed(
        record(
            "*", host_id=ID, host_name=TEXT, is_same=FLAG, problem=nothing_or(TEXT), is_looked_at=FLAG,
            changes=listed(
                record("*", kind=TEXT, name=TEXT, what=TEXT, fields=listed(record("*", field=TEXT, old=ANY, new=ANY)))
            ),
            left_alone=listed(record("*", kind=TEXT, name=TEXT)),
        )
    ),
)  # fmt: skip
COMPONENTS["TemplateApplied"] = record("*", hosts=listed(_OBJECT))
