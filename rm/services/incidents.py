"""Incidents: alerts of one cause. People are told when one begins, gets worse, is known, and is over."""

from datetime import datetime, timedelta

from rm.domain import alert_rules
from rm.domain.actors import SERVER, Actor
from rm.domain.alerts import KINDS
from rm.errors import Conflict, Invalid
from rm.events import AlertsChanged, EventBus
from rm.services import alert_settings, audit, incident_events
from rm.shared.ids import new_ulid
from rm.shared.words import counted
from rm.store import alerts, incidents, raising, repositories
from rm.store.database import changes, publish_after_commit
from rm.store.models import Alert, Incident
from rm.store.raising import NewAlert, OpenIncident

SNOOZE_PROBLEM = "Choose a time from 5 minutes to 90 days from now."


def take(bus: EventBus, new: NewAlert, *, cause: str, into: OpenIncident | None, now: datetime) -> str:
    """Make the alert and put it into the open incident of its cause, if there is one; returns the alert's id.

    An incident whose end was not told yet goes on instead of beginning anew, and nobody is told.
    """
    if into is not None:
        return _join(bus, into, new, now=now)
    found = raising.find_untold_incident(cause, now)
    if found is not None:
        return _reopen(bus, found, new, now=now)
    return _open(bus, new, cause=cause, now=now)


def move(bus: EventBus, *, alert_id: str, before_id: str | None, new: NewAlert, cause: str, now: datetime) -> None:
    """Put an open alert, of which the cause is another now, into that one's incident. Inside a transaction."""
    found = raising.find_open_incident(cause)
    if found is None:
        incident_id = _create(new, cause=cause, now=now)
        raising.move_alert(alert_id, incident_id)
        incident_events.tell(bus, incident_id, "raised", new.message, alert_id=alert_id, now=now)
    else:
        incident_id = found.id
        raising.move_alert(alert_id, incident_id)
        raising.count_in(incident_id, is_new=True, now=now)
        _told_of_member(bus, found, new, alert_id=alert_id, now=now)
    if before_id is not None:
        left(bus, incident_id=before_id, alert_id=alert_id, kind=new.kind, by=SERVER.name, now=now,
             note="What it is due to is another matter now, with an incident of its own.")  # fmt: skip


def left(
    bus: EventBus, *, incident_id: str, alert_id: str, kind: str, by: str, note: str, now: datetime
) -> None:  # fmt: skip
    """One of its open alerts is open no more; with the last one the incident is over. Inside a transaction."""
    found = raising.get_incident(incident_id)
    if found is None:
        return
    if raising.count_out(incident_id) == 0:
        rules = alert_settings.rules()
        hold = max(rules.hold_for(kind), rules.hold_for(found.kind)) if by == SERVER.name else timedelta(0)
        _end(bus, found, by=by, note=note, hold=hold, now=now)
        return
    if found.alert_count <= alert_rules.MEMBERS_TOLD or by != SERVER.name:
        incident_events.note(incident_id, "recovered", note, alert_id=alert_id, actor=by, now=now)
    if found.state == "raised" and not raising.has_raised(incident_id):
        Incident.update(state="acknowledged").where(Incident.id == incident_id).execute()


def acknowledge(bus: EventBus, *, incident_id: str, actor: Actor, now: datetime) -> Incident:
    """Somebody looks after it, and after each of its alerts. Again: nothing changes. Raises Conflict if it is over."""
    with changes():
        found = incidents.get(incident_id)
        _refuse_if_over(found)
        if found.state == "raised":
            Alert.update(state="acknowledged", acknowledged_at=now, acknowledged_by=actor.name).where(
                Alert.incident == incident_id, Alert.state == "raised"
            ).execute()
            acknowledged(bus, incident_id=incident_id, actor=actor, now=now)
            _record(actor, "incident.acknowledged", found, now)
            publish_after_commit(bus, AlertsChanged(incident_id, found.host_id))
        return incidents.get(incident_id)


def acknowledged(bus: EventBus, *, incident_id: str, actor: Actor, now: datetime) -> None:
    """Note that none of its alerts waits for somebody any more, and tell it. Inside a transaction."""
    Incident.update(state="acknowledged", acknowledged_at=now, acknowledged_by=actor.name).where(
        Incident.id == incident_id, Incident.state == "raised"
    ).execute()
    incident_events.tell(bus, incident_id, "acknowledged", "", actor=actor.name, now=now)


