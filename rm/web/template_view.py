"""What pages say of templates: their parts in words, and what applying one would change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rm.domain.template_diff import ADDED, CHANGED, SAME, WORDS, Change, Differences
from rm.services import template_forms
from rm.services.schedules import ScheduleForm, timing_problem
from rm.services.source_group_forms import SourceGroupForm
from rm.services.template_applying import Applied, HostPreview
from rm.shared.schedule import Timing, describe
from rm.shared.words import counted
from rm.store.models import Host, Template
from rm.web import retention_form, schedule_view

UNITS = {
    "stale_after_hours": "{} hours", "retry_minutes": "{} minutes", "upload_kib": "{} KiB/s",
    "download_kib": "{} KiB/s", "hook_seconds": "{} seconds",
}  # fmt: skip
NAMES_SHOWN = 40


@dataclass(frozen=True)
class FieldLine:
    """One field as it is and as it would be, in words."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class ChangeLine:
    """What becomes of one group or schedule."""

    what: str
    kind: str
    name: str
    fields: list[FieldLine]
    summary: str


@dataclass(frozen=True)
class Outcome:
    """Hosts to which the same would happen; `problem` is a sentence when nothing would."""

    hosts: list[Host]
    changes: list[ChangeLine]
    beyond: list[str]
    problem: str
    is_same: bool
    words: str

    @property
    def shown(self) -> list[Host]:
        return self.hosts[:NAMES_SHOWN]


@dataclass(frozen=True)
class GroupPart:
    """A group of a template with its words."""

    form: SourceGroupForm
    kept: str


@dataclass(frozen=True)
class SchedulePart:
    """A schedule of a template with its words."""

    form: ScheduleForm
    words: str
    spread: str


def parts(template: Template) -> tuple[list[GroupPart], list[SchedulePart]]:
    """What a template holds."""
    groups, planned = template_forms.forms(template.body)
    return (
        [GroupPart(one, retention_form.words(one.retention)) for one in groups],
        [
            SchedulePart(
                one, timing_problem(one) or describe(one.timing), schedule_view.spread_words(one.jitter_seconds)
            )
            for one in planned
        ],
    )


def outcomes(previews: Sequence[HostPreview]) -> list[Outcome]:
    """The hosts by what would happen to them: those that change first, then the refused, then the others."""
    alike: dict[str, list[HostPreview]] = {}
    for one in previews:
        alike.setdefault(f"{one.problem} {one.differences!r}", []).append(one)
    found = [_outcome([one.host for one in same], same[0]) for same in alike.values()]
    return sorted(found, key=lambda one: (one.is_same, bool(one.problem)))


def value_words(field: str, value: Any) -> str:
    """A value as a person reads it; a blank one is a dash."""
    if field == "retention" and isinstance(value, Mapping):
        return retention_form.words(value)
    if field == "mode":
        return {"always_on": "always on", "intermittent": "intermittent"}.get(str(value), str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or "–"
    if field == "cron" and value:
        return f"{value} ({_described(str(value))})"
    if field == "every_minutes" and isinstance(value, int) and value:
        return describe(Timing(every_minutes=value)).removeprefix("Every ")
    if field == "jitter_seconds" and isinstance(value, int) and value:
        return schedule_view.spread_words(value)
    if value in (None, "", 0):
        return "–" if field != "retries" else "none"
    return UNITS.get(field, "{}").format(value)


def _outcome(hosts: list[Host], one: HostPreview) -> Outcome:
    what = one.differences
    return Outcome(
        hosts=hosts,
        changes=[_line(change) for change in what.changes],
        beyond=[f"{kind} {name}" for kind, name in what.beyond],
        problem=one.problem,
        is_same=what.is_same and not one.problem,
        words=_words(what),
    )


def _words(what: Differences) -> str:
    counts = {word: sum(change.what == word for change in what.changes) for word in (ADDED, CHANGED, SAME)}
    said = [f"{count} {'unchanged' if word == SAME else word}" for word, count in counts.items() if count]
    if what.beyond:
        said.append(f"{len(what.beyond)} left alone")
    return ", ".join(said)


def _line(change: Change) -> ChangeLine:
    fields = [
        FieldLine(WORDS[one.field], value_words(one.field, one.old), value_words(one.field, one.new))
        for one in change.fields
        if one.field != "name"
    ]
    new = {one.field: one.new for one in change.fields}
    summary = ""
    if change.what == ADDED:
        summary = value_words("includes", new["includes"]) if change.kind == "group" else _timing_words(new)
    return ChangeLine(change.what, change.kind, change.name, fields if change.what == CHANGED else [], summary)


def _timing_words(new: Mapping[str, Any]) -> str:
    when = _described(new["cron"]) if new["cron"] else describe(Timing(every_minutes=new["every_minutes"]))
    return f"{when}: {value_words('groups', new['groups'])}"


def _described(cron: str) -> str:
    form = ScheduleForm(cron=cron)
    return timing_problem(form) or describe(form.timing)


def applied_words(results: Sequence[Applied]) -> str:
    """What became of applying, in a sentence."""
    counts = {word: sum(one.outcome == word for one in results) for word in ("applied", "unchanged", "refused")}
    said = [f"{counted(count, 'host')} {word}" for word, count in counts.items() if count]
    return f"{', '.join(said)}."
