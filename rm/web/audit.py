"""The audit log, as people read it."""

import json
from datetime import datetime, timedelta, timezone
from itertools import groupby
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from rm.domain.permissions import allows
from rm.errors import Invalid
from rm.services import audit_exports
from rm.shared.words import counted
from rm.store import audit
from rm.store.audit import Filters
from rm.store.models import AuditEntry
from rm.web import audit_csv, context
from rm.web.layout import page

blueprint = Blueprint("audit", __name__)

PAGE_SIZE = 50
FIELDS = ("q", "who", "kind", "action", "target", "address", "since", "until")
KINDS = (("", "Any"), ("user", "People"), ("host", "Hosts"), ("token", "API tokens"), ("server", "The server"))
WORDS = {
    "user.created": "made the account",
    "settings.changed": "changed the settings of",
    "server_backup.made": "made the server backup",
    "server_backup.failed": "could not make the server backup",
    "server_backup.downloaded": "downloaded the server backup",
    "server.restored": "was restored from",
    "audit.exported": "exported the audit log",
    "job.unknown_result": "reported the end of a job that is not known here:",
    "user.logged_in": "signed in",
    "user.logged_out": "signed out",
    "user.login_failed": "was refused: wrong name or password",
    "user.sign_in_paused": "was paused for 15 min, after too many wrong passwords",
    "user.code_refused": "was refused: wrong code of the second factor",
    "user.password_refused": "was refused: wrong password, asked for again",
    "user.refusals_counted": "only counts, as there are so many,",
    "user.link_made": "made a link to choose a password for",
    "user.link_withdrawn": "withdrew the link of",
    "user.password_chosen": "chose a password with a link",
    "user.password_changed": "changed the password",
    "user.password_set": "set the password of",
    "user.role_set": "changed the role of",
    "user.disabled": "disabled the account",
    "user.enabled": "enabled the account",
    "user.removed": "removed the account",
    "session.revoked": "ended a session",
    "session.others_revoked": "ended all other sessions",
    "second_factor.begun": "began to set up a second factor",
    "second_factor.on": "switched the second factor on",
    "second_factor.codes_renewed": "made new recovery codes",
    "second_factor.off": "switched the second factor off",
    "second_factor.reset": "took away the second factor of",
    "user.oidc_refused": "was refused after the sign-in at the provider",
    "enrolment_token.minted": "made an enrolment token",
    "enrolment_token.revoked": "revoked an enrolment token",
    "host.enrolled": "enrolled",
    "host.announced": "announced itself:",
    "pending_host.approved": "approved the announced host",
    "pending_host.rejected": "rejected the announced host",
    "token.created": "made the token",
    "token.revoked": "revoked the token",
    "token.refused": "was refused: not known, expired or revoked",
    "announcing.switched": "switched announcing",
    "host.reenrolled": "was enrolled again",
    "host.credential_renewed": "ordered a new credential for",
    "host.old_credential_ended": "ended the old credential of",
    "channel.created": "made the channel",
    "channel.changed": "changed the channel",
    "channel.removed": "removed the channel",
    "channel.secret_replaced": "replaced the secret of the channel",
    "channel.tested": "sent a test through the channel",
    "sign_of_life.sent": "had a sign of life sent, by hand:",
    "delivery.retried": "had a delivery tried again, through",
    "alert.acknowledged": "acknowledged the alert",
    "alert.resolved": "resolved the alert",
    "alert.snoozed": "snoozed the alert",
    "alert.woken": "woke the alert",
    "incident.acknowledged": "acknowledged the incident",
    "incident.resolved": "resolved the incident",
    "incident.snoozed": "snoozed the incident",
    "incident.woken": "woke the incident",
    "host.connected_first": "connected for the first time:",
    "host.config_refused": "could not take its settings:",
    "host.schedules_refused": "could not take its schedules:",
    "host.renamed": "renamed a host to",
    "host.tagged": "changed the tags of",
    "host.mode_set": "changed the mode of",
    "host.revoked": "revoked the credential of",
    "host.removed": "removed the host",
    "repository.created": "made the repository",
    "repository.changed": "changed the repository",
    "repository.assigned": "assigned the repository",
    "repository.tested": "had the repository tested",
    "repository.unassigned": "took a host's repository away:",
    "repository.maintenance_set": "set who may delete in",
    "repository.identity_accepted": "accepted another repository as",
    "source_group.created": "made the source group",
    "source_group.changed": "changed the source group",
    "source_group.removed": "removed the source group",
    "schedule.created": "made the schedule",
    "schedule.changed": "changed the schedule",
    "schedule.enabled": "switched on the schedule",
    "schedule.disabled": "switched off the schedule",
    "schedule.removed": "removed the schedule",
    "template.created": "made the template",
    "template.changed": "changed the template",
    "template.applied": "applied a template to",
    "template.removed": "removed the template",
    "maintenance.changed": "changed the maintenance of",
    "restore.ordered": "ordered a restore on",
    "job.ordered": "ordered",
    "job.cancel_requested": "cancelled",
    "job.corrected": "corrected the result of",
    "release.imported": "imported the release",
    "release.promoted": "made current the release",
    "release.withdrawn": "withdrew the release",
    "release.refused": "was refused a release on import, from",
    "keyset.imported": "imported the keyset,",
    "trust.pinned": "began to trust the root key",
    "trust.replaced": "replaced the trust; from now on the root key is",
    "host.held": "holds back from updates the host",
    "host.released": "lets be updated again the host",
    "update.ordered": "ordered the",
    "update.rollback_ordered": "ordered a rollback by an",
    "update.sent": "sent the",
    "update.swap_allowed": "allowed the swap in the",
    "update.deferred": "put off the",
    "update.retried": "has tried again the",
    "update.ended": "ended the",
    "update.corrected": "corrected the result of the",
    "update.unknown_result": "reported the end of an update that is not known here:",
    "fleet_update.started": "started the",
    "fleet_update.paused": "paused the",
    "fleet_update.resumed": "resumed the",
    "fleet_update.retried": "had what failed tried again in the",
    "fleet_update.skipped": "left hosts out of the",
    "fleet_update.rolling_back": "rolls back the hosts of the",
    "fleet_update.cancelled": "cancelled the plan of a",
    "fleet_update.cancelled_soft": "cancelled, after the current hosts, the",
    "fleet_update.cancelled_hard": "cancelled at once the",
    "fleet_update.closed": "closed the",
    "fleet_update.halted": "halted the",
    "fleet_update.completed": "completed the",
    "fleet_update.completed_with_exceptions": "completed, with exceptions, the",
    "fleet_update.cancelling": "cancels the",
}