def resolve(bus: EventBus, *, incident_id: str, actor: Actor, now: datetime) -> Incident:
    """Somebody says that it is over, with all its alerts. Again: nothing changes."""
    with changes():
        found = incidents.get(incident_id)
        if found.state != "resolved":
            Alert.update(
                state="resolved", resolved_at=now, resolved_by=actor.name, note="", snoozed_until=None
            ).where(Alert.incident == incident_id, Alert.state != "resolved").execute()  # fmt: skip
            Incident.update(open_count=0).where(Incident.id == incident_id).execute()
            known = raising.get_incident(incident_id)
            if known is not None:
                _end(bus, known, by=actor.name, note="", hold=timedelta(0), now=now)
            _record(actor, "incident.resolved", found, now)
            publish_after_commit(bus, AlertsChanged(incident_id, found.host_id))
        return incidents.get(incident_id)


def snooze(
    bus: EventBus, *, incident_id: str, choice: str, chosen: datetime | None = None, actor: Actor, now: datetime
) -> Incident:
    """Let it ask for nobody until then, nor those that join it. It ends by itself, and at once if it gets worse.

    `choice` is one of alert_rules.SNOOZES, or anything else for the chosen time. Raises Invalid or Conflict.
    """
    until = checked_snooze(choice, chosen, now)
    with changes():
        found = incidents.get(incident_id)
        _refuse_if_over(found)
        Alert.update(snoozed_until=until, snoozed_by=actor.name).where(
            Alert.incident == incident_id, Alert.state != "resolved"
        ).execute()
        snoozed(bus, incident_id=incident_id, until=until, actor=actor, now=now)
        _record(actor, "incident.snoozed", found, now, until=f"{until:%Y-%m-%d %H:%M} UTC")
        publish_after_commit(bus, AlertsChanged(incident_id, found.host_id))
        return incidents.get(incident_id)


def snoozed(bus: EventBus, *, incident_id: str, until: datetime, actor: Actor, now: datetime) -> None:
    """Note that all that is open of it is snoozed until then. Inside a transaction."""
    Incident.update(snoozed_until=until, snoozed_by=actor.name).where(Incident.id == incident_id).execute()
    text = f"Until {until:%Y-%m-%d %H:%M} UTC."
    incident_events.note(incident_id, "snoozed", text, actor=actor.name, now=now)


def wake(bus: EventBus, *, incident_id: str, actor: Actor, now: datetime) -> Incident:
    """End a snooze before its time; nobody is told but who looks. Without one nothing changes."""
    with changes():
        found = incidents.get(incident_id)
        if found.snoozed_until is not None:
            _wake(incident_id)
            incident_events.note(incident_id, "woken", "", actor=actor.name, now=now)
            _record(actor, "incident.woken", found, now)
            publish_after_commit(bus, AlertsChanged(incident_id, found.host_id))
        return incidents.get(incident_id)


def checked_snooze(choice: str, chosen: datetime | None, now: datetime) -> datetime:
    """When such a snooze ends; raises Invalid."""
    until = alert_rules.snooze_until(choice, chosen, now)
    if until is None:
        raise Invalid({"until": SNOOZE_PROBLEM}, SNOOZE_PROBLEM)
    return until


def _open(bus: EventBus, new: NewAlert, *, cause: str, now: datetime) -> str:
    incident_id = _create(new, cause=cause, now=now)
    raising.insert_alert(new, incident_id, acknowledged_at=None, acknowledged_by="", snoozed_until=None, snoozed_by="")
    incident_events.tell(bus, incident_id, "raised", new.message, alert_id=new.id, now=now)
    return new.id


def _create(new: NewAlert, *, cause: str, now: datetime) -> str:
    owner, _, owner_id = cause.partition(":")
    repository = repositories.find(owner_id) if owner == "repository" else None
    incident: Incident = Incident.create(
        id=new_ulid(int(now.timestamp() * 1000)), cause=cause, title=_title(new, cause), severity=new.severity,
        kind=new.kind, message=new.message, opened_at=now, last_seen_at=now, alert_count=1, open_count=1,
        # with a host that was only the first to notice, the incident would go
        host=new.host_id if "/" in cause or cause == f"host:{new.host_id}" else None,
        repository=repository.id if repository is not None else new.repository_id,
    )  # fmt: skip
    return str(incident.id)


