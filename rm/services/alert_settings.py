"""How patient the server is with each kind of alert: set by people, in effect at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from rm.domain import alert_rules
from rm.domain.actors import Actor
from rm.domain.alert_rules import AlertRules, TagRule
from rm.domain.alerts import KINDS
from rm.errors import Invalid
from rm.events import AlertsChanged, EventBus
from rm.services import audit, enrolments
from rm.store import incidents, kept_settings, raising
from rm.store.database import changes, publish_after_commit
from rm.store.models import AlertWait

NAME = "alerts.rules"
_HOW = "Write for example 15 min, 24 h or 7 days."


@dataclass
class RulesForm:
    """The settings as they are typed: spans as texts by kind, and (tag, kind, span) for hosts with a tag."""

    patience: dict[str, str] = field(default_factory=dict)
    hold: dict[str, str] = field(default_factory=dict)
    by_tag: list[tuple[str, str, str]] = field(default_factory=list)


def rules() -> AlertRules:
    """The rules as they are set now."""
    return _parsed(raising.settings_text(NAME))


def patience_with(kind: str, host_id: str | None, *, text: str | None = None) -> timedelta:
    """How long this kind of condition must hold on this host until it is an alert.

    `text` is the rules as they are kept, for whoever has read them just now.
    """
    found = rules() if text is None else _parsed(text)
    return found.patience_for(kind, raising.tags_of(host_id) if found.depends_on_tags(kind) else ())


def form_of(found: AlertRules) -> RulesForm:
    """The form that says the same."""
    return RulesForm(
        patience={kind: alert_rules.span_words(found.patience_for(kind)) for kind in KINDS},
        hold={kind: alert_rules.span_words(found.hold_for(kind)) for kind in KINDS},
        by_tag=[(rule.tag, rule.kind, alert_rules.span_words(rule.patience)) for rule in found.by_tag],
    )


def save(bus: EventBus, *, form: RulesForm, actor: Actor, now: datetime) -> AlertRules:
    """Keep the rules; what waits is due by the new ones. Raises Invalid."""
    wanted = checked(form)
    with changes():
        before = rules()
        if wanted != before:
            kept_settings.put(NAME, _kept(wanted))
            audit.record(
                actor, "settings.changed", now=now, kind="settings", id=NAME, name="alerts", before=_kept(before),
                after=_kept(wanted),
            )  # fmt: skip
            retime(None)
            publish_after_commit(bus, AlertsChanged(""))
        return wanted


def retime(host_id: str | None) -> None:
    """Have conditions that wait due by the present rules and tags: those of one host, or all. Inside a transaction."""
    for wait in incidents.list_waits(host_id=host_id):
        due = wait.since + patience_with(wait.kind, wait.host_id)
        if due != wait.due_at:
            AlertWait.update(due_at=due).where(
                AlertWait.kind == wait.kind, AlertWait.condition == wait.condition
            ).execute()


def checked(form: RulesForm) -> AlertRules:
    """The rules that a form means; raises Invalid, by field."""
    wrong: dict[str, str] = {}
    patience = {kind: _patience(kind, form.patience.get(kind), f"patience_{kind}", wrong) for kind in KINDS}
    hold = {kind: _hold(kind, form.hold.get(kind), wrong) for kind in KINDS}
    by_tag: list[TagRule] = []
    for number, (tag, kind, span) in enumerate(form.by_tag):
        if not tag.strip() and not span.strip():
            continue
        rule = TagRule(_tag(tag, number, wrong), kind, _patience(kind, span, f"tag_patience_{number}", wrong))
        if kind not in KINDS:
            wrong[f"tag_kind_{number}"] = "Choose a kind."
        elif any((one.tag, one.kind) == (rule.tag, rule.kind) for one in by_tag):
            wrong[f"tag_{number}"] = "This tag has a patience with this kind already."
        by_tag.append(rule)
    if len(by_tag) > alert_rules.MOST_TAG_RULES:
        wrong["tag_0"] = f"At most {alert_rules.MOST_TAG_RULES} exceptions are kept."
    if wrong:
        raise Invalid(wrong)
    # What is as it is built in is not kept: a later release may know better.
    return AlertRules(
        patience={kind: span for kind, span in patience.items() if span != KINDS[kind].patience},
        hold={kind: span for kind, span in hold.items() if span != KINDS[kind].hold},
        by_tag=tuple(by_tag),
    )


def _patience(kind: str, text: str | None, name: str, wrong: dict[str, str]) -> timedelta:
    known = KINDS.get(kind)
    if text is None and known is not None:
        return known.patience
    span = alert_rules.span_of(text or "")
    least = known.least if known is not None else timedelta(0)
    if span is None:
        wrong[name] = _HOW
    elif not least <= span <= alert_rules.MOST_PATIENCE:
        words = alert_rules.span_words
        wrong[name] = f"Use {words(least)} to {words(alert_rules.MOST_PATIENCE)}."
    return span or timedelta(0)


def _hold(kind: str, text: str | None, wrong: dict[str, str]) -> timedelta:
    if text is None:
        return KINDS[kind].hold
    span = alert_rules.span_of(text)
    if span is None:
        wrong[f"hold_{kind}"] = _HOW
    elif span > alert_rules.MOST_HOLD:
        wrong[f"hold_{kind}"] = f"Use at most {alert_rules.span_words(alert_rules.MOST_HOLD)}."
    return span or timedelta(0)


def _tag(text: str, number: int, wrong: dict[str, str]) -> str:
    try:
        found = enrolments.check_tags((text,))
    except Invalid as error:
        wrong[f"tag_{number}"] = next(iter(error.fields.values()))
        return text
    if not found:
        wrong[f"tag_{number}"] = "Name a tag."
        return text
    return str(found[0])


def _kept(found: AlertRules) -> dict[str, Any]:
    """The rules as they are kept and audited, in minutes."""
    return {
        "patience": _minutes(found.patience),
        "hold": _minutes(found.hold),
        "tags": [
            {"tag": rule.tag, "kind": rule.kind, "minutes": int(rule.patience.total_seconds() // 60)}
            for rule in found.by_tag
        ],
    }


def _minutes(spans: Mapping[str, timedelta]) -> dict[str, int]:
    return {kind: int(span.total_seconds() // 60) for kind, span in spans.items()}


@lru_cache(maxsize=4)
def _parsed(text: str) -> AlertRules:
    kept = json.loads(text) if text else {}
    spans = {
        part: {kind: timedelta(minutes=minutes) for kind, minutes in kept.get(part, {}).items() if kind in KINDS}
        for part in ("patience", "hold")
    }
    by_tag = tuple(
        TagRule(one["tag"], one["kind"], timedelta(minutes=one["minutes"]))
        for one in kept.get("tags", [])
        if one["kind"] in KINDS
    )
    return AlertRules(patience=spans["patience"], hold=spans["hold"], by_tag=by_tag)
