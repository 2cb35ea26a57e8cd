"""Templates: groups and schedules that many hosts share, and where hosts are not as those say."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain.actors import Actor
from rm.domain.template_diff import CHANGED, SAME, WORDS, differences
from rm.errors import Invalid
from rm.events import EventBus, HostChanged
from rm.services import audit
from rm.services.template_forms import TemplateForm, body_of, check, forms, present
from rm.shared.ids import new_ulid
from rm.store import hosts, templates
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Template

MAX_TEMPLATES = 200
SHOWN_MOST = 1000
MAX_BODY_BYTES = 500_000


@dataclass(frozen=True)
class Drift:
    """A group or schedule of a host that is not as its template says (any more)."""

    template: Template
    kind: str
    name: str
    text: str


def save(
    bus: EventBus, *, template_id: str | None, form: TemplateForm, actor: Actor, now: datetime
) -> Template:  # fmt: skip
    """A template made (template_id None) or changed; its hosts stay as they are until it is applied. Raises Invalid."""
    with changes():
        existing = templates.get(template_id) if template_id is not None else None
        check(form, existing)
        body = body_of(form)
        if len(json.dumps(body, ensure_ascii=False).encode()) > MAX_BODY_BYTES:
            raise Invalid({"groups": f"A template may take {MAX_BODY_BYTES // 1000} kB; this one takes more."})
        values: dict[str, Any] = {
            "name": form.name.strip(), "description": form.description.strip(), "body": body, "changed_at": now,
        }  # fmt: skip
        if existing is None:
            if templates.count() >= MAX_TEMPLATES:
                raise Invalid({"name": f"There can be {MAX_TEMPLATES} templates."})
            found_id = new_ulid()
            Template.create(id=found_id, created_at=now, **values)
        else:
            found_id = existing.id
            values["version"] = existing.version + (body != existing.body)
            Template.update(values).where(Template.id == found_id).execute()
        found = templates.get(found_id)
        audit.record(
            actor, "template.created" if existing is None else "template.changed", now=now, kind="template",
            id=found_id, name=found.name, version=found.version, groups=[one["name"] for one in body["groups"]],
            schedules=[one["name"] for one in body["schedules"]],
        )  # fmt: skip
        return found


def save_from_host(
    bus: EventBus, *, host_id: str, name: str, description: str = "", actor: Actor, now: datetime
) -> Template:
    """A new template of what a host has, without shell texts; raises NotFound or Invalid."""
    host = hosts.get(host_id)
    groups, planned = forms(present_of([host.id])[host.id])
    form = TemplateForm(name=name, description=description, groups=groups, schedules=planned)
    return save(bus, template_id=None, form=form, actor=actor, now=now)


def remove(bus: EventBus, *, template_id: str, actor: Actor, now: datetime) -> None:
    """Forget a template; what was made from it stays on its hosts. Raises NotFound."""
    with changes():
        found = templates.get(template_id)
        used_by = templates.host_ids_using(template_id)
        found.delete_instance()
        audit.record(actor, "template.removed", now=now, kind="template", id=template_id, name=found.name)
        publish_after_commit(bus, *(HostChanged(host_id) for host_id in used_by))


def drift(host_id: str) -> list[Drift]:
    """Where a host is not as the templates say that were applied to it; raises NotFound."""
    hosts.get(host_id)
    groups = templates.groups_of_hosts([host_id]).get(host_id, [])
    planned = [schedule for schedule, _ in templates.schedules_of_hosts([host_id]).get(host_id, [])]
    there = present_of([host_id])[host_id]
    made_from: dict[str, dict[tuple[str, str], int | None]] = {}
    for group in groups:
        if group.template_id:
            made_from.setdefault(group.template_id, {})["group", group.name] = group.template_version
    for schedule in planned:
        if schedule.template_id:
            made_from.setdefault(schedule.template_id, {})["schedule", schedule.name] = None
    found = []
    for template_id, own in made_from.items():
        template = templates.get(template_id)
        asked = {(change.kind, change.name): change for change in differences(template.body, there).changes}
        for key, version in own.items():
            change = asked.get(key)
            if change is None:
                text = f"The template {template.name} does not have it any more."
            elif change.what == CHANGED:
                fields = ", ".join(WORDS[one.field] for one in change.fields)
                text = f"It differs from the template {template.name} in {fields}."
                if version is not None and version < template.version:
                    text += f" Version {version} was applied; the template is at {template.version}."
            else:
                continue
            found.append(Drift(template=template, kind=key[0], name=key[1], text=text))
        for (kind, name), change in asked.items():
            if change.what not in (CHANGED, SAME) and (kind, name) not in own:
                text = f"The template {template.name} has it; this host does not."
                found.append(Drift(template=template, kind=kind, name=name, text=text))
    return found


def drifting(template_id: str) -> list[tuple[Host, bool]]:
    """The hosts that a template was applied to, by name, and whether they differ from it. Raises NotFound."""
    template = templates.get(template_id)
    ids = templates.host_ids_using(template_id)[:SHOWN_MOST]
    there = present_of(ids)
    found = {host.id: host for host in hosts.list_by_ids(ids)}
    return [
        (found[host_id], not differences(template.body, there[host_id]).is_same) for host_id in ids if host_id in found
    ]


def present_of(host_ids: Sequence[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What hosts have, by host, in the shape of a template's body."""
    groups, planned = templates.groups_of_hosts(host_ids), templates.schedules_of_hosts(host_ids)
    return {host_id: present(groups.get(host_id, []), planned.get(host_id, [])) for host_id in host_ids}