def _join(bus: EventBus, found: OpenIncident, new: NewAlert, *, now: datetime) -> str:
    is_worse = alert_rules.worsens(new.kind, severity=found.severity, opened_at=found.opened_at, now=now)
    is_snoozed = found.snoozed_until is not None and found.snoozed_until > now
    known = found.state == "acknowledged" and not is_worse
    raising.insert_alert(
        new, found.id,
        acknowledged_at=(found.acknowledged_at or now) if known else None,
        acknowledged_by=found.acknowledged_by if known else "",
        snoozed_until=found.snoozed_until if is_snoozed and not is_worse else None,
        snoozed_by=found.snoozed_by if is_snoozed and not is_worse else "",
    )  # fmt: skip
    raising.count_in(found.id, is_new=True, now=now)
    _told_of_member(bus, found, new, alert_id=new.id, now=now)
    return new.id


def _told_of_member(bus: EventBus, found: OpenIncident, new: NewAlert, *, alert_id: str, now: datetime) -> None:
    if alert_rules.speaks(new.kind, for_kind=found.kind):
        Incident.update(kind=new.kind, title=_title(new, found.cause), message=new.message).where(
            Incident.id == found.id
        ).execute()
    if not alert_rules.worsens(new.kind, severity=found.severity, opened_at=found.opened_at, now=now):
        if found.alert_count < alert_rules.MEMBERS_TOLD:
            incident_events.note(found.id, "joined", new.message, alert_id=alert_id, now=now)
        return
    graver = new.severity if alert_rules.is_graver(new.severity, found.severity) else found.severity
    Incident.update(severity=graver, state="raised").where(Incident.id == found.id).execute()
    if found.snoozed_until is not None:
        _wake(found.id)
        incident_events.note(found.id, "woken", "It got worse.", now=now)
    incident_events.tell(bus, found.id, "worsened", new.message, alert_id=alert_id, now=now)


def _reopen(bus: EventBus, found: OpenIncident, new: NewAlert, *, now: datetime) -> str:
    Incident.update(
        state="raised", resolved_at=None, resolved_by="", note="", end_told_at=None, acknowledged_at=None,
        acknowledged_by="",
    ).where(Incident.id == found.id).execute()  # fmt: skip
    again = raising.reopen_alert(new, found.id)
    if again is None:
        return _join(bus, raising.get_incident(found.id) or found, new, now=now)
    raising.count_in(found.id, is_new=False, now=now)
    incident_events.note(found.id, "reopened", new.message, alert_id=again, now=now)
    return again


def _end(bus: EventBus, found: OpenIncident, *, by: str, note: str, hold: timedelta, now: datetime) -> None:
    Incident.update(
        state="resolved", resolved_at=now, resolved_by=by, note=note, snoozed_until=None,
        end_told_at=now + hold if hold else None,
    ).where(Incident.id == found.id, Incident.state != "resolved").execute()  # fmt: skip
    if hold:
        incident_events.note(found.id, "resolved", note, actor=by, now=now)
    else:
        incident_events.tell(bus, found.id, "resolved", note, actor=by, now=now)


def _wake(incident_id: str) -> None:
    Incident.update(snoozed_until=None, snoozed_by="").where(Incident.id == incident_id).execute()
    Alert.update(snoozed_until=None, snoozed_by="").where(
        Alert.incident == incident_id, Alert.snoozed_until.is_null(False)
    ).execute()


def _title(new: NewAlert, cause: str) -> str:
    if cause.startswith("silence:"):
        return "Hosts fell silent together"
    name = alerts.name_of(condition=new.condition, host_id=new.host_id, repository_id=new.repository_id)
    return f"{KINDS[new.kind].title}: {name}" if name else KINDS[new.kind].title


def _refuse_if_over(found: Incident) -> None:
    if found.state == "resolved":
        raise Conflict(
            "This incident is over already.", code="resolved", help="If it happens again, a new one is opened."
        )


def _record(actor: Actor, action: str, found: Incident, now: datetime, **payload: object) -> None:
    audit.record(
        actor, action, now=now, kind="incident", id=found.id, name=found.title,
        alerts=counted(found.open_count, "alert"), **payload,
    )  # fmt: skip
