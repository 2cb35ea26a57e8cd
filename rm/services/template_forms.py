"""What a template holds: groups and schedules without a host, as a form and as its stored body."""

from dataclasses import dataclass, field
from typing import Any

from rm.domain import retention
from rm.errors import Invalid
from rm.services import schedules, source_group_forms
from rm.services.schedules import ScheduleForm
from rm.services.source_group_forms import SourceGroupForm, cleaned
from rm.services.source_groups import MAX_GROUPS
from rm.shared.protocol import MAX_SCHEDULES
from rm.store import templates
from rm.store.models import Schedule, SourceGroup, Template

GROUP_FIELDS = (
    "name", "includes", "excludes", "one_file_system", "exclude_caches", "tags", "mode", "stale_after_hours",
    "retention", "retries", "retry_minutes", "upload_kib", "download_kib", "pre_hook", "post_hook", "hook_seconds",
)  # fmt: skip
SCHEDULE_FIELDS = ("name", "cron", "every_minutes", "jitter_seconds", "is_enabled", "groups")
_HOOK_DEFAULTS: dict[str, Any] = {"pre_hook": "", "post_hook": "", "hook_seconds": 600}


@dataclass(frozen=True, kw_only=True)
class TemplateForm:
    """What a person says of a template; the `groups` of its schedules are names."""

    name: str = ""
    description: str = ""
    groups: list[SourceGroupForm] = field(default_factory=list)
    schedules: list[ScheduleForm] = field(default_factory=list)


def form_of(template: Template) -> TemplateForm:
    """The form that changes nothing of this template."""
    groups, planned = forms(template.body)
    return TemplateForm(name=template.name, description=template.description, groups=groups, schedules=planned)


def forms(body: dict[str, Any]) -> tuple[list[SourceGroupForm], list[ScheduleForm]]:
    """A stored body as forms."""
    groups = [SourceGroupForm(**{name: one[name] for name in GROUP_FIELDS}) for one in body["groups"]]
    return groups, [ScheduleForm(**{name: one[name] for name in SCHEDULE_FIELDS}) for one in body["schedules"]]


def body_of(form: TemplateForm) -> dict[str, Any]:
    """The form as it is stored; it never holds a shell text."""
    return {
        "groups": [_group(cleaned(group)) for group in form.groups],
        "schedules": [
            {
                "name": one.name.strip(), "cron": one.timing.cron, "every_minutes": one.every_minutes,
                "jitter_seconds": one.jitter_seconds, "is_enabled": one.is_enabled,
                "groups": sorted(dict.fromkeys(one.groups)),
            }
            for one in form.schedules
        ],
    }  # fmt: skip


def present(groups: list[SourceGroup], planned: list[tuple[Schedule, list[str]]]) -> dict[str, list[dict[str, Any]]]:
    """What a host has, in the shape of a body."""
    return {
        "groups": [{name: getattr(group, name) for name in GROUP_FIELDS} for group in groups],
        "schedules": [
            {name: getattr(one, name) for name in SCHEDULE_FIELDS if name != "groups"} | {"groups": sorted(names)}
            for one, names in planned
        ],
    }


def check(form: TemplateForm, existing: Template | None) -> None:
    """Raises Invalid for `name`, `description`, `groups` or `schedules`; the sentence names which one is wrong."""
    wrong = {}
    name = form.name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        wrong["name"] = "Use 1 to 100 printable characters."
    elif (other := templates.find_by_name(name)) is not None and (existing is None or other.id != existing.id):
        wrong["name"] = "Another template has this name already."
    if len(form.description) > 2000 or "\0" in form.description:
        wrong["description"] = "Use at most 2,000 characters."
    if problem := _groups_problem([cleaned(group) for group in form.groups]):
        wrong["groups"] = problem
    if problem := _schedules_problem(form):
        wrong["schedules"] = problem
    if wrong:
        raise Invalid(wrong)


def _group(form: SourceGroupForm) -> dict[str, Any]:
    values = {name: getattr(form, name) for name in GROUP_FIELDS}
    values["retention"] = retention.normal(form.retention)
    return values | {name: value for name, value in _HOOK_DEFAULTS.items() if values[name] is None}


def _groups_problem(groups: list[SourceGroupForm]) -> str | None:
    if not groups:
        return "A template has at least one source group."
    if len(groups) > MAX_GROUPS:
        return f"A template has at most {MAX_GROUPS} source groups."
    names = [group.name for group in groups]
    for group in groups:
        wrong = source_group_forms.problems(group)
        if names.count(group.name) > 1:
            wrong["name"] = "Two groups have this name."
        if clash := set(group.tags) & set(names):
            wrong["tags"] = f"{min(clash)} is the name of a source group; tidying up would mix the two."
        if group.touches_shell:
            wrong["pre_shell"] = "A template holds no shell text; choose hooks by their names."
        if any(len(hook or "") > 200 or not (hook or "").isprintable() for hook in (group.pre_hook, group.post_hook)):
            wrong["pre_hook"] = "The name of a hook has at most 200 printable characters."
        if wrong:
            return _first(group.name, wrong)
    return None


def _schedules_problem(form: TemplateForm) -> str | None:
    if len(form.schedules) > MAX_SCHEDULES:
        return f"A template has at most {MAX_SCHEDULES} schedules."
    names = [one.name.strip() for one in form.schedules]
    known = {group.name.strip() for group in form.groups}
    for one in form.schedules:
        wrong = schedules.problems(one)
        if names.count(one.name.strip()) > 1:
            wrong["name"] = "Two schedules have this name."
        if missing := [name for name in one.groups if name not in known]:
            wrong["groups"] = f"The template has no group {missing[0][:100]}."
        if wrong:
            return _first(one.name.strip(), wrong)
    return None


def _first(name: str, wrong: dict[str, str]) -> str:
    field_name, sentence = next(iter(wrong.items()))
    return f"{name or 'Without a name'}, {field_name}: {sentence}"
