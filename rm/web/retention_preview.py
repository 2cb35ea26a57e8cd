"""What a retention would keep and remove now, shown beside the form in which it is written."""

from typing import Any

from flask import Blueprint, Response, request

from rm.domain import retention as rules
from rm.domain.permissions import allows
from rm.services import retention_changes
from rm.store import hosts, source_groups
from rm.web import context, retention_form
from rm.web.layout import page

blueprint = Blueprint("retention_preview", __name__)

SHOWN = 200


@blueprint.get("/hosts/<host_id>/sources/<group_id>/preview")
@allows("sources.edit")
def preview(host_id: str, group_id: str) -> Response:
    """The fragment for the form, or (for a browser that asks for a page) a page of its own."""
    host = hosts.get(host_id)
    group = source_groups.get(group_id, host_id=host_id)
    now = context.now()
    asked = retention_of(retention_form.resolved(request.args))
    retention = asked if asked is not None else group.retention
    values = {
        "host": host,
        "group": group,
        "preview": retention_changes.preview(host=host, group_name=group.name, retention=retention, now=now),
        "confirmation": retention_changes.needs_confirmation(
            host=host, group_name=group.name, before=retention_changes.looked_at(group), retention=retention, now=now
        ),
        "shown": SHOWN,
        "may_run": context.may("jobs.run"),
    }
    is_part = request.headers.get("HX-Request-Type") == "partial"
    template = "source_groups/_preview.html" if is_part else "source_groups/preview.html"
    return page(template, section="fleet", is_in_form=is_part, **values)


def retention_of(texts: dict[str, str]) -> dict[str, Any] | None:
    """The retention that the parameters of an address mean, for the rules to judge; None without any."""
    given = {name: texts[name].strip() for name in (*rules.COUNTS, *rules.PERIODS) if name in texts}
    if not given:
        return None
    found: dict[str, Any] = {}
    for name, text in given.items():
        is_number = name in rules.COUNTS and text.isascii() and text.isdigit() and len(text) <= 9
        found[name] = int(text) if is_number else text
    return {name: value for name, value in found.items() if value != ""}