@blueprint.get("/audit")
@allows("audit.view")
def index() -> Response:
    """The newest entries first, by day; the address carries the filters."""
    texts = {name: request.args.get(name, "").strip()[:200] for name in FIELDS}
    filters, wrong = _filters(texts)
    before = request.args.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    found = audit.list_page(filters, before_id=before_id, limit=PAGE_SIZE)
    days = [(day, list(entries)) for day, entries in groupby(found.entries, key=_day)]
    asked = urlencode({name: text for name, text in texts.items() if text})
    total = counted(audit.count(), "entry", "entries")
    pager = {
        "said": f"{len(found.entries)} {'of' if filters.is_empty else 'found, of'} {total}",
        "previous": f"/audit?{asked}".rstrip("?") if before_id is not None else "",
        "previous_word": "Newest",
        "next": f"/audit?{asked}{'&' if asked else ''}before={found.next_before}" if found.next_before else "",
        "next_word": "Search further back" if found.is_cut else "Older",
    }
    return page(
        "audit/list.html", section="audit", texts=texts | dict.fromkeys(wrong, ""), wrong=wrong, days=days, pager=pager,
        said=said, lines=lines,
        is_filtered=not filters.is_empty, is_cut=found.is_cut, kinds=KINDS, csv=f"/audit.csv?{asked}".rstrip("?"),
        is_open=any(texts[name] for name in FIELDS if name != "q"),
        actions=[("", "Any"), *sorted(((one, words(one)) for one in audit.list_actions()), key=lambda one: one[1])],
    )  # fmt: skip


@blueprint.get("/audit.csv")
@allows("audit.view")
def export() -> Response:
    """The same entries as a file; that it was fetched is recorded."""
    texts = {name: request.args.get(name, "").strip()[:200] for name in FIELDS}
    filters, wrong = _filters(texts)
    if wrong:
        raise Invalid(wrong)
    now = context.now()
    audit_exports.note(actor=context.actor(), filters={name: text for name, text in texts.items() if text}, now=now)
    response = Response(audit_csv.lines(filters), mimetype="text/csv", content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="audit-{now:%Y%m%dT%H%M%SZ}.csv"'
    return response


def _filters(texts: dict[str, str]) -> tuple[Filters, dict[str, str]]:
    wrong: dict[str, str] = {}

    def day(name: str) -> datetime | None:
        if not texts[name]:
            return None
        try:
            return datetime.strptime(texts[name], "%Y-%m-%d").replace(tzinfo=timezone.utc)
        except ValueError:
            wrong[name] = "Write a day such as 2026-11-23."
            return None

    since, until = day("since"), day("until")
    if until is not None and until.year < 9999:
        until += timedelta(days=1)
    plain = {name: texts[name] for name in ("q", "who", "action", "target", "address")}
    kind = texts["kind"] if texts["kind"] in dict(KINDS) else ""
    # people search for what they read, and the database knows only what it is called there
    said_so = tuple(one for one, word in WORDS.items() if texts["q"] and texts["q"].lower() in word)
    return Filters(**plain, kind=kind, since=since, until=until, q_actions=said_so), wrong


def lines(entry: AuditEntry) -> list[tuple[str, str]]:
    """What else was recorded: name and value; a change shows what was before and what is since."""
    payload = entry.payload if isinstance(entry.payload, dict) else {"details": entry.payload}
    before, after = payload.get("before"), payload.get("after")
    found: list[tuple[str, str]] = []
    if isinstance(before, dict) and isinstance(after, dict):
        found = [
            (name, f"{_text(before.get(name))} → {_text(after.get(name))}")
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
        payload = {name: value for name, value in payload.items() if name not in ("before", "after")}
    return found + [(name, _text(value)) for name, value in payload.items()]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value or "nothing"
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def said(entry: AuditEntry) -> str:
    """What was done, in words; an action without words shows its name."""
    return words(entry.action)


def words(action: str) -> str:
    """An action in words."""
    return WORDS.get(action) or action.replace(".", " ").replace("_", " ")


def _day(entry: AuditEntry) -> str:
    day: str = entry.at.strftime("%A, %-d %B %Y")
    return day
