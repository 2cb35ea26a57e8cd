"""The audit log, as people read it."""

from itertools import groupby
from urllib.parse import quote

from flask import Blueprint, Response, request

from rm.domain.permissions import allows
from rm.shared.words import counted
from rm.store import audit
from rm.store.models import AuditEntry
from rm.web.layout import page

blueprint = Blueprint("audit", __name__)

PAGE_SIZE = 50
WORDS = {
    "user.created": "made the account",
    "user.logged_in": "signed in",
    "user.logged_out": "signed out",
    "user.login_failed": "was refused: wrong name or password",
    "enrolment_token.minted": "made an enrolment token",
    "enrolment_token.revoked": "revoked an enrolment token",
    "host.enrolled": "enrolled",
    "host.announced": "announced itself:",
    "pending_host.approved": "approved the announced host",
    "pending_host.rejected": "rejected the announced host",
    "announcing.switched": "switched announcing",
    "host.reenrolled": "was enrolled again",
    "host.credential_renewed": "ordered a new credential for",
    "host.old_credential_ended": "ended the old credential of",
    "alert.acknowledged": "acknowledged the alert",
    "alert.resolved": "resolved the alert",
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
    """The newest entries first, by day."""
    q = request.args.get("q", "").strip()[:200]
    before = request.args.get("before", "")
    before_id = int(before) if before.isdecimal() and len(before) < 16 else None
    found = audit.list_page(q=q, before_id=before_id, limit=PAGE_SIZE + 1)
    shown = found[:PAGE_SIZE]
    days = [(day, list(entries)) for day, entries in groupby(shown, key=_day)]
    total = audit.count()
    from_q = f"q={quote(q)}&" if q else ""
    pager = {
        "said": f"{len(shown)} of {counted(total, 'entry', 'entries')}",
        "previous": f"/audit?{from_q}".rstrip("?&") if before_id is not None else "",
        "previous_word": "Newest",
        "next": f"/audit?{from_q}before={shown[-1].id}" if len(found) > PAGE_SIZE else "",
        "next_word": "Older",
    }
    return page("audit/list.html", section="audit", q=q, days=days, pager=pager, said=said)


def said(entry: AuditEntry) -> str:
    """What was done, in words; an action without words shows its name."""
    return WORDS.get(entry.action) or str(entry.action).replace(".", " ").replace("_", " ")


def _day(entry: AuditEntry) -> str:
    day: str = entry.at.strftime("%A, %-d %B %Y")
    return day
