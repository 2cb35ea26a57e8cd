"""Applying templates to hosts, with the differences shown before: what would change where, and doing it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rm.domain.actors import Actor
from rm.domain.template_diff import GROUP, SAME, Differences, differences
from rm.errors import Conflict, Forbidden, Invalid, RmError
from rm.events import EventBus
from rm.services import audit, retention_changes, schedule_sets, schedules, source_group_forms, source_groups
from rm.services.retention_changes import Answers, Question
from rm.services.source_group_forms import SourceGroupForm, cleaned
from rm.services.template_forms import forms
from rm.services.templates import drifting, present_of
from rm.store import hosts, templates
from rm.store.database import changes
from rm.store.models import Host, Schedule, SourceGroup, Template
from rm.store.vault import Vault

MAX_HOSTS = 1000
MAX_TAGS = 50
_FORGETS_MOST = (
    "By this retention more than half of its snapshots there would go. Set it on the host's own page, which shows"
    " which ones."
)


_NEEDS_ADMIN = "It changes which hooks run there, so an administrator has to apply it to this host."


@dataclass(frozen=True)
class HostPreview:
    """What applying would do to one host; `problem` is a sentence when it would be refused there.

    Not `is_looked_at` where there are too many snapshots to say whether the retention would remove most of them.
    """

    host: Host
    differences: Differences
    problem: str
    is_looked_at: bool = True


@dataclass(frozen=True)
class Applied:
    """What became of one host: applied, unchanged or refused."""

    host_id: str
    host_name: str
    outcome: str
    problem: str = ""


@dataclass(frozen=True)
class Choice:
    """Which hosts are meant: those with one of the tags, those with these ids, those that differ from the template."""

    tags: Sequence[str] = ()
    host_ids: Sequence[str] = ()
    is_differing: bool = False


def preview(*, template_id: str, choice: Choice, actor: Actor, now: datetime) -> list[HostPreview]:
    """What applying would do to each chosen host, if this person did it. Raises NotFound, or Invalid for too many."""
    template = templates.get(template_id)
    chosen = _chosen(template_id, choice)
    ids = [host.id for host in chosen]
    groups, there = templates.groups_of_hosts(ids), present_of(ids)
    asked = [cleaned(form) for form in forms(template.body)[0]]
    what = {host.id: differences(template.body, there[host.id]) for host in chosen}
    questions = [one for host in chosen for one in _questions(asked, host, groups.get(host.id, []), what[host.id])]
    answers = retention_changes.need_confirmation(questions, now=now)
    return [
        HostPreview(
            host=host,
            differences=what[host.id],
            problem=_problem(asked, host, groups.get(host.id, []), actor, answers),
            is_looked_at=host.id not in answers.unseen,
        )
        for host in chosen
    ]


def apply(
    bus: EventBus, vault: Vault, *, template_id: str, version: int, choice: Choice, actor: Actor, now: datetime,
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
    for host in _chosen(template_id, choice):
        results.append(_apply_to(bus, vault, template_id, version, host, actor, now))
        # Between two hosts: others must get their turn while hundreds are written.
        time.sleep(0)
    return results


def _apply_to(
    bus: EventBus, vault: Vault, template_id: str, version: int, host: Host, actor: Actor, now: datetime
) -> Applied:
    try:
        with changes():
            template = templates.get(template_id)
            if template.version != version:
                raise Conflict("The template was changed meanwhile.")
            host = hosts.get(host.id)
            what = differences(template.body, present_of([host.id])[host.id])
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
        if not source_groups.may_edit_hooks(actor) and source_groups.touches_hooks(form, there.get(form.name)):
            raise Forbidden(f"{form.name}: {_NEEDS_ADMIN}")
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


def _questions(
    asked: Sequence[SourceGroupForm], host: Host, groups: Sequence[SourceGroup], what: Differences
) -> Iterator[Question]:
    known = {group.name: group for group in groups}
    as_is = {change.name for change in what.changes if change.kind == GROUP and change.what == SAME}
    for form in asked:
        if form.name not in as_is:
            before = retention_changes.looked_at(known.get(form.name))
            yield Question(host, form.name, before, form.retention)


def _problem(
    asked: Sequence[SourceGroupForm], host: Host, groups: list[SourceGroup], actor: Actor, answers: Answers
) -> str:
    # Between two hosts: others must get their turn while hundreds are looked at.
    time.sleep(0)
    known = {group.name: group for group in groups}
    for form in asked:
        try:
            source_group_forms.check(form, host=host, existing=known.get(form.name), known=groups)
        except Invalid as error:
            return f"{form.name}: {next(iter(error.fields.values()))}"
        own = known.get(form.name)
        if not source_groups.may_edit_hooks(actor) and source_groups.touches_hooks(form, own):
            return f"{form.name}: {_NEEDS_ADMIN}"
        if (host.id, form.name) in answers.confirm:
            return f"{form.name}: {_FORGETS_MOST}"
    if len(known.keys() | {form.name for form in asked}) > source_groups.MAX_GROUPS:
        return f"A host can have {source_groups.MAX_GROUPS} source groups."
    return ""


def _chosen(template_id: str, choice: Choice) -> list[Host]:
    ids = {*choice.host_ids}
    if choice.is_differing:
        ids |= {host.id for host, differs in drifting(template_id) if differs}
    if not choice.tags and not ids:
        raise Invalid({"hosts": "No host differs." if choice.is_differing else "Choose a tag, or hosts."})
    if len(ids) > MAX_HOSTS or len(choice.tags) > MAX_TAGS:
        raise Invalid({"hosts": f"Choose at most {MAX_HOSTS:,} hosts and {MAX_TAGS} tags at once."})
    found = templates.hosts_to_apply(tags=choice.tags, host_ids=sorted(ids), limit=MAX_HOSTS + 1)
    if len(found) > MAX_HOSTS:
        raise Invalid({"hosts": f"More than {MAX_HOSTS:,} hosts are meant; choose a narrower tag."})
    if not found:
        raise Invalid({"hosts": "No host carries this tag." if choice.tags else "There are no such hosts."})
    return found
