"""Templates: groups and schedules that many hosts share, applied with the differences shown before."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rm.domain.actors import Actor
from rm.domain.template_diff import CHANGED, SAME, Differences, differences
from rm.errors import Conflict, Invalid, RmError
from rm.events import EventBus, HostChanged
from rm.services import audit, retention_changes, schedule_sets, schedules, source_group_forms, source_groups
from rm.services.source_group_forms import cleaned
from rm.services.template_forms import TemplateForm, body_of, check, forms, present
from rm.shared.ids import new_ulid
from rm.store import hosts, templates
from rm.store.database import changes, publish_after_commit
from rm.store.models import Host, Schedule, SourceGroup, Template
from rm.store.vault import Vault

MAX_TEMPLATES = 200
MAX_HOSTS = 1000
MAX_BODY_BYTES = 500_000
_FORGETS_MOST = (
    "By this retention more than half of its snapshots there would go. Set it on the host's own page, which shows"
    " which ones."
)


@dataclass(frozen=True)
class HostPreview:
    """What applying would do to one host; `problem` is a sentence when it would be refused there."""

    host: Host
    differences: Differences
    problem: str


@dataclass(frozen=True)
class Applied:
    """What became of one host: applied, unchanged or refused."""

    host_id: str
    host_name: str
    outcome: str
    problem: str = ""


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
    groups, planned = forms(_present_of([host.id])[host.id])
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


def preview(*, template_id: str, tag: str = "", host_ids: Sequence[str] = (), now: datetime) -> list[HostPreview]:
    """What applying would do to each host with this tag or with these ids. Raises NotFound, or Invalid for too many."""
    template = templates.get(template_id)
    chosen = _chosen(tag, host_ids)
    ids = [host.id for host in chosen]
    groups, there = templates.groups_of_hosts(ids), _present_of(ids)
    return [
        HostPreview(
            host=host,
            differences=differences(template.body, there[host.id]),
            problem=_problem(template, host, groups.get(host.id, []), now),
        )
        for host in chosen
    ]


def apply(
    bus: EventBus, vault: Vault, *, template_id: str, version: int, tag: str = "", host_ids: Sequence[str] = (),
    actor: Actor, now: datetime,
) -> list[Applied]:  # fmt: skip
    """Make the hosts as the template says, each in a transaction of its own; again changes nothing.

    What a host has beyond the template stays. Raises NotFound, Invalid for too many hosts, or Conflict when the
    template has another version than the one that was looked at.
    """
    if templates.get(template_id).version != version:
        raise Conflict(
            "The template was changed meanwhile.", code="template_changed", help="Look at the differences once more."
        )
    results = []
    for host in _chosen(tag, host_ids):
        results.append(_apply_to(bus, vault, template_id, version, host, actor, now))
        # Between two hosts: others must get their turn while hundreds are written.
        time.sleep(0)
    return results


def drift(host_id: str) -> list[Drift]:
    """Where a host is not as the templates say that were applied to it; raises NotFound."""
    hosts.get(host_id)
    groups = templates.groups_of_hosts([host_id]).get(host_id, [])
    planned = [schedule for schedule, _ in templates.schedules_of_hosts([host_id]).get(host_id, [])]
    there = _present_of([host_id])[host_id]
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
                fields = ", ".join(one.field for one in change.fields)
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
    ids = templates.host_ids_using(template_id)[:MAX_HOSTS]
    there = _present_of(ids)
    found = {host.id: host for host in hosts.list_by_ids(ids)}
    return [
        (found[host_id], not differences(template.body, there[host_id]).is_same) for host_id in ids if host_id in found
    ]


def _apply_to(
    bus: EventBus, vault: Vault, template_id: str, version: int, host: Host, actor: Actor, now: datetime
) -> Applied:
    try:
        with changes():
            template = templates.get(template_id)
            if template.version != version:
                raise Conflict("The template was changed meanwhile.")
            host = hosts.get(host.id)
            what = differences(template.body, _present_of([host.id])[host.id])
            _write(bus, vault, template, host, what, actor, now)
            if what.is_same:
                return Applied(host.id, host.name, "unchanged")
            audit.record(
                actor, "template.applied", now=now, kind="host", id=host.id, name=host.name, template=template.name,
                version=version,
                changes=[f"{one.kind} {one.name}: {one.what}" for one in what.changes if one.what != SAME],
            )  # fmt: skip
            schedule_sets.settle(bus, vault, host_id=host.id, field="groups", now=now)
            return Applied(host.id, host.name, "applied")
    except Invalid as error:
        if "typed_name" in error.fields:
            return Applied(host.id, host.name, "refused", _FORGETS_MOST)
        return Applied(host.id, host.name, "refused", next(iter(error.fields.values()), error.message))
    except RmError as error:
        return Applied(host.id, host.name, "refused", error.message)


def _write(
    bus: EventBus, vault: Vault, template: Template, host: Host, what: Differences, actor: Actor, now: datetime
) -> None:
    groups, planned = forms(template.body)
    there = {group.name: group for group in templates.groups_of_hosts([host.id]).get(host.id, [])}
    plans = {one.name: one for one, _ in templates.schedules_of_hosts([host.id]).get(host.id, [])}
    as_is = {(change.kind, change.name) for change in what.changes if change.what == SAME}
    for form in groups:
        mark = {"template": template.id, "template_version": template.version}
        if ("group", form.name) in as_is:
            SourceGroup.update(mark).where(SourceGroup.id == there[form.name].id).execute()
            continue
        there[form.name] = source_groups.put(
            bus, vault, host=host, existing=there.get(form.name), form=form, actor=actor, now=now, **mark
        )
    for plan in planned:
        if ("schedule", plan.name) in as_is:
            Schedule.update(template=template.id).where(Schedule.id == plans[plan.name].id).execute()
            continue
        by_id = schedules.ScheduleForm(**vars(plan) | {"groups": [there[name].id for name in plan.groups]})
        schedules.put(
            bus, host=host, existing=plans.get(plan.name), form=by_id, actor=actor, now=now, template=template.id
        )


def _problem(template: Template, host: Host, groups: list[SourceGroup], now: datetime) -> str:
    # Between two hosts: others must get their turn while hundreds are looked at.
    time.sleep(0)
    known = {group.name: group for group in groups}
    asked, _ = forms(template.body)
    for form in asked:
        try:
            source_group_forms.check(cleaned(form), host=host, existing=known.get(form.name), known=groups)
        except Invalid as error:
            return f"{form.name}: {next(iter(error.fields.values()))}"
        own = known.get(form.name)
        if retention_changes.needs_confirmation(
            host=host, group_name=form.name, before=own.retention if own is not None else {},
            retention=form.retention, now=now,
        ):  # fmt: skip
            return f"{form.name}: {_FORGETS_MOST}"
    if len(known.keys() | {form.name for form in asked}) > source_groups.MAX_GROUPS:
        return f"A host can have {source_groups.MAX_GROUPS} source groups."
    return ""


def _chosen(tag: str, host_ids: Sequence[str]) -> list[Host]:
    if not tag and not host_ids:
        raise Invalid({"hosts": "Choose a tag, or hosts."})
    if len(host_ids) > MAX_HOSTS:
        raise Invalid({"hosts": f"Choose at most {MAX_HOSTS:,} hosts at once."})
    found = templates.hosts_to_apply(tag=tag, host_ids=host_ids, limit=MAX_HOSTS + 1)
    if len(found) > MAX_HOSTS:
        raise Invalid({"hosts": f"More than {MAX_HOSTS:,} hosts carry this tag; choose a narrower one."})
    if not found:
        raise Invalid({"hosts": "No host carries this tag." if tag else "There are no such hosts."})
    return found


def _present_of(host_ids: Sequence[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    groups, planned = templates.groups_of_hosts(host_ids), templates.schedules_of_hosts(host_ids)
    return {host_id: present(groups.get(host_id, []), planned.get(host_id, [])) for host_id in host_ids}
